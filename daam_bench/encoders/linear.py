"""Linear layers of a forward pass on the CPU by oneDNN, in the same float32 precision."""

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F
from torch.overrides import TorchFunctionMode


class OneDnnLinear(TorchFunctionMode):
    """Within this context `torch.nn.functional.linear` of float32 on the CPU is computed by oneDNN.

    PyTorch gives float32 products to MKL, which leaves the wide vector units of some processors idle: on an
    AMD EPYC with AVX-512 oneDNN is 2.2 times as fast (make benchmark-cache). Models stay as they are, and
    everything that is not a float32 linear layer on the CPU, or that is trained, runs as without.
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
            bias = args[2] if len(args) > 2 else None
            return torch.ops.mkldnn._linear_pointwise(args[0], args[1], bias, "none", [], "")
        return func(*args, **(kwargs or {}))


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
