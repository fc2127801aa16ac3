"""Rows out of a finished cache without loading it: they are copied from verified memory maps."""

import math
import mmap
import os
import resource
from collections import deque
from itertools import pairwise
from pathlib import Path

import numpy as np
import numpy.typing as npt

from daam_bench.allocator import zeros_apart
from daam_bench.cache.ledger import hash_block
from daam_bench.cache.reader import EmbeddingCache
from daam_bench.cache.store import REPAIR, reading
from daam_bench.errors import CacheError

Rows = npt.NDArray[np.int64]
Facts = tuple[int, int, int]  # size, time of the last change and inode of a file
_MOST_COPIED = 2**30  # bytes


class RowReader:
    """Reads any rows of a cache in any order; a chunk is verified when it is first touched.

    Chunks lie uncompressed in both formats, so a row is one run of bytes in a file. The operating system
    keeps what fits into memory and drops the rest: the cache may be larger than memory. Of chunks that
    cannot be mapped, those of a remote store, the last GiB is kept. A map of a Zarr chunk holds a file open:
    the last ones are kept, as many as half of the files that the process may open.

    Once as many rows were read as there are, as in an epoch, chunks whose files changed are verified anew.

    Args:
        cache: a finished cache.
    """

    def __init__(self, cache: EmbeddingCache) -> None:
        self.cache = cache
        self._chunks: list[npt.NDArray[np.floating] | None] = [None] * cache.layout.chunks
        # What each chunk's file was when the chunk was verified.
        self._verified: list[Facts | None] = [None] * cache.layout.chunks
        self._rows_read = 0
        self._whole: tuple[mmap.mmap, Facts] | None = None
        self._maps: dict[int, mmap.mmap] = {}
        self._places: dict[int, tuple[Path, int]] = {}  # file and offset of what was verified
        # Chunks that are held by themselves, in the order in which they were opened.
        self._held: deque[int] = deque()
        self._most_files = _allow_open_files(cache.layout.chunks) // 2

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

        They are read from the files, not from maps: this process keeps no pages of those, the system does
        while it has room. Rows that lie side by side are read at once.

        Raises:
            CacheError: if a chunk is missing or damaged.
        """
        layout = self.cache.layout
        values = zeros_apart((len(rows), layout.layers, layout.features), layout.dtype)
        self._count(len(rows))
        new_run = (np.diff(rows) != 1) | (np.diff(rows // layout.rows_per_chunk) != 0)
        edges = [0, *(np.flatnonzero(new_run) + 1).tolist(), len(rows)]
        for start, stop in pairwise(edges):
            if start < stop:
                self._read_run(int(rows[start]), values[start:stop])
        return values

    def _read_run(self, first: int, values: npt.NDArray[np.floating]) -> None:
        """Read neighbouring rows of one chunk from its file, which is faster than page by page from a map."""
        index, row = divmod(first, self.cache.layout.rows_per_chunk)
        if index not in self._places:
            chunk = self._chunks[index]
            chunk = self._open(index) if chunk is None else chunk
            if index not in self._places:  # of a remote store
                values[:] = chunk[row : row + len(values)]
                return
        file, offset = self._places[index]
        with reading(f"chunk {index} cannot be read", file, REPAIR):
            with file.open("rb", buffering=0) as handle:
                if _facts_of(os.fstat(handle.fileno())) == self._verified[index]:
                    handle.seek(offset + row * values[0].nbytes)
                    if handle.readinto(values.data.cast("B")) == values.nbytes:
                        return
            # It was changed since it was verified: it is verified anew, or refused.
            self._forget_changed()
            values[:] = self._open(index)[row : row + len(values)]

    def _count(self, rows: int) -> None:
        self._rows_read += rows
        if self._rows_read > self.cache.layout.samples:
            self._rows_read = rows
            self._forget_changed()

    def _copy(self, rows: Rows, values: npt.NDArray[np.floating]) -> None:
        self._count(len(rows))
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
        place = self.cache.place_of(index)
        if place is None:
            chunk: npt.NDArray[np.floating] = self.cache.chunk(index)
            self._hold(index, max(1, _MOST_COPIED // chunk.nbytes))
        else:
            with reading(f"chunk {index} cannot be read", place[0], REPAIR):
                if self._verified[index] is None:
                    facts = _facts_of(place[0].stat())
                    self.cache.chunk(index)
                    self._verified[index] = facts
                chunk = self._map(index, *place)
        self._chunks[index] = chunk
        return chunk

    def _map(self, index: int, file: Path, offset: int) -> npt.NDArray[np.floating]:
        """Return a view of a chunk's values in a file; chunks of one file share one map."""
        layout = self.cache.layout
        mapped, facts = self._whole or _map_file(file)
        shape = (len(range(layout.samples)[layout.rows_of(index)]), layout.layers, layout.features)
        chunk = np.frombuffer(mapped, layout.dtype, math.prod(shape), offset).reshape(shape)
        if facts != self._verified[index]:
            if hash_block(chunk) != self.cache.committed.get(index):
                raise CacheError(
                    f"chunk {index} was changed while it was in use",
                    where=file,
                    remedy=f"`daam-bench cache repair {self.cache.path.parent}` extracts only what is bad.",
                )
            self._verified[index] = facts
        if file == self.cache.path:
            self._whole = mapped, facts
        else:
            self._hold(index, max(1, self._most_files))
        self._maps[index], self._places[index] = mapped, (file, offset)
        return chunk

    def _forget_changed(self) -> None:
        """Let go of the maps of chunks whose files are no longer those that were verified."""
        found: dict[Path, Facts | None] = {}
        for index in list(self._maps):
            place = self.cache.place_of(index) if self._whole is None else (self.cache.path, 0)
            assert place is not None  # it is mapped
            if place[0] not in found:
                try:
                    found[place[0]] = _facts_of(place[0].stat())
                except FileNotFoundError:
                    found[place[0]] = None
            if found[place[0]] == self._verified[index]:
                continue
            self._chunks[index] = None
            del self._maps[index]
            if self._whole is None:
                self._held.remove(index)
        if not self._maps:
            self._whole = None

    def _hold(self, index: int, most: int) -> None:
        """Note a chunk that is held by itself, and let the oldest go if there are too many."""
        self._held.append(index)
        if len(self._held) > most:
            oldest = self._held.popleft()
            self._chunks[oldest] = None
            self._maps.pop(oldest, None)


def _facts_of(found: os.stat_result) -> Facts:
    return found.st_size, found.st_mtime_ns, found.st_ino


def _map_file(file: Path) -> tuple[mmap.mmap, Facts]:
    with file.open("rb") as handle:
        facts = _facts_of(os.fstat(handle.fileno()))
        mapped = mmap.mmap(handle.fileno(), 0, access=mmap.ACCESS_READ)
    # Rows are wanted at random: reading ahead would fetch what is not asked for.
    mapped.madvise(mmap.MADV_RANDOM)
    return mapped, facts


def _allow_open_files(wanted: int) -> int:
    """Raise the number of files that this process may open as far as it may and need; return it."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    infinite = resource.RLIM_INFINITY
    if soft != infinite and soft < 2 * wanted:
        soft = 2 * wanted if hard == infinite else max(soft, min(hard, 2 * wanted))
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    return 2 * wanted if soft == infinite else soft
