"""What a module asks of its input, so that a wrong size is told in words, not by a kernel; its precision."""

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from daam_bench.errors import ConfigError


def check_input(
    module: nn.Module,
    x: Tensor,
    mask: Tensor | None,
    sizes: Mapping[int, int | None],
    axes: int | None = None,
) -> None:
    """Check the precision and sizes of an input and its mask; costs nothing once compiled.

    Args:
        module: the one that was called, for the message.
        x: input.
        mask: True at real positions, of the shape of x without its last axis; or None.
        sizes: axis -> size that it must have; None for any.
        axes: number of axes that x must have; None for any that `sizes` allows.

    Raises:
        ConfigError: if x holds whole numbers, has another number or size of axes, or the mask is none for x.
    """
    if not x.is_floating_point():
        raise ConfigError(
            "the input holds no floating-point numbers",
            where=type(module).__name__,
            expected="float32, bfloat16, float16 or float64",
            found=x.dtype,
        )
    if axes is not None and x.ndim != axes:
        raise ConfigError(
            "the input has another number of axes than the module takes",
            where=type(module).__name__,
            expected=axes,
            found=f"shape {tuple(x.shape)}",
        )
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


def check_at_least_one(**numbers: int) -> None:
    """Check numbers that a module is built with.

    Raises:
        ConfigError: if one is below 1, by its name.
    """
    for name, number in numbers.items():
        if number < 1:
            raise ConfigError("must be at least 1", where=name, found=number)
