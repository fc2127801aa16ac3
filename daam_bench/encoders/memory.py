"""Keep memory flat over a long extraction: batches differ in size, and two libraries collect by size."""

import ctypes
import logging
import os

_M_MMAP_THRESHOLD = -3  # of glibc's malloc.h
_LARGE = 8 * 2**20  # bytes
# oneDNN keeps a third of a megabyte for each of the last 1,024 shapes of a linear layer, in two caches.
_FEW_SHAPES = {"ONEDNN_PRIMITIVE_CACHE_CAPACITY": "16", "LRU_CACHE_CAPACITY": "16"}


def keep_memory_flat() -> None:
    """Bound what oneDNN and malloc keep for later; call it before the first forward pass of a process.

    By default glibc raises the size from which it returns freed blocks to the system while a program runs,
    and the blocks that it keeps fit ever fewer of the later ones. Nothing is done where the C library is
    another one; settings of the user's own environment go first.
    """
    for name, value in _FEW_SHAPES.items():
        os.environ.setdefault(name, value)
    try:
        ctypes.CDLL("libc.so.6").mallopt(_M_MMAP_THRESHOLD, _LARGE)
    except (OSError, AttributeError) as error:
        logging.info("memory is managed as the system does it (%s)", error)
