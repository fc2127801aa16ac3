"""Linear layers and GELU of a forward pass on the CPU by few kernels of oneDNN, in float32 as before."""

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F
from torch.overrides import TorchFunctionMode

# Numbers of rows are rounded up to a multiple of the first; below the second, compiling costs more than it
# saves.
_ROWS, _FEWEST_ROWS = 16, 128


class OneDnn(TorchFunctionMode):
    """Within this context linear layers of float32 on the CPU are computed by oneDNN.

    PyTorch gives float32 products to MKL, which leaves the wide vector units of some processors idle: on an
    AMD EPYC with AVX-512 oneDNN is 2.2 times as fast (make benchmark-cache). Models stay as they are, and
    everything that is not of float32 on the CPU, or that is trained, runs as without.

    oneDNN compiles a kernel for each shape, which takes it some milliseconds, and batches of texts have many
    shapes. So the numbers of rows of linear layers, and of GELU, which PyTorch gives to oneDNN by itself, are
    rounded up to a few: for 4,096 texts 33 kernels are compiled instead of 508.
    """

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Iterable[type],
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        """Run one function of torch."""
        options = kwargs or {}
        if func is F.linear and not options and _is_for_onednn(args[0], args[1]):
            return _linear(args[0], args[1], args[2] if len(args) > 2 else None)
        if func is F.gelu and args and options.keys() <= {"approximate"} and _is_for_onednn(args[0], args[0]):
            return _gelu(args[0], **options)
        return func(*args, **options)


def _linear(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    rows = _rows_of(x)
    added = -rows % _ROWS
    padded = F.pad(x.reshape(rows, -1), (0, 0, 0, added)) if added else x
    found: Tensor = torch.ops.mkldnn._linear_pointwise(padded, weight, bias, "none", [], "")
    return found.view(-1, found.shape[-1])[:rows].view(*x.shape[:-1], -1)


def _gelu(x: Tensor, **options: Any) -> Tensor:
    rows, features = _rows_of(x), x.shape[-1]
    x = x.contiguous()
    rounded = rows + -rows % _ROWS
    # Behind what a linear layer returned lie the rows that were added there; their values do not matter.
    room = x.untyped_storage().nbytes() // x.element_size() - x.storage_offset()
    flat = x.as_strided((rounded if rounded * features <= room else rows, features), (features, 1))
    return F.gelu(flat, **options)[:rows].view(x.shape)


def _rows_of(x: Tensor) -> int:
    return x.numel() // x.shape[-1]


def _is_for_onednn(x: Tensor, weight: Tensor) -> bool:
    return (
        x.device.type == "cpu"
        and x.dtype == weight.dtype == torch.float32
        and x.ndim > 1
        and x.numel() >= _FEWEST_ROWS * x.shape[-1] > 0
        and not torch.is_grad_enabled()
        and not torch.is_autocast_enabled("cpu")
        and torch.backends.mkldnn.is_available()  # type: ignore[no-untyped-call]
        and hasattr(torch.ops.mkldnn, "_linear_pointwise")
    )
