"""What a result cost: floating point operations, memory, energy."""

import copy
import resource
from pathlib import Path
from time import perf_counter

import torch
from jaxtyping import Float
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from daam_bench.heads.model import AttentionClassifier

# Linux: counters of the processor packages, in microjoules; most systems let only root read them.
_COUNTERS = Path("/sys/class/powercap")


def flops_per_sample(model: AttentionClassifier, sample: Float[Tensor, "2 layer feature"]) -> tuple[int, int]:
    """Return floating point operations of one sample: of a forward pass, of a forward and backward pass.

    Counted by torch in matrix products and convolutions; a multiplication and an addition are two.
    """
    copied = copy.deepcopy(model).train()
    with FlopCounterMode(display=False) as forward:
        logits = copied(sample)
    with FlopCounterMode(display=False) as backward:
        logits.sum().backward()
    once = forward.get_total_flops()
    return once // len(sample), (once + backward.get_total_flops()) // len(sample)


def peak_memory_bytes(device: torch.device) -> int:
    """Return the most memory that was in use so far: of the GPU, or else of this process."""
    if device.type == "cuda":
        return int(torch.cuda.max_memory_allocated(device))
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


class EnergyMeter:
    """Joules since its creation, of the processor's packages or of the GPU; None where not readable."""

    def __init__(self, device: torch.device) -> None:
        self._device, self._since = device, perf_counter()
        self._counters = [] if device.type == "cuda" else sorted(_COUNTERS.glob("*-rapl:[0-9]/energy_uj"))
        self._before = self._read()

    def joules(self) -> float | None:
        """Return joules of all that ran on the hardware since; a GPU's are its power now times time."""
        if self._device.type == "cuda":
            try:
                milliwatts = torch.cuda.power_draw(self._device)
            except (RuntimeError, ModuleNotFoundError):
                return None
            return milliwatts / 1000 * (perf_counter() - self._since)
        now = self._read()
        if self._before is None or now is None or now < self._before:  # a counter began anew
            return None
        return (now - self._before) / 1e6

    def _read(self) -> int | None:
        try:
            return sum(int(counter.read_text()) for counter in self._counters) if self._counters else None
        except (OSError, ValueError):
            return None
