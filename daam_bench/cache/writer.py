"""Fill a cache chunk by chunk; killed at any moment, it goes on after the last committed chunk."""

import logging
import os
import shutil
from pathlib import Path
from typing import Any, Self

import numpy as np
from filelock import FileLock, Timeout

from daam_bench.cache.identity import CacheIdentity
from daam_bench.cache.ledger import Ledger, LedgerEntry, hash_block
from daam_bench.cache.store import Block, CacheLayout, EmbeddingStore, file_ending, store_class, sync
from daam_bench.errors import CacheError


def ledger_path(store: Path) -> Path:
    """Return the place of a store's ledger, beside it."""
    return store.with_name(store.name + ".ledger.jsonl")


class CacheWriter:
    """Opens or creates a store and holds its lock; use it as a context manager.

    Args:
        folder: where stores lie; the store is named after its identity.
        format: `zarr` or `hdf5`.
        layout: shape, labels and attributes.
        identity: what determines the numbers; it becomes the attribute `identity`.

    Raises:
        CacheError: if something else is at the store's place.
    """

    def __init__(self, folder: Path, format: str, layout: CacheLayout, identity: CacheIdentity) -> None:  # noqa: A002
        self.path = folder / f"{identity.digest[:12]}{file_ending(format)}"
        self.identity, self.format = identity, format
        attributes = {**layout.attributes, "identity": identity.model_dump(mode="json"), "complete": 0}
        self.layout = CacheLayout(**{**vars(layout), "attributes": attributes})
        self.ledger = Ledger(ledger_path(self.path))
        self._lock = FileLock(self.path.with_name(self.path.name + ".lock"))
        self._store: EmbeddingStore | None = None

    def __enter__(self) -> Self:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        try:
            self._lock.acquire(timeout=0)
        except Timeout:
            logging.warning("another process writes %s; waiting for it", self.path)
            self._lock.acquire()
        try:
            self._store = self._open() if self.path.exists() else self._create()
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

    def missing_chunks(self) -> list[int]:
        """Return the chunks that are not committed, or not what was committed, in ascending order."""
        entries = self.ledger.read()
        return [i for i in range(self.layout.chunks) if not self._is_whole(i, entries.get(i))]

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

    def finish(self) -> dict[str, Any]:
        """Write lengths and the mark of completeness; return the facts for a manifest.

        Raises:
            CacheError: if a chunk is missing.
        """
        missing = self.missing_chunks()
        if missing:
            raise CacheError("the cache is not complete", where=self.path, found=f"missing chunks {missing}")
        entries = self.ledger.read()
        ordered = [entries[i] for i in range(self.layout.chunks)]
        lengths = np.array([length for entry in ordered for length in entry.lengths], dtype=np.int64)
        quarantined = {key: reason for entry in ordered for key, reason in entry.quarantined.items()}
        summary = {"quarantined": quarantined, "complete": 1}
        found = self.store.layout().attributes
        # A finished store that was only repaired keeps its bytes.
        finished = all(found.get(key) == value for key, value in summary.items())
        if not finished or not np.array_equal(self.store.lengths(), lengths):
            self.store.write_summary(lengths, summary)
        return {
            "store": self.path.name,
            "format": self.format,
            "digest": self.identity.digest,
            "identity": self.identity.model_dump(mode="json"),
            "shape": list(self.layout.shape),
            "dtype": self.layout.dtype,
            "chunk_sha256": [entry.sha256 for entry in ordered],
            "quarantined": quarantined,
            "attributes": {
                k: v for k, v in self.layout.attributes.items() if k not in {"identity", "complete"}
            },
        }

    def _is_whole(self, index: int, entry: LedgerEntry | None) -> bool:
        if entry is None:
            return False
        try:
            return hash_block(self.store.read_chunk(index)) == entry.sha256
        except CacheError as error:
            logging.warning("%s", error)
            return False

    def _create(self) -> EmbeddingStore:
        """Create under a temporary name, then rename: a store at its place is never half made."""
        for left_over in self.path.parent.glob(f".*.{self.path.name}"):
            shutil.rmtree(left_over) if left_over.is_dir() else left_over.unlink()
        temporary = self.path.with_name(f".{os.getpid()}.{self.path.name}")
        self.ledger.path.unlink(missing_ok=True)
        store_class(self.format).create(temporary, self.layout).close()
        temporary.rename(self.path)
        sync(self.path.parent)
        return store_class(self.format).open(self.path, writable=True)

    def _open(self) -> EmbeddingStore:
        store = store_class(self.format).open(self.path, writable=True)
        found = CacheIdentity.model_validate(store.layout().attributes["identity"])
        if found != self.identity:
            raise CacheError(
                "the cache belongs to something else",
                where=self.path,
                found="; ".join(self.identity.differences(found)),
                remedy="Move it away and run snakemake again.",
            )
        return store
