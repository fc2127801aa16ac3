"""Fill a cache chunk by chunk; killed at any moment, it goes on after the last committed chunk."""

import logging
import os
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, Self

import numpy as np

from daam_bench.cache.identity import CacheIdentity
from daam_bench.cache.ledger import Ledger, LedgerEntry, hash_block, ledger_path
from daam_bench.cache.places import is_remote, lock_of, move, remove
from daam_bench.cache.store import (
    Block,
    CacheLayout,
    EmbeddingStore,
    file_ending,
    format_of,
    store_class,
)
from daam_bench.cache.structure import describe_structure
from daam_bench.errors import CacheError
from daam_bench.locks import wait_for

# Attributes that the writer itself sets.
_OWN = {"identity", "complete", "quarantined"}
# In a remote store, written once it has been created.
_MADE = "created"


class CacheWriter:
    """Opens or creates a store and holds the lock of its part; use it as a context manager.

    Several processes may fill one Zarr store, each its own part of the chunks. HDF5 has one writer.
    A store that is there keeps its size of chunks; attributes that the layout has otherwise are corrected.

    Args:
        folder: where stores lie; the store is named after its identity.
        format: `zarr` or `hdf5`.
        layout: shape, labels and attributes.
        identity: what determines the numbers; it becomes the attribute `identity`.
        part: (number of this part, number of parts), counted from 1.

    Raises:
        CacheError: if something else is at the store's place, or several parts are asked of HDF5.
    """

    def __init__(
        self,
        folder: Path,
        format: str,  # noqa: A002
        layout: CacheLayout,
        identity: CacheIdentity,
        part: tuple[int, int] = (1, 1),
    ) -> None:
        self.path = folder / f"{identity.digest[:12]}{file_ending(format)}"
        if format != "zarr" and is_remote(folder):
            raise CacheError(
                f"{format} cannot be written to a URL", where=folder, remedy="Set cache.format: zarr."
            )
        if part[1] > 1 and format != "zarr":
            raise CacheError(
                f"{format} has one writer at a time",
                where=self.path,
                found=f"{part[1]} parts",
                remedy="Set cache.format: zarr, or leave out --set-scatter.",
            )
        self.identity, self.format, self.part = identity, format, part
        attributes = {**layout.attributes, "identity": identity.model_dump(mode="json"), "complete": 0}
        # Sorted, as HDF5 gives them back: a converted cache has the bytes of an extracted one.
        self.layout = layout.with_attributes(dict(sorted(attributes.items())))
        self.ledger = Ledger(ledger_path(self.path))
        self._lock = lock_of(self.path, f"{part[0]}-of-{part[1]}")
        self._store: EmbeddingStore | None = None
        self._written: set[int] = set()

    @classmethod
    def of_store(cls, path: Path) -> Self:
        """Return the writer of an existing store.

        Raises:
            CacheError: if it is none, or its name is not that of its identity.
        """
        kind = format_of(path)
        if kind is None:
            raise CacheError("no store", where=path, expected="a path that ends in .zarr or .h5")
        # HDF5 cannot be read while another process writes, nor as one that was killed in it left it.
        with lock_of(path, "1-of-1"):
            store_class(kind).recover(path)
            with store_class(kind).open(path) as store:
                layout = store.layout()
        identity = CacheIdentity.of_attributes(layout.attributes, path)
        attributes = {k: v for k, v in layout.attributes.items() if k not in _OWN}
        writer = cls(path.parent, kind, layout.with_attributes(attributes), identity)
        if writer.path != path:
            raise CacheError("not named after its identity", where=path, expected=writer.path.name)
        return writer

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Hold the lock of the part without opening the store; the writer may be entered within."""
        if not is_remote(self.path):
            self.path.parent.mkdir(parents=True, exist_ok=True)
        wait_for(self._lock, self.path)
        try:
            yield
        finally:
            self._lock.release()

    def __enter__(self) -> Self:
        if not is_remote(self.path):
            self.path.parent.mkdir(parents=True, exist_ok=True)
        wait_for(self._lock, self.path)
        try:
            with lock_of(self.path, "create"):
                self._store = self._open() if _is_made(self.path) else self._create()
        except BaseException:
            self._lock.release()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        if self._store is not None:
            self._store.close()
        self._lock.release()

    @property
    def store(self) -> EmbeddingStore:
        """The open store."""
        if self._store is None:
            raise CacheError("the writer is not open; use it in a with statement", where=self.path)
        return self._store

    def own_chunks(self) -> range:
        """Return the chunks of this part."""
        number, parts = self.part
        bounds = [self.layout.chunks * k // parts for k in (number - 1, number)]
        return range(*bounds)

    def missing_chunks(self) -> list[int]:
        """Return this part's chunks that are not committed, or not what was committed, ascending.

        Those that this writer wrote itself are not read again.
        """
        entries = self.ledger.read()
        own = [i for i in self.own_chunks() if i not in self._written]
        return [i for i in own if not self._is_whole(i, entries.get(i))]

    def chunks_with_quarantined(self) -> list[int]:
        """Return this part's committed chunks with samples that have no result."""
        entries = self.ledger.read()
        return [i for i in self.own_chunks() if i in entries and entries[i].quarantined]

    def write_chunk(self, index: int, block: Block, lengths: list[int], quarantined: dict[str, str]) -> None:
        """Commit one chunk: the values first, then its line in the ledger.

        Args:
            index: number of the chunk.
            block: values [row, layer, feature] in the layout's dtype; a quarantined row is NaN.
            lengths: number of positions each row was pooled over, -1 for a quarantined row.
            quarantined: reason by sample id.
        """
        self.store.write_chunk(index, block)
        sha256 = hash_block(block)
        self.ledger.append(LedgerEntry(chunk=index, sha256=sha256, lengths=lengths, quarantined=quarantined))
        self._written.add(index)

    def take_over(self, entries: Mapping[int, LedgerEntry], read: Callable[[int], Block | None]) -> None:
        """Commit missing chunks from another store that has them as its ledger says.

        Args:
            entries: the other store's ledger.
            read: gives a chunk of it; None if it cannot be read.
        """
        for index in self.missing_chunks():
            entry = entries.get(index)
            block = None if entry is None else read(index)
            if entry is not None and block is not None and hash_block(block) == entry.sha256:
                self.write_chunk(index, block, entry.lengths, entry.quarantined)

    def finish(self) -> dict[str, Any]:
        """Write lengths and the mark of completeness; return the facts for a manifest.

        Raises:
            CacheError: if a chunk is missing.
        """
        missing = self.missing_chunks()
        if missing:
            raise CacheError(
                "the cache is not complete",
                where=self.path,
                found=f"missing chunks {missing}",
                remedy="Run the same command again: it computes them.",
            )
        entries = self.ledger.read()
        ordered = [entries[i] for i in range(self.layout.chunks)]
        self.ledger.rewrite(ordered)
        lengths = np.array([length for entry in ordered for length in entry.lengths], dtype=np.int64)
        quarantined = {key: reason for entry in ordered for key, reason in entry.quarantined.items()}
        summary = {"quarantined": quarantined, "complete": 1}
        found = self.store.attributes()
        # A finished store that was only repaired keeps its bytes.
        finished = all(found.get(key) == value for key, value in summary.items())
        if not finished or not np.array_equal(self.store.lengths(), lengths):
            self.store.write_summary(lengths, summary)
        places = self.store.value_places()
        self.store.close()
        self._store = store_class(self.format).open(self.path)
        structure = {} if is_remote(self.path) else {"structure": describe_structure(self.path, places)}
        return structure | {
            "store": self.path.name,
            "format": self.format,
            "digest": self.identity.digest,
            "identity": self.identity.model_dump(mode="json"),
            "shape": list(self.layout.shape),
            "dtype": self.layout.dtype,
            "chunk_sha256": [entry.sha256 for entry in ordered],
            "quarantined": quarantined,
            "attributes": {k: v for k, v in self.layout.attributes.items() if k not in _OWN},
        }

    def _is_whole(self, index: int, entry: LedgerEntry | None) -> bool:
        if entry is None or len(entry.lengths) != len(range(self.layout.samples)[self.layout.rows_of(index)]):
            return False
        try:
            return hash_block(self.store.read_chunk(index)) == entry.sha256
        except CacheError as error:
            logging.warning("%s: %s; it is extracted again", error.where, error.what)
            return False

    def _create(self) -> EmbeddingStore:
        """Create under a temporary name, then rename: a store at its place is never half made."""
        if is_remote(self.path):
            self._create_remote()
        else:
            self.ledger.clear()
            torn = self.path.with_name(f"{self.path.name}.structure")  # of an HDF5 file that is gone
            for left_over in [*self.path.parent.glob(f".*.{self.path.name}"), torn]:
                remove(left_over)
            temporary = self.path.with_name(f".{os.getpid()}.{self.path.name}")
            store_class(self.format).create(temporary, self.layout).close()
            move(temporary, self.path)
        return store_class(self.format).open(self.path, writable=True)

    def _create_remote(self) -> None:
        """Create here and upload; a last object says that it is whole: nothing is renamed in one step there.

        Another machine may do the same, or may even have committed chunks since this one looked: no lock
        reaches it. So nothing is deleted, and both write equal bytes. A line of the ledger whose chunk is not
        there counts for nothing.
        """
        with tempfile.TemporaryDirectory() as folder:
            made = Path(folder, self.path.name)
            store_class(self.format).create(made, self.layout).close()
            for file in sorted(made.rglob("*")):
                if file.is_file():
                    target = self.path / file.relative_to(made).as_posix()
                    target.write_bytes(file.read_bytes())
        (self.path / _MADE).write_bytes(b"")

    def _open(self) -> EmbeddingStore:
        store = store_class(self.format).open(self.path, writable=True)
        try:
            there = store.layout()
            found = CacheIdentity.of_attributes(there.attributes, self.path)
            if found != self.identity:
                raise CacheError(
                    "the cache belongs to something else",
                    where=self.path,
                    found="; ".join(self.identity.differences(found)),
                    remedy="Move it away and run snakemake again.",
                )
            self.layout = replace(self.layout, rows_per_chunk=there.rows_per_chunk)
            wanted = {key: value for key, value in self.layout.attributes.items() if key not in _OWN}
            stale = {key: value for key, value in wanted.items() if there.attributes.get(key) != value}
            if stale:
                logging.warning("%s: corrected %s", self.path, ", ".join(stale))
                store.write_summary(None, stale)
        except BaseException:
            store.close()
            raise
        return store


def _is_made(path: Path) -> bool:
    return (path / _MADE).exists() if is_remote(path) else path.exists()
