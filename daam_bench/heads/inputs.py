"""What a module asks of its input, so that a wrong size is told in words, not by a kernel; its precision."""

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from daam_bench.errors import ConfigError


def check_input(module: nn.Module, x: Tensor, mask: Tensor | None, sizes: Mapping[int, int | None]) -> None:
    """Check the sizes of an input and its mask; costs nothing once compiled.

    Args:
        module: the one that was called, for the message.
        x: input.
        mask: True at real positions, of the shape of x without its last axis; or None.
        sizes: axis -> size that it must have; None for any.

    Raises:
        ConfigError: if an axis is missing or has another size, or the mask is none for x.
    """
    for axis, size in sizes.items():
        there = -x.ndim <= axis < x.ndim
        if not there or (size is not None and x.shape[axis] != size):
            raise ConfigError(
                "the input has another shape than the module was built for",
                where=type(module).__name__,
                expected=f"axis {axis} {'to exist' if size is None else f'of size {size}'}",
                found=f"shape {tuple(x.shape)}",
            )
    if mask is not None and (mask.dtype != torch.bool or mask.shape != x.shape[:-1]):
        raise ConfigError(
            "the mask does not fit the input",
            where=type(module).__name__,
            expected=f"torch.bool of shape {tuple(x.shape[:-1])}, True at real positions",
            found=f"{mask.dtype} of shape {tuple(mask.shape)}",
        )


def widened(x: Tensor) -> Tensor:
    """Return x in float32, or in its own precision if that is wider."""
    return x.to(torch.promote_types(x.dtype, torch.float32))
