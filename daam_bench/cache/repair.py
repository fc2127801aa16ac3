"""Re-extract what is bad in a cache, and only that."""

import logging
from pathlib import Path
from typing import Any

import pandas as pd
from rich.progress import Progress

from daam_bench.cache.extraction import ExtractionSpec, describe, fill
from daam_bench.cache.identity import CacheIdentity
from daam_bench.cache.ledger import Ledger, LedgerEntry, hash_block, ledger_path
from daam_bench.cache.manifest import find_manifest, read_manifest, store_of
from daam_bench.cache.places import move, remove
from daam_bench.cache.reader import open_cache
from daam_bench.cache.store import store_class
from daam_bench.cache.writer import CacheWriter
from daam_bench.encoders.base import load_encoder
from daam_bench.errors import CacheError


def repair_cache(path: Path, progress: Progress) -> int:
    """Re-extract the chunks that are missing or damaged; return how many samples were computed.

    The repaired cache has the bytes of an undamaged one. Where labels, attributes or structure are damaged,
    a new store takes over every chunk that is still what was committed.

    Args:
        path: the store, its manifest, or the folder of one.
        progress: shows samples per second and time left.

    Raises:
        CacheError: if there is no manifest, or the samples or the encoder are not those of the cache.
        EncoderError: if the encoder cannot be used.
    """
    manifest = find_manifest(path)
    facts = read_manifest(manifest)
    spec = ExtractionSpec.model_validate(facts["spec"])
    samples = pd.read_parquet(facts["samples"])
    encoder = load_encoder(spec.encoder_name, spec.encoder, spec.short_clips)
    layout, identity = describe(spec, encoder, samples)
    committed = CacheIdentity.of_attributes(facts, manifest)
    if identity != committed:
        raise CacheError(
            "it was made from something else than what is there now",
            where=manifest,
            found="; ".join(identity.differences(committed)),
            remedy="Run `snakemake cache`: it makes a new one and reuses what it can.",
        )
    store = store_of(manifest, facts)
    aside = None if _is_sound(store) else _set_aside(store)
    entries = Ledger(ledger_path(store)).read()
    with CacheWriter(store.parent, spec.cache.format, layout, identity) as writer:
        if aside is not None:
            _take_over(writer, aside, entries, facts)
        computed = int(fill(writer, encoder, samples, spec, progress)["computed_samples"])
        writer.finish()
    if aside is not None:
        remove(aside)
    return computed


def _is_sound(store: Path) -> bool:
    """Return whether all but the chunks of a store is as it was committed."""
    try:
        open_cache(store)
    except CacheError as error:
        logging.warning("%s", error)
        return False
    return True


def _set_aside(store: Path) -> Path | None:
    aside = store.with_name(f"{store.stem}.damaged{store.suffix}")
    remove(aside)
    return move(store, aside) if store.exists() else None


def _take_over(
    writer: CacheWriter, damaged: Path, entries: dict[int, LedgerEntry], facts: dict[str, Any]
) -> None:
    """Copy the chunks of a damaged store that are still what the manifest says."""
    try:
        store = store_class(writer.format).open(damaged)
    except CacheError as error:
        logging.warning("nothing can be taken over: %s", error)
        return
    with store:
        for index, expected in enumerate(facts["chunk_sha256"]):
            entry = entries.get(index)
            try:
                block = store.read_chunk(index)
            except CacheError as error:
                logging.warning("%s", error)
                continue
            if entry is not None and hash_block(block) == expected == entry.sha256:
                writer.write_chunk(index, block, entry.lengths, entry.quarantined)
