"""How many threads compute: the last bits of a sum depend on it."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from threadpoolctl import threadpool_limits

# Those of a training job of the workflow (workflow/rules/train.smk).
OF_TRAINING = 1


@contextmanager
def computing_with(threads: int) -> Iterator[None]:
    """Let torch, and the linear algebra of NumPy, SciPy and scikit-learn, compute with so many threads."""
    before = torch.get_num_threads()
    try:
        with threadpool_limits(limits=threads):
            torch.set_num_threads(threads)
            yield
    finally:
        torch.set_num_threads(before)
