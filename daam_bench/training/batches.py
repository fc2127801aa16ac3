"""Batches of equal size out of rows that come buffer by buffer."""

from collections.abc import Iterator, Sequence

import numpy as np
from torch import Tensor, cat

from daam_bench.training.folds import Rows
from daam_bench.training.order import batches_of
from daam_bench.training.source import Buffer

Batch = tuple[Rows, Tensor | None]  # rows, and their values where not all of them lie in the buffer


class WholeBatches:
    """Cuts rows into batches that do not depend on where a buffer ends.

    Args:
        size: rows in a batch.
        layers: those that values are taken of, counted from 1; None for all.
    """

    def __init__(self, size: int, layers: Sequence[int] | None) -> None:
        self._size, self._layers = size, layers
        self._carried: tuple[Rows, Tensor] | None = None

    def cut(self, rows: Rows, buffer: Buffer) -> Iterator[Batch]:
        """Yield the full batches up to the end of a buffer; what is left waits for the next one.

        Args:
            rows: of the buffer, in the order in which they are taken.
            buffer: holds them.
        """
        carried = self._carried
        taken = 0 if carried is None else len(carried[0])
        if taken and taken + len(rows) >= self._size:
            first, rows = rows[: self._size - taken], rows[self._size - taken :]
            yield self._joined(carried, first, buffer)
            carried = None
        full = len(rows) // self._size * self._size if carried is None else 0
        for part in batches_of(rows[:full], self._size):
            yield part, None
        rest = rows[full:]
        self._carried = self._joined(carried, rest, buffer) if len(rest) else carried

    def rest(self) -> tuple[Rows, Tensor] | None:
        """Return the last batch, which is smaller, or None; the next rows begin anew."""
        left, self._carried = self._carried, None
        return left

    def _joined(self, carried: tuple[Rows, Tensor] | None, rows: Rows, buffer: Buffer) -> tuple[Rows, Tensor]:
        values = buffer.take(rows, self._layers)
        if carried is None:
            return rows, values
        return np.concatenate([carried[0], rows]), cat([carried[1], values])
