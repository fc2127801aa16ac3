"""Linear layers of a forward pass on the CPU by oneDNN, in the same float32 precision."""

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F
from torch.overrides import TorchFunctionMode

# Numbers of rows are rounded up to a multiple of this where that adds no more than the share below.
_ROWS = 16
_MOST_ADDED = 1 / 32


class OneDnnLinear(TorchFunctionMode):
    """Within this context `torch.nn.functional.linear` of float32 on the CPU is computed by oneDNN.

    PyTorch gives float32 products to MKL, which leaves the wide vector units of some processors idle: on an
    AMD EPYC with AVX-512 oneDNN is 2.2 times as fast (make benchmark-cache). Models stay as they are, and
    everything that is not a float32 linear layer on the CPU, or that is trained, runs as without.

    oneDNN compiles a kernel for each number of rows, and batches of texts have nearly as many as there are
    batches: rows of zeros are added up to a number that others share, which takes a twentieth off the time.
    """

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Iterable[type],
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        """Run one function of torch."""
        if func is F.linear and not kwargs and _is_for_onednn(args[0], args[1]):
            return _linear(args[0], args[1], args[2] if len(args) > 2 else None)
        return func(*args, **(kwargs or {}))


def _linear(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    rows = x.numel() // x.shape[-1]
    added = -rows % _ROWS
    if not added or added > _MOST_ADDED * rows:
        return _by_onednn(x, weight, bias)
    padded = F.pad(x.reshape(rows, -1), (0, 0, 0, added))
    return _by_onednn(padded, weight, bias)[:rows].view(*x.shape[:-1], -1)


def _by_onednn(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    found: Tensor = torch.ops.mkldnn._linear_pointwise(x, weight, bias, "none", [], "")
    return found


def _is_for_onednn(x: Tensor, weight: Tensor) -> bool:
    return (
        x.device.type == "cpu"
        and x.dtype == weight.dtype == torch.float32
        and x.numel() > 0
        and not torch.is_grad_enabled()
        and not torch.is_autocast_enabled("cpu")
        and torch.backends.mkldnn.is_available()  # type: ignore[no-untyped-call]
        and hasattr(torch.ops.mkldnn, "_linear_pointwise")
    )
