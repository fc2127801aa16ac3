"""The ledger: one line for each chunk that is durable, written after the chunk."""

import hashlib
import os
from pathlib import Path

from pydantic import BaseModel, ConfigDict, ValidationError

from daam_bench.cache.store import Block, sync


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
    """An append-only file of JSON lines; a torn last line is dropped."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def read(self) -> dict[int, LedgerEntry]:
        """Return the last entry of each chunk; unreadable lines count as not written."""
        entries: dict[int, LedgerEntry] = {}
        if self.path.exists():
            for line in self.path.read_bytes().split(b"\n"):
                try:
                    entry = LedgerEntry.model_validate_json(line)
                except ValidationError:
                    continue
                entries[entry.chunk] = entry
        return entries

    def append(self, entry: LedgerEntry) -> None:
        """Add an entry; it is durable when this returns."""
        new = not self.path.exists()
        with self.path.open("ab") as handle:
            # A torn line of a killed writer must not swallow this one.
            if not new and not self.path.read_bytes().endswith(b"\n"):
                handle.write(b"\n")
            handle.write(entry.model_dump_json().encode() + b"\n")
            handle.flush()
            os.fsync(handle.fileno())
        if new:
            sync(self.path.parent)
