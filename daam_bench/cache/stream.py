"""Shuffled batches out of a finished cache without loading it: rows are copied from verified memory maps."""

import math
import mmap
from collections import deque
from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from daam_bench.cache.reader import EmbeddingCache

Rows = npt.NDArray[np.int64]
_MOST_COPIED = 2**30  # bytes
_PIECE_BYTES = 2**23  # read before their pages are let go of


class RowReader:
    """Reads any rows of a cache in any order; a chunk is verified when it is first touched.

    Chunks lie uncompressed in both formats, so a row is one run of bytes in a file. The operating system
    keeps what fits into memory and drops the rest: the cache may be larger than memory. Of chunks that
    cannot be mapped, those of a remote store, the last GiB is kept.

    Args:
        cache: a finished cache.
    """

    def __init__(self, cache: EmbeddingCache) -> None:
        self.cache = cache
        self._chunks: list[npt.NDArray[np.floating] | None] = [None] * cache.layout.chunks
        self._copies: deque[int] = deque()
        self._maps: dict[int, mmap.mmap] = {}

    def read(self, rows: Rows) -> npt.NDArray[np.floating]:
        """Return the values of rows, [row, layer, feature], in their order and the stored precision.

        Raises:
            CacheError: if a chunk is missing or damaged.
        """
        layout = self.cache.layout
        values = np.empty((len(rows), layout.layers, layout.features), dtype=layout.dtype)
        self._copy(rows, values)
        return values

    def read_once(self, rows: Rows) -> npt.NDArray[np.floating]:
        """Return what `read` does, for many rows: in memory that goes back to the system when it is freed.

        Nor does this process keep the pages that they were copied from; the system does while it has room.

        Raises:
            CacheError: if a chunk is missing or damaged.
        """
        layout = self.cache.layout
        dtype, shape = np.dtype(layout.dtype), (len(rows), layout.layers, layout.features)
        # malloc may keep what is freed, cut it up, and then have no room for the next ones.
        memory = mmap.mmap(-1, max(1, dtype.itemsize * math.prod(shape)))
        values: npt.NDArray[np.floating] = np.ndarray(shape, dtype, memory)
        size = max(1, _PIECE_BYTES // (dtype.itemsize * math.prod(shape[1:])))
        for start in range(0, len(rows), size):
            part = rows[start : start + size]
            self._copy(part, values[start : start + size])
            for index in set((part // layout.rows_per_chunk).tolist()) & self._maps.keys():
                self._maps[index].madvise(mmap.MADV_DONTNEED)
        return values

    def _copy(self, rows: Rows, values: npt.NDArray[np.floating]) -> None:
        chunks, places = np.divmod(rows, self.cache.layout.rows_per_chunk)
        for position, (index, place) in enumerate(zip(chunks.tolist(), places.tolist(), strict=True)):
            chunk = self._chunks[index]
            values[position] = (self._open(index) if chunk is None else chunk)[place]

    def verify(self) -> None:
        """Verify and map every chunk now instead of at its first row.

        Raises:
            CacheError: if a chunk is missing or damaged.
        """
        for index, chunk in enumerate(self._chunks):
            if chunk is None:
                self._open(index)

    def _open(self, index: int) -> npt.NDArray[np.floating]:
        verified = self.cache.chunk(index)
        place = self.cache.place_of(index)
        chunk: npt.NDArray[np.floating] = verified
        if place is not None:
            mapped = np.memmap(place[0], verified.dtype, "r", place[1], verified.shape)
            # Rows are wanted at random: reading ahead would fetch what is not asked for.
            self._maps[index] = mapped._mmap  # type: ignore[attr-defined]
            self._maps[index].madvise(mmap.MADV_RANDOM)
            # A plain view: indexing a memmap object costs more than copying a row.
            chunk = np.asarray(mapped)
        else:
            self._copies.append(index)
            if len(self._copies) * verified.nbytes > _MOST_COPIED:
                self._chunks[self._copies.popleft()] = None
        self._chunks[index] = chunk
        return chunk


def shuffled_batches(
    reader: RowReader, rows: Rows, size: int, seed: tuple[int, ...]
) -> Iterator[tuple[Rows, npt.NDArray[np.floating]]]:
    """Yield (rows, values) of batches in a random order of all rows, as good as with a resident cache.

    Args:
        reader: of the cache.
        rows: row numbers that take part.
        size: rows in a batch; the last one may have fewer.
        seed: equal seeds give equal orders.
    """
    order = np.random.default_rng(seed).permutation(rows)
    for start in range(0, len(order), size):
        part = order[start : start + size]
        yield part, reader.read(part)
