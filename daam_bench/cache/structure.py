"""All of a store but its values, as bytes: proved before a library parses them, and put back after a kill.

HDF5's own metadata has no checksums: one flipped bit can change a name, or keep the library busy for ever.
"""

import hashlib
import os
import struct
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from daam_bench.cache.places import sync
from daam_bench.cache.store import reading
from daam_bench.errors import CacheError
from daam_bench.records import write_atomically

Places = Sequence[Sequence[int]]
_PIECE = 2**20
_HEAD = struct.Struct("<QQ")


def describe_structure(store: Path, places: Places) -> dict[str, Any]:
    """Return what `check_structure` compares with, for a manifest.

    Args:
        store: a store that nobody writes.
        places: (offset, size) in bytes of the values of an HDF5 file; empty for Zarr.
    """
    merged = merge(places)
    return {"places": merged, "sha256": _digest(store, merged)}


def check_structure(store: Path, expected: Any) -> None:
    """Compare everything in a store but its values with what was committed.

    Raises:
        CacheError: if it differs, or is none that can be read.
        MachineError: if the machine cannot read it.
    """
    with reading("its structure cannot be compared", store):
        found = _digest(store, [(int(start), int(size)) for start, size in expected["places"]])
        wanted = expected["sha256"]
    if found != wanted:
        raise CacheError(
            "its structure is not what was committed",
            where=store,
            expected=f"sha256 {wanted}",
            found=found,
            remedy=f"`daam-bench cache repair {store.parent}` restores it.",
        )


def merge(places: Places) -> list[tuple[int, int]]:
    """Return places in order, those that touch each other as one."""
    merged: list[tuple[int, int]] = []
    for start, size in sorted((int(start), int(size)) for start, size in places):
        if merged and sum(merged[-1]) == start:
            merged[-1] = (merged[-1][0], merged[-1][1] + size)
        else:
            merged.append((start, size))
    return merged


def save_structure(file: Path, places: Places, copy: Path) -> None:
    """Keep a durable copy of all bytes of a file but its values."""
    size = file.stat().st_size
    parts = [_HEAD.pack(size, 0)]
    with file.open("rb") as handle:
        for start, stop in _gaps(size, places):
            handle.seek(start)
            parts += [_HEAD.pack(start, stop - start), handle.read(stop - start)]
    content = b"".join(parts)
    write_atomically(copy, hashlib.sha256(content).digest() + content)
    sync(copy.parent)


def restore_structure(file: Path, copy: Path) -> None:
    """Put back what `save_structure` kept; a copy that was never completed is left out."""
    content = copy.read_bytes()
    checksum, content = content[:32], content[32:]
    if hashlib.sha256(content).digest() != checksum:
        return
    size, parts = _parts_of(content, copy)
    with file.open("r+b") as handle:
        for start, part in parts:
            handle.seek(start)
            handle.write(part)
        handle.truncate(size)
        handle.flush()
        os.fsync(handle.fileno())


def _parts_of(content: bytes, copy: Path) -> tuple[int, list[tuple[int, bytes]]]:
    """Return the size of a file, and what lay where in it.

    Raises:
        CacheError: if a part is not whole, or lies outside of the file.
    """
    parts, at = [], _HEAD.size
    with reading("its copy of the structure is damaged", copy):
        size, _ = _HEAD.unpack_from(content)
        if size > sys.maxsize:
            raise ValueError("no file has its size")
        while at < len(content):
            start, length = _HEAD.unpack_from(content, at)
            at += _HEAD.size
            if start + length > size or at + length > len(content):
                raise ValueError("a part lies outside")
            parts.append((start, content[at : at + length]))
            at += length
    return size, parts


def _gaps(size: int, places: Places) -> Iterator[tuple[int, int]]:
    """Yield (start, stop) of the bytes of a file that lie outside of places."""
    at = 0
    for start, length in merge(places):
        if start > at:
            yield at, min(start, size)
        at = max(at, start + length)
    if at < size:
        yield at, size


def _digest(store: Path, places: Places) -> str:
    digest = hashlib.sha256()
    if store.is_dir():
        for file in _files(store):
            content = hashlib.sha256(file.read_bytes()).hexdigest()
            digest.update(f"{file.relative_to(store).as_posix()} {content}\n".encode())
        return digest.hexdigest()
    with store.open("rb") as handle:
        for start, stop in _gaps(store.stat().st_size, places):
            handle.seek(start)
            for at in range(start, stop, _PIECE):
                digest.update(handle.read(min(_PIECE, stop - at)))
    return digest.hexdigest()


def _files(store: Path) -> list[Path]:
    """Return the files of a Zarr store that hold no values.

    What a killed writer left is none of it, nor are the hidden files of file managers and file systems: Zarr
    3 has no names that begin with a dot.
    """
    found = []
    for folder, below, names in os.walk(store):
        if Path(folder) == store / "embeddings":
            below[:] = [name for name in below if name != "c"]
        below[:] = [name for name in below if not name.startswith(".")]
        kept = [name for name in names if not name.startswith(".") and not name.endswith(".partial")]
        found += [Path(folder, name) for name in kept]
    return sorted(found)
