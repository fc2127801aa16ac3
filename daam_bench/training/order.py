"""The order in which an epoch takes samples: random, and yet readable from a disk in long pieces."""

from collections.abc import Iterator

import numpy as np

from daam_bench.training.folds import Rows

# Short enough for thousands of them in a buffer, long enough for a disk.
_RUN_BYTES = 2**18


def deal_buffers(samples: int, row_bytes: int, buffer_bytes: int, epoch: int) -> list[Rows]:
    """Return the rows of each buffer of an epoch, ascending; every row is in exactly one of them.

    Runs of neighbouring rows are dealt to buffers at random, the same for all replicas: a cache that is
    larger than memory is read once an epoch for all of them. A cache within one buffer is one buffer.

    Args:
        samples: number of rows.
        row_bytes: size of one row in the cache.
        buffer_bytes: most bytes in a buffer.
        epoch: the runs are dealt anew in each.
    """
    run = max(1, _RUN_BYTES // row_bytes)
    runs, in_a_buffer = -(-samples // run), max(1, buffer_bytes // (run * row_bytes))
    if runs <= in_a_buffer:
        return [np.arange(samples)]
    order = np.random.default_rng([epoch]).permutation(runs)
    buffers = []
    for start in range(0, runs, in_a_buffer):
        starts = np.sort(order[start : start + in_a_buffer]) * run
        rows = (starts[:, None] + np.arange(run)).ravel()
        buffers.append(rows[rows < samples])
    return buffers


def order_in_buffer(rows: Rows, seed: tuple[int, ...], epoch: int, number: int) -> Rows:
    """Return the rows that a replica takes from a buffer, in its own random order.

    Args:
        rows: the replica's rows in the buffer, ascending.
        seed: of the replica.
        epoch: counted from 1.
        number: of the buffer in the epoch, counted from 0.
    """
    return np.random.default_rng([*seed, epoch, number]).permutation(rows)


def batches_of(rows: Rows, size: int) -> Iterator[Rows]:
    """Yield pieces of `size` rows, in order; the last may be shorter."""
    for start in range(0, len(rows), size):
        yield rows[start : start + size]
