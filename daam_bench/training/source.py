"""Where replicas get their values from: a resident tensor, or buffers read ahead from a large cache."""

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from time import perf_counter
from typing import Protocol, runtime_checkable

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from daam_bench.cache.stream import RowReader
from daam_bench.training.folds import Rows
from daam_bench.training.order import batches_of, deal_buffers


@dataclass(frozen=True)
class Buffer:
    """Some rows of a cache in memory.

    Attributes:
        number: of the buffer in its epoch.
        rows: row numbers, ascending.
        values: [row of `rows`, layer, feature], in any precision.
        device: where `take` puts values.
    """

    number: int
    rows: Rows
    values: Tensor
    device: torch.device

    def own(self, wanted: Rows) -> Rows:
        """Return the rows of an ascending list that are in this buffer, ascending."""
        return np.intersect1d(wanted, self.rows, assume_unique=True)

    def take(self, rows: Rows, layers: Sequence[int] | None = None) -> Float[Tensor, "row layer feature"]:
        """Return the values of rows, float32, in their order; of all layers, or of those counted from 1."""
        places = torch.from_numpy(np.searchsorted(self.rows, rows))
        values = self.values[places].to(self.device, torch.float32)
        return values if layers is None else values[:, [layer - 1 for layer in layers]]


@runtime_checkable
class Waits(Protocol):
    """What training waits for.

    Attributes:
        waited: seconds that training waited for values.
    """

    waited: float


@runtime_checkable
class Source(Waits, Protocol):
    """What gives buffers.

    Attributes:
        in_memory: whether passes cost no reading.
    """

    in_memory: bool

    def epoch(self, number: int) -> Iterator[Buffer]:
        """Yield the buffers of an epoch: every row once."""

    def subset(self, rows: Rows) -> Iterator[Buffer]:
        """Yield buffers that hold the given rows, ascending."""


@runtime_checkable
class Onlooker(Protocol):
    """What looks at values as they come by."""

    @property
    def rows(self) -> Rows:
        """Those that it needs, ascending."""

    def see(self, buffer: Buffer) -> None:
        """Look at the rows that a buffer holds."""


class ResidentSource:
    """A cache that lies in memory as a whole.

    Args:
        embeddings: values [sample, layer, feature] on the device.
        row_bytes: size of a row in the cache; it decides the order, which must not depend on memory.
        buffer_bytes: most bytes in a buffer.
    """

    in_memory = True

    def __init__(self, embeddings: Tensor, row_bytes: int, buffer_bytes: int) -> None:
        self._embeddings, self._sizes, self.waited = embeddings, (row_bytes, buffer_bytes), 0.0

    def epoch(self, number: int) -> Iterator[Buffer]:
        """Yield the buffers of an epoch: every row once."""
        buffers = deal_buffers(len(self._embeddings), *self._sizes, number)
        for index, rows in enumerate(buffers):
            whole = len(buffers) == 1
            values = self._embeddings if whole else self._embeddings[torch.from_numpy(rows)]
            yield Buffer(index, rows, values, self._embeddings.device)

    def subset(self, rows: Rows) -> Iterator[Buffer]:
        """Yield the whole cache."""
        yield Buffer(0, np.arange(len(self._embeddings)), self._embeddings, self._embeddings.device)


class StreamingSource:
    """A cache larger than memory: one buffer in use, the next one read meanwhile.

    Args:
        reader: of the cache.
        usable: row in the cache of each sample that takes part.
        row_bytes: size of a row in the cache.
        buffer_bytes: most bytes in a buffer.
        device: where training runs.
    """

    in_memory = False

    def __init__(
        self, reader: RowReader, usable: Rows, row_bytes: int, buffer_bytes: int, device: torch.device
    ) -> None:
        self._reader, self._usable, self._device = reader, usable, device
        self._sizes, self.waited, self.bytes_read = (row_bytes, buffer_bytes), 0.0, 0
        # One thread for all passes: each new one would have memory of its own, which malloc keeps.
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="read")

    def epoch(self, number: int) -> Iterator[Buffer]:
        """Yield the buffers of an epoch: every row once."""
        yield from self._read(deal_buffers(len(self._usable), *self._sizes, number))

    def subset(self, rows: Rows) -> Iterator[Buffer]:
        """Yield buffers that hold the given rows and no other."""
        row_bytes, buffer_bytes = self._sizes
        yield from self._read(list(batches_of(rows, max(1, buffer_bytes // row_bytes))))

    def _read(self, parts: list[Rows]) -> Iterator[Buffer]:
        ahead = self._pool.submit(self._values, parts[0]) if parts else None
        for number, rows in enumerate(parts):
            assert ahead is not None  # there is one more part
            start = perf_counter()
            values = ahead.result()
            self.waited += perf_counter() - start
            more = number + 1 < len(parts)
            ahead = self._pool.submit(self._values, parts[number + 1]) if more else None
            yield Buffer(number, rows, values, self._device)
            del values  # else it would be held while the one after the next is read

    def _values(self, rows: Rows) -> Tensor:
        values = self._reader.read_once(self._usable[rows])
        self.bytes_read += values.nbytes
        return torch.from_numpy(values)
