"""The ledger: one line for each chunk that is durable, written after the chunk."""

import hashlib
import os
from pathlib import Path
from typing import Any, cast

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from daam_bench.cache.places import is_remote, lock_of, remove, sync, write_whole
from daam_bench.cache.store import Block


def ledger_path(store: Path) -> Path:
    """Return the place of a store's ledger, beside it."""
    return store.with_name(store.name + ".ledger.jsonl")


class LedgerEntry(BaseModel):
    """A committed chunk."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    chunk: int = Field(ge=0)
    sha256: str
    lengths: list[int]
    quarantined: dict[str, str]


def hash_block(block: Block) -> str:
    """Return the sha256 of a block's values in row-major order."""
    return hashlib.sha256(np.ascontiguousarray(block).view(np.uint8).data).hexdigest()


class Ledger:
    """Lines `<checksum> <JSON>`; one that is torn or damaged is dropped.

    On a disk they are one append-only file. An object store cannot append: there the ledger is a folder with
    one object for each chunk, so that several writers never replace each other's lines.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lock = lock_of(path, "write")

    def read(self) -> dict[int, LedgerEntry]:
        """Return the last entry of each chunk; damaged lines count as not written."""
        return self.examine()[0]

    def examine(self) -> tuple[dict[int, LedgerEntry], bool]:
        """Return what `read` does, and whether there is nothing else in the ledger, nor a line twice."""
        lines = self._lines()
        entries: dict[int, LedgerEntry] = {}
        for line in lines:
            checksum, _, text = line.partition(b" ")
            if _checksum(text) != checksum:
                continue
            try:
                entry = LedgerEntry.model_validate_json(text)
            except ValidationError:
                continue
            entries[entry.chunk] = entry
        wanted = [_line(entry).strip() for entry in entries.values()]
        if is_remote(self.path):
            return entries, sorted(lines) == sorted(wanted)
        return entries, lines == [*wanted, b""] or not lines

    def append(self, entry: LedgerEntry) -> None:
        """Add an entry; it is durable when this returns. Several processes may append."""
        if is_remote(self.path):
            write_whole(self.path / str(entry.chunk), _line(entry))
            return
        with self._lock:
            new = not self.path.exists()
            with self.path.open("ab") as handle:
                # A torn line of a killed writer must not swallow this one.
                if handle.tell() and not _ends_with_line_feed(self.path):
                    handle.write(b"\n")
                handle.write(_line(entry))
                handle.flush()
                os.fsync(handle.fileno())
            if new:
                sync(self.path.parent)

    def rewrite(self, entries: list[LedgerEntry]) -> None:
        """Replace the ledger by one line for each entry, so that equal caches have equal ledgers."""
        if is_remote(self.path):
            kept = {str(entry.chunk) for entry in entries}
            for item in self.path.iterdir() if self.path.exists() else ():
                if item.name not in kept:
                    remove(item)
            for entry in entries:
                self.append(entry)
            return
        lines = b"".join(_line(entry) for entry in entries)
        with self._lock:
            if not self.path.exists() or self.path.read_bytes() != lines:
                write_whole(self.path, lines)

    def clear(self) -> None:
        """Forget everything."""
        remove(self.path)

    def _lines(self) -> list[bytes]:
        if is_remote(self.path):
            remote = cast(Any, self.path)
            found = remote.fs.find(remote.path, detail=True)
            sizes = [int(facts["size"]) for facts in found.values()]
            # All at once: one after another would wait for the network each time. As ranges, whose sizes the
            # listing has told: whole objects would each be asked for their size once more.
            data = remote.fs.cat_ranges([*found], 0, sizes, on_error="raise")
            return [line.strip() for line in data]
        return self.path.read_bytes().split(b"\n") if self.path.exists() else []


def _ends_with_line_feed(path: Path) -> bool:
    with path.open("rb") as handle:
        handle.seek(-1, os.SEEK_END)
        return handle.read(1) == b"\n"


def _line(entry: LedgerEntry) -> bytes:
    text = entry.model_dump_json().encode()
    return _checksum(text) + b" " + text + b"\n"


def _checksum(text: bytes) -> bytes:
    return hashlib.sha256(text).hexdigest()[:16].encode()
