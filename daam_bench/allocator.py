"""What is done with freed memory while extracting and training, and where Python looks for garbage."""

import ctypes
import gc
import logging
import math
import mmap
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import numpy as np
import numpy.typing as npt

# Of glibc's malloc.h.
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD, _M_ARENA_MAX = -1, -3, -8
_LARGE, _KEPT, _MOST = 16 * 2**20, 64 * 2**20, 96 * 2**20  # bytes
# oneDNN keeps a third of a megabyte for each of the last 1,024 shapes of a linear layer, in two caches; the
# first compiles what it does not keep.
_FEW_SHAPES = {"ONEDNN_PRIMITIVE_CACHE_CAPACITY": "32", "LRU_CACHE_CAPACITY": "16"}
# torch then lays blocks of 2 MiB and more on huge pages. They start at fewer places, so more of them fit
# where others were: 65,536 texts take 166 MiB beside the model instead of 200.
_HUGE_PAGES = {"THP_MEM_ALLOC_ENABLE": "1"}


def keep_memory_flat() -> None:
    """Bound what oneDNN and malloc keep for later; call it before the first forward pass of a process.

    Batches of a long extraction differ in size. By default glibc raises the size from which it returns freed
    blocks to the system while a program runs, and the blocks that it keeps fit ever fewer of the later ones.
    Blocks that nearly every batch asks for are kept: getting their pages anew took a fifth of the time.
    All threads share what is kept: else each one that encodes would keep blocks of its own. Nothing is done
    where the C library is another one; settings of the user's own environment go first.
    """
    for name, value in {**_FEW_SHAPES, **_HUGE_PAGES}.items():
        os.environ.setdefault(name, value)
    _set_malloc({_M_MMAP_THRESHOLD: _LARGE, _M_TRIM_THRESHOLD: _KEPT, _M_ARENA_MAX: 1})


def keep_freed_memory() -> None:
    """Let malloc keep blocks of up to 96 MiB for the next step of training, which asks for the same ones.

    By default blocks of 32 MiB and more go back to the system and come again as pages to be cleared, which
    takes half of a step's time at batch 32. Larger ones do: kept, they would fit ever fewer of the later
    ones, and memory would grow. Nothing is done where the C library is another one.
    """
    _set_malloc({_M_MMAP_THRESHOLD: _MOST, _M_TRIM_THRESHOLD: 2**31 - 1})


def zeros_apart(shape: tuple[int, ...], dtype: str) -> npt.NDArray[np.floating]:
    """Return zeros in memory of their own, which goes back to the system when it is freed.

    malloc may keep what is freed, cut it up, and then have no room for the next ones. It may also lay an
    array between blocks that are asked for again and again, which then fit ever worse.
    """
    size = math.prod(shape) * np.dtype(dtype).itemsize
    memory = mmap.mmap(-1, max(1, size), mmap.MAP_PRIVATE)
    with suppress(AttributeError, OSError):  # not every system has them
        memory.madvise(mmap.MADV_HUGEPAGE)  # page by page, new memory costs more than reading
    return np.ndarray(shape, dtype, memory)


@contextmanager
def loaded_objects_spared() -> Iterator[None]:
    """Within this context Python's collector of cycles looks only at objects that are newer than it.

    Modules and models are half a million objects: going through them takes 0.3 s, during which no thread
    encodes. It happened in one of two to three extractions of 23,703 texts.
    """
    gc.freeze()
    try:
        yield
    finally:
        gc.unfreeze()


def _set_malloc(options: dict[int, int]) -> None:
    try:
        mallopt = ctypes.CDLL("libc.so.6").mallopt
    except (OSError, AttributeError) as error:
        logging.info("memory is managed as the system does it (%s)", error)
        return
    for option, value in options.items():
        mallopt(option, value)
