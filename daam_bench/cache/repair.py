"""Re-extract what is bad in a cache, and only that."""

import logging
import math
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from rich.progress import Progress

from daam_bench.cache.extraction import ExtractionSpec, describe, fill
from daam_bench.cache.identity import CacheIdentity
from daam_bench.cache.ledger import Ledger, LedgerEntry, hash_block, ledger_path
from daam_bench.cache.manifest import MANIFEST, find_manifest, read_manifest, store_of, write_manifest
from daam_bench.cache.places import is_remote, move, remove
from daam_bench.cache.reader import EmbeddingCache, open_cache
from daam_bench.cache.store import reading, store_class
from daam_bench.cache.writer import CacheWriter
from daam_bench.encoders.base import load_encoder
from daam_bench.errors import CacheError

_REMEDY = "Delete the manifest and run `snakemake cache`: nothing that is whole is computed again."


def repair_cache(path: Path, progress: Progress) -> int:
    """Re-extract the chunks that are missing or damaged; return how many samples were computed.

    The repaired cache has the bytes of an undamaged one, and so has its manifest but for how and from what it
    was made, which it alone says. Where labels, attributes or structure are damaged, a new store takes over
    every chunk that is still what was committed.

    Args:
        path: the store, its manifest, or the folder of one.
        progress: shows samples per second and time left.

    Raises:
        CacheError: if there is no manifest, or the samples or the encoder are not those of the cache.
        EncoderError: if the encoder cannot be used.
    """
    manifest = find_manifest(path)
    facts = read_manifest(manifest)
    with reading("its manifest says not how it was made", manifest, _REMEDY):
        spec = ExtractionSpec.model_validate(facts["spec"])
        samples = pd.read_parquet(facts["samples"])
        expected = list(map(str, facts["chunk_sha256"]))
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
    entries = Ledger(ledger_path(store)).read()
    sound = _sound(store)
    aside = _set_aside(store) if sound is None else None
    good = [e for _, e in sorted(entries.items()) if _agrees(e, expected, sound)]
    del sound  # HDF5 opens no file for writing that is still open for reading
    with CacheWriter(store.parent, spec.cache.format, layout, identity) as writer:
        if aside is not None:
            _take_over(writer, aside, good)
        elif ledger_path(store).exists():
            writer.ledger.rewrite(good)
        computed = int(fill(writer, encoder, samples, spec, progress)["computed_samples"])
        _write_manifests(manifest, store, facts | writer.finish())
    with reading("it could not be repaired", store, _REMEDY):
        open_cache(store)
    if aside is not None:
        remove(aside)
    return computed


def _write_manifests(manifest: Path, store: Path, facts: dict[str, Any]) -> None:
    if is_remote(store):
        write_manifest(store.parent / MANIFEST, {k: v for k, v in facts.items() if k != "location"})
        if manifest == store.parent / MANIFEST:
            return
    write_manifest(manifest, facts)


def _sound(store: Path) -> EmbeddingCache | None:
    """Return the cache of a store in which all but the chunks is as it was committed; None of another."""
    try:
        return open_cache(store)
    except CacheError as error:
        logging.warning("%s", error)
        return None


def _agrees(entry: LedgerEntry, expected: list[str], sound: EmbeddingCache | None) -> bool:
    """Return whether a line of the ledger says what the manifest says, and the store where it is sound."""
    if entry.chunk >= len(expected) or entry.sha256 != expected[entry.chunk]:
        return False
    if sound is None:
        return True
    rows = sound.layout.rows_of(entry.chunk)
    refused = {k: sound.quarantined[k] for k in sound.layout.sample_ids[rows] if k in sound.quarantined}
    return entry.lengths == sound.lengths[rows].tolist() and entry.quarantined == refused


def _set_aside(store: Path) -> Path | None:
    aside = store.with_name(f"{store.stem}.damaged{store.suffix}")
    remove(aside)
    return move(store, aside) if store.exists() else None


def _take_over(writer: CacheWriter, damaged: Path, entries: list[LedgerEntry]) -> None:
    """Copy the chunks of a damaged store that are still what was committed.

    No library parses a damaged store on disk: its values lie where those of the new one do.
    """
    layout = writer.layout
    for entry in entries:
        place = writer.store.place_of(entry.chunk)
        rows = len(range(layout.samples)[layout.rows_of(entry.chunk)])
        shape = (rows, layout.layers, layout.features)
        try:
            if place is None:  # remote
                with store_class(writer.format).open(damaged) as store:
                    values = store.read_chunk(entry.chunk)
            else:
                file = damaged / place[0].relative_to(writer.path)
                values = np.fromfile(file, layout.dtype, math.prod(shape), offset=place[1]).reshape(shape)
        except (CacheError, OSError, ValueError) as error:
            logging.warning("chunk %d is not taken over: %s", entry.chunk, error)
            continue
        if hash_block(values) == entry.sha256:
            writer.write_chunk(entry.chunk, values, entry.lengths, entry.quarantined)
