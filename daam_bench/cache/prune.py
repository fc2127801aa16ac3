"""Older stores of a cache: rows of them may be reused, so that they are kept until somebody removes them."""

from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from filelock import FileLock, Timeout

from daam_bench.cache.ledger import ledger_path
from daam_bench.cache.manifest import find_manifest, read_manifest, store_of
from daam_bench.cache.places import bytes_of, is_remote, remove
from daam_bench.cache.store import format_of


@dataclass(frozen=True)
class OtherStore:
    """A store in a cache's folder that its manifest does not name.

    Attributes:
        path: the store.
        size: bytes.
        in_use: whether a process fills it; it is then left alone.
    """

    path: Path
    size: int
    in_use: bool


def prune_cache(path: Path, delete: bool) -> list[OtherStore]:
    """Return the stores beside the one that a manifest names; delete those that nobody fills, if asked to.

    Args:
        path: the store, its manifest, or the folder of one.
        delete: whether to delete them, with their ledgers, locks and rates.

    Raises:
        CacheError: if there is no manifest.
    """
    manifest = find_manifest(path)
    kept = store_of(manifest, read_manifest(manifest))
    found = []
    for other in sorted(kept.parent.glob("*")):
        if format_of(other) is None or other.name == kept.name or other.name.startswith("."):
            continue
        with ExitStack() as held:
            in_use = not _hold(other, held)
            found.append(OtherStore(other, bytes_of(other), in_use))
            if delete and not in_use:
                _delete(other, manifest.parent / "parts")
    return found


def _hold(store: Path, held: ExitStack) -> bool:
    """Hold the locks of all parts of a store; return whether they were free."""
    try:
        for lock in [] if is_remote(store) else store.parent.glob(f"{store.name}.*-of-*.lock"):
            held.enter_context(FileLock(lock).acquire(timeout=0))
    except Timeout:
        return False
    return True


def _delete(store: Path, parts: Path) -> None:
    remove(ledger_path(store))  # first: without it a store counts as empty
    remove(store)
    left = [*parts.glob(f"{store.name}.*.rates.jsonl")]
    left += [] if is_remote(store) else store.parent.glob(f"{store.name}.*.lock")
    for file in left:
        remove(file)
