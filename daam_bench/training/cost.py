"""What a result cost: floating point operations, memory, energy, waiting."""

import copy
import resource
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from daam_bench.heads.decoder import ConvolutionalDecoder
from daam_bench.heads.model import AttentionClassifier
from daam_bench.training.replica import Replica
from daam_bench.training.source import Waits

# Linux: counters of the processor packages, in microjoules; most systems let only root read them.
_COUNTERS = Path("/sys/class/powercap")
# Linux: what the kernel says of this process, and the switch that starts its highest value anew.
_STATUS, _CLEAR = Path("/proc/self/status"), Path("/proc/self/clear_refs")


def flops_per_sample(
    model: AttentionClassifier, sample: Float[Tensor, "batch layer feature"]
) -> tuple[int, int]:
    """Return floating point operations of one sample: of a forward pass, of a forward and backward pass.

    Counted by torch in matrix products, convolutions and attention; a multiplication and an addition are two.
    They are those of the plain convolutions and of attention written out, on every device: torch has no
    formula for some of the kernels that compute the same faster.
    """
    copied = copy.deepcopy(model).train()
    if isinstance(copied.decoder, ConvolutionalDecoder):
        copied.decoder.training_pair = None
    with sdpa_kernel(SDPBackend.MATH):
        with FlopCounterMode(display=False) as forward:
            logits = copied(sample)
        with FlopCounterMode(display=False) as backward:
            logits.sum().backward()
    once = forward.get_total_flops()
    return once // len(sample), (once + backward.get_total_flops()) // len(sample)


def begin_peak_memory(device: torch.device) -> None:
    """Let `peak_memory_bytes` count from here, where the system allows it."""
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
        return
    try:
        _CLEAR.write_text("5", encoding="ascii")
    except OSError:  # no Linux, or not allowed: the peak is then that of the whole process
        return


def peak_memory_bytes(device: torch.device) -> int:
    """Return the most memory in use since `begin_peak_memory`: of tensors on the GPU, or of this process."""
    if device.type == "cuda":
        return int(torch.cuda.max_memory_allocated(device))
    try:
        lines = _STATUS.read_text(encoding="ascii").splitlines()
        return int(next(line for line in lines if line.startswith("VmHWM:")).split()[1]) * 1024
    except (OSError, StopIteration):
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


class EnergyMeter:
    """Joules since its creation, of the processor's packages or of the GPU; None where not readable.

    They are of all that ran on the hardware meanwhile.
    """

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._counters = [] if device.type == "cuda" else sorted(_COUNTERS.glob("*-rapl:[0-9]/energy_uj"))
        self._before = self._read()

    def joules(self) -> float | None:
        """Return joules since the creation."""
        spent = 0.0
        for now, before, wraps_at in zip(self._read(), self._before, self._ranges(), strict=True):
            if now is None or before is None:
                return None
            if now < before:  # the counter began anew: once, if jobs look at it often enough
                if wraps_at is None:
                    return None
                now += wraps_at
            spent += now - before
        return spent if self._before else None

    def _read(self) -> list[float | None]:
        if self._device.type == "cuda":
            return [_gpu_joules(self._device)]
        return [_joules_in(counter) for counter in self._counters]

    def _ranges(self) -> list[float | None]:
        """Return at how many joules each counter begins anew."""
        if self._device.type == "cuda":
            return [None]
        return [_joules_in(counter.with_name("max_energy_range_uj")) for counter in self._counters]


def _joules_in(file: Path) -> float | None:
    try:
        return int(file.read_text()) / 1e6
    except (OSError, ValueError):
        return None


def _gpu_joules(device: torch.device) -> float | None:
    """Return what NVML's counter says of a GPU since its driver was loaded, if pynvml is installed."""
    try:
        nvml = import_module("pynvml")
    except ImportError:
        return None
    try:
        nvml.nvmlInit()
        identifier = f"GPU-{torch.cuda.get_device_properties(device).uuid}"
        counter = nvml.nvmlDeviceGetTotalEnergyConsumption(nvml.nvmlDeviceGetHandleByUUID(identifier))
    except nvml.NVMLError:  # not supported by this GPU, or not allowed
        return None
    return float(counter) / 1000


class SharedCosts:
    """Deals what replicas use together to each of them: energy by their time, waiting for values equally.

    Args:
        replicas: which train together; what they have used before, in a job that was killed, they know.
        source: of the values.
        device: where they train.
    """

    def __init__(self, replicas: Sequence[Replica], source: Waits, device: torch.device) -> None:
        self._replicas, self._source, self._device = replicas, source, device
        self._begin()

    def deal(self) -> None:
        """Give every replica its share since the last time."""
        joules, waited = self._meter.joules(), self._source.waited - self._waited
        gained = [r.wall_seconds - before for r, before in zip(self._replicas, self._walls, strict=True)]
        total = sum(gained)
        for replica, seconds in zip(self._replicas, gained, strict=True):
            replica.loading_seconds += waited / len(self._replicas)
            if joules is None or replica.energy_joules is None:
                replica.energy_joules = None  # a part is not known: neither is the whole
            else:
                replica.energy_joules += joules * (seconds / total if total else 1 / len(self._replicas))
        self._begin()

    def _begin(self) -> None:
        self._meter, self._waited = EnergyMeter(self._device), self._source.waited
        self._walls = [replica.wall_seconds for replica in self._replicas]
