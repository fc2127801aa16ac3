"""The ledger: one line for each chunk that is durable, written after the chunk."""

import hashlib
import os
from pathlib import Path

from filelock import FileLock
from pydantic import BaseModel, ConfigDict

from daam_bench.cache.store import Block, sync
from daam_bench.records import write_atomically


def ledger_path(store: Path) -> Path:
    """Return the place of a store's ledger, beside it."""
    return store.with_name(store.name + ".ledger.jsonl")


class LedgerEntry(BaseModel):
    """A committed chunk."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    chunk: int
    sha256: str
    lengths: list[int]
    quarantined: dict[str, str]


def hash_block(block: Block) -> str:
    """Return the sha256 of a block's values in row-major order."""
    return hashlib.sha256(block.tobytes()).hexdigest()


class Ledger:
    """An append-only file of lines `<checksum> <JSON>`; a line that is torn or damaged is dropped."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lock = path.with_name(path.name + ".lock")

    def read(self) -> dict[int, LedgerEntry]:
        """Return the last entry of each chunk; damaged lines count as not written."""
        entries: dict[int, LedgerEntry] = {}
        if self.path.exists():
            for line in self.path.read_bytes().split(b"\n"):
                checksum, _, text = line.partition(b" ")
                if _checksum(text) != checksum:
                    continue
                entry = LedgerEntry.model_validate_json(text)
                entries[entry.chunk] = entry
        return entries

    def append(self, entry: LedgerEntry) -> None:
        """Add an entry; it is durable when this returns. Several processes may append."""
        with FileLock(self._lock):
            new = not self.path.exists()
            with self.path.open("ab") as handle:
                # A torn line of a killed writer must not swallow this one.
                if not new and not self.path.read_bytes().endswith(b"\n"):
                    handle.write(b"\n")
                handle.write(_line(entry))
                handle.flush()
                os.fsync(handle.fileno())
            if new:
                sync(self.path.parent)

    def rewrite(self, entries: list[LedgerEntry]) -> None:
        """Replace the ledger by one line for each entry, so that equal caches have equal ledgers."""
        lines = b"".join(_line(entry) for entry in entries)
        with FileLock(self._lock):
            if self.path.read_bytes() != lines:
                write_atomically(self.path, lines)


def _line(entry: LedgerEntry) -> bytes:
    text = entry.model_dump_json().encode()
    return _checksum(text) + b" " + text + b"\n"


def _checksum(text: bytes) -> bytes:
    return hashlib.sha256(text).hexdigest()[:16].encode()
