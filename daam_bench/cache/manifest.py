"""The manifest of a finished cache: what it is, from what, and a checksum of every chunk."""

import hashlib
import json
from pathlib import Path
from typing import Any

from daam_bench.cache.store import format_of
from daam_bench.errors import CacheError
from daam_bench.records import write_atomically

MANIFEST = "manifest.json"


def write_manifest(path: Path, facts: dict[str, Any]) -> None:
    """Write the facts with a checksum of their own."""
    write_atomically(path, (json.dumps(facts | {"checksum": _checksum(facts)}, indent=1) + "\n").encode())


def read_manifest(path: Path) -> dict[str, Any]:
    """Read the manifest of a finished cache.

    Raises:
        CacheError: if it is not one, or was damaged.
    """
    try:
        facts: dict[str, Any] = json.loads(path.read_bytes())
        checksum = facts.pop("checksum")
        store = Path(facts["store"]).name
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise CacheError(f"not the manifest of a cache ({error})", where=path) from None
    if _checksum(facts) != checksum:
        raise CacheError(
            "the manifest was changed",
            where=path,
            remedy="Delete it and run `snakemake cache`: nothing that is whole is computed again.",
        )
    return facts | {"store": store}


def find_store(path: Path) -> Path:
    """Return the store that a path means: itself, the one its manifest names, or the one in a folder.

    Raises:
        CacheError: if there is none.
    """
    if format_of(path) and path.exists():
        return path
    manifest = find_manifest(path)
    return manifest.parent / str(read_manifest(manifest)["store"])


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
