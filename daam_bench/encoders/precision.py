"""Compute with a model of half precision in float32 for a while."""

from collections.abc import Iterator
from contextlib import contextmanager
from itertools import chain

import psutil
import torch
from torch import nn

_HALVES = (torch.float16, torch.bfloat16)


@contextmanager
def in_float32(model: nn.Module) -> Iterator[None]:
    """Hold the tensors of a model in float32 within the context; afterwards they are what they were.

    Rounding in half precision is larger than some real differences between two ways to a number. Nothing is
    done with a model that lies on several devices, or whose float32 copy does not fit into the memory that is
    left.
    """
    halves = [t for t in chain(model.parameters(), model.buffers()) if t.dtype in _HALVES]
    if len({tensor.device for tensor in halves}) != 1 or not _fits(halves):
        yield
        return
    kinds = [tensor.dtype for tensor in halves]
    try:
        _hold(halves, [torch.float32] * len(halves))
        yield
    finally:
        _hold(halves, kinds)


@torch.inference_mode(False)  # what is made in it can never be trained
def _hold(tensors: list[torch.Tensor], kinds: list[torch.dtype]) -> None:
    for tensor, kind in zip(tensors, kinds, strict=True):
        tensor.data = tensor.data.to(kind)


def _fits(halves: list[torch.Tensor]) -> bool:
    """Return whether float32 copies fit: the room of both while one is made, and as much for the passes."""
    device = halves[0].device
    free = torch.cuda.mem_get_info(device)[0] if device.type == "cuda" else psutil.virtual_memory().available
    return 2 * sum(tensor.nbytes for tensor in halves) < free and device.type != "meta"
