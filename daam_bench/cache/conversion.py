"""Copy a cache into the other format; values, labels and identity stay."""

from pathlib import Path

from daam_bench.cache.ledger import Ledger, ledger_path
from daam_bench.cache.manifest import MANIFEST, find_manifest, read_manifest, write_manifest
from daam_bench.cache.places import is_remote
from daam_bench.cache.reader import open_cache
from daam_bench.cache.store import reading
from daam_bench.cache.writer import CacheWriter
from daam_bench.errors import CacheError


def convert_cache(source: Path, target: Path, kind: str) -> Path:
    """Write a verified copy of a cache in a format, with its manifest; return the new store.

    Args:
        source: the store, its manifest, or the folder of one.
        target: folder of the copy; it must not have a manifest yet.
        kind: `zarr` or `hdf5`.

    Raises:
        CacheError: if the source is damaged or the target is taken.
        ConfigError: if the format is unknown.
    """
    if (target / MANIFEST).exists():
        raise CacheError("there is a cache already", where=target, remedy="Choose an empty folder.")
    cache = open_cache(source)
    facts = read_manifest(find_manifest(source))
    entries = Ledger(ledger_path(cache.path)).read()
    lost = [chunk for chunk in range(cache.layout.chunks) if chunk not in entries]
    if lost:
        raise CacheError(
            "its ledger lacks chunks",
            where=ledger_path(cache.path),
            found=f"none of {lost[:5]}",
            remedy="Run `daam-bench cache repair` first.",
        )
    with reading("its manifest says not how it was made", source):
        attributes = {k: v for k, v in cache.layout.attributes.items() if k in facts["attributes"]}
        there = {"format": kind, "url": str(target) if is_remote(target) else None}
        spec = facts["spec"] | {"cache": facts["spec"]["cache"] | there}
        kept = {key: facts[key] for key in ("samples", "measurements")}
    layout = cache.layout.with_attributes(attributes)
    with CacheWriter(target, kind, layout, cache.identity) as writer:
        writer.take_over(entries, cache.chunk)
        written = writer.finish()
    write_manifest(target / MANIFEST, written | {"spec": spec} | kept)
    return writer.path
