"""The manifest of a finished cache: what it is, from what, and a checksum of every chunk."""

import hashlib
import json
import os
from pathlib import Path
from typing import Any

from daam_bench.cache.places import place, write_whole
from daam_bench.cache.store import format_of, reading
from daam_bench.errors import CacheError

MANIFEST = "manifest.json"
_LONGEST_NAME = 255  # bytes, with which a ledger's name would not fit either


def write_manifest(path: Path, facts: dict[str, Any]) -> None:
    """Write the facts with a checksum of their own."""
    write_whole(path, (json.dumps(facts | {"checksum": _checksum(facts)}, indent=1) + "\n").encode())


def read_manifest(path: Path) -> dict[str, Any]:
    """Read the manifest of a finished cache.

    Raises:
        CacheError: if it is not one, or was damaged.
        MachineError: if the machine cannot read it.
    """
    with reading("not the manifest of a cache", path):
        facts: dict[str, Any] = json.loads(path.read_bytes())
        checksum = facts.pop("checksum")
        store = store_name(Path(facts["store"]).name)
        found = _checksum(facts)
        if not isinstance(facts.get("location") or "", str):
            raise TypeError("its location is no text")
    if found != checksum:
        raise CacheError(
            "the manifest was changed",
            where=path,
            remedy="Delete it and run `snakemake cache`: nothing that is whole is computed again.",
        )
    return facts | {"store": store}


def store_name(name: str) -> str:
    """Return the name of a store as it is, if it can be one: it leads nowhere else.

    Raises:
        ValueError: if it cannot.
    """
    if Path(name).name != name or format_of(Path(name)) is None or len(os.fsencode(name)) > _LONGEST_NAME:
        raise ValueError(f"{name[:50]!r} is no name of a store")
    return name


def store_of(manifest: Path, facts: dict[str, Any]) -> Path:
    """Return the store that a manifest names: beside it, or where its `location` says."""
    folder = place(facts["location"]) if facts.get("location") else manifest.parent
    return folder / str(facts["store"])


def find_manifest(path: Path) -> Path:
    """Return the manifest that a path means: itself, the one beside a store, or the one in a folder.

    Raises:
        CacheError: if there is none.
    """
    folder = path.parent if format_of(path) else path
    manifest = path if path.suffix == ".json" else folder / MANIFEST
    if manifest.exists():
        return manifest
    nearby = sorted(str(p) for p in path.parent.glob("*") if format_of(p) or (p / MANIFEST).exists())
    raise CacheError(
        "no cache here",
        where=path,
        expected="a .zarr or .h5 store, its manifest.json, or the folder of one",
        remedy=f"There is {', '.join(nearby)}." if nearby else "`snakemake cache` makes it.",
    )


def _checksum(facts: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()
