"""Re-extract what is bad in a cache, and only that."""

import json
import logging
import math
import re
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from rich.progress import Progress

from daam_bench.cache.extraction import ExtractionSpec, describe, fill, folder_of_store
from daam_bench.cache.identity import CacheIdentity
from daam_bench.cache.ledger import Ledger, LedgerEntry, ledger_path
from daam_bench.cache.manifest import MANIFEST, find_manifest, read_manifest, store_of, write_manifest
from daam_bench.cache.places import asides, is_remote, move, remove
from daam_bench.cache.reader import EmbeddingCache, open_cache
from daam_bench.cache.store import Block, format_of, reading, rows_of_chunks, store_class
from daam_bench.cache.writer import CacheWriter
from daam_bench.encoders.base import load_encoder
from daam_bench.errors import CacheError

_SHA256 = re.compile(r"[0-9a-f]{64}")
_REMEDY = "Delete the manifest and run `snakemake cache`: nothing that is whole is computed again."


def repair_cache(path: Path, progress: Progress) -> int:
    """Re-extract the chunks that are missing or damaged; return how many samples were computed.

    With the same libraries, kind of processor and number of threads the repaired cache has the bytes of an
    undamaged one, and so has its manifest but for how and from what it was made, which it alone says. Where
    labels, attributes or structure are damaged, a new store takes over every chunk that is still what was
    committed; until it is whole the damaged one lies beside it under a hidden name, so that a repair that
    was killed goes on.

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
        samples = _samples(Path(facts["samples"]), manifest)
        store, expected = store_of(manifest, facts), facts["chunk_sha256"]
        if not _could_be_written(spec, facts, manifest, store):
            raise ValueError("it was changed")
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
    layout = replace(layout, rows_per_chunk=rows_of_chunks(layout.samples, len(expected)))
    if layout.chunks != len(expected):
        raise CacheError(
            "its manifest has another number of chunks",
            where=manifest,
            expected=layout.chunks,
            found=len(expected),
            remedy=_REMEDY,
        )
    writer = CacheWriter(store.parent, spec.cache.format, layout, identity)
    with writer.locked():
        _forget_what_is_bad(writer, store, expected)
        with writer:
            for damaged in asides(store):
                _take_over(writer, damaged, expected)
            computed = int(fill(writer, encoder, samples, spec, progress)["computed_samples"])
            finished = writer.finish()
            _warn_of_other_values(expected, finished["chunk_sha256"], store)
            _write_manifests(manifest, store, facts | finished)
        with reading("it could not be repaired", store, _REMEDY):
            open_cache(store)
        for damaged in asides(store):
            remove(ledger_path(damaged))
            remove(damaged)
    return computed


def _could_be_written(spec: ExtractionSpec, facts: Mapping[str, Any], manifest: Path, store: Path) -> bool:
    """Return whether a manifest, whose own checksum is right, is one that an extraction writes."""
    said, checksums = facts["spec"], facts["chunk_sha256"]
    whole = json.dumps(spec.as_said(), sort_keys=True) == json.dumps(said, sort_keys=True)
    proper = isinstance(checksums, list) and all(_SHA256.fullmatch(str(value)) for value in checksums)
    # A bucket may have been moved.
    at_home = folder_of_store(spec, manifest.parent) == store.parent or (spec.cache.url and is_remote(store))
    return bool(whole and proper and at_home and spec.cache.format == format_of(store))


def _samples(table: Path, manifest: Path) -> pd.DataFrame:
    """Return the table of samples that a manifest names.

    Raises:
        CacheError: if it is not there, as in another working folder.
    """
    if not table.exists():
        raise CacheError(
            "its table of samples is not here",
            where=manifest,
            expected=table,
            found=f"the working folder {Path.cwd()}",
            remedy="Run the command in the folder in which the cache was made; paths are relative to it.",
        )
    return pd.read_parquet(table)


def _forget_what_is_bad(writer: CacheWriter, store: Path, expected: list[str]) -> None:
    """Set a store aside of which more than chunks is damaged; else drop wrong lines of its ledger."""
    sound = _sound(store)
    if sound is not None:
        # The store and its manifest say all that a line of the ledger does.
        lines = [_line_of(sound, chunk, sha256) for chunk, sha256 in enumerate(expected)]
        there = writer.ledger.read()
        writer.ledger.rewrite([n for n in lines if there.get(n.chunk) == n or _is_whole(sound, n.chunk)])
    elif store.exists() and not (asides(store) and _is_unfinished(store, writer.format)):
        _set_aside(store)


def _is_whole(sound: EmbeddingCache, chunk: int) -> bool:
    try:
        sound.chunk(chunk)
    except CacheError:
        return False
    return True


def _line_of(sound: EmbeddingCache, chunk: int, sha256: str) -> LedgerEntry:
    """Return what the ledger should say of a chunk."""
    rows = sound.layout.rows_of(chunk)
    refused = {k: sound.quarantined[k] for k in sound.layout.sample_ids[rows] if k in sound.quarantined}
    lengths = sound.lengths[rows].tolist()
    return LedgerEntry(chunk=chunk, sha256=sha256, lengths=lengths, quarantined=refused)


def _warn_of_other_values(expected: list[str], found: list[str], store: Path) -> None:
    """Say which chunks were computed again with other last bits than were committed."""
    unlike = [i for i, (a, b) in enumerate(zip(expected, found, strict=True)) if a != b]
    if unlike:
        logging.warning(
            "%s: chunks %s are not the bytes that were lost: another processor, library or number of threads "
            "rounds otherwise. Results that were trained before stay those of the old values.",
            store,
            unlike,
        )


def _is_unfinished(store: Path, kind: str) -> bool:
    """Return whether a repair was killed while it filled this store."""
    try:
        with store_class(kind).open(store) as found:
            return found.layout().attributes.get("complete") == 0
    except CacheError:
        return False


def _write_manifests(manifest: Path, store: Path, facts: dict[str, Any]) -> None:
    if manifest.parent != store.parent:
        write_manifest(store.parent / MANIFEST, {k: v for k, v in facts.items() if k != "location"})
    write_manifest(manifest, facts)


def _sound(store: Path) -> EmbeddingCache | None:
    """Return the cache of a store in which all but the chunks is as it was committed; None of another."""
    try:
        return open_cache(store)
    except CacheError as error:
        logging.warning("%s", error)
        return None


def _agrees(entry: LedgerEntry, expected: list[str]) -> bool:
    """Return whether a line of the ledger says what the manifest says."""
    return entry.chunk < len(expected) and entry.sha256 == expected[entry.chunk]


def _set_aside(store: Path) -> None:
    """Give a damaged store a hidden name; its ledger is copied first, so that no kill loses both."""
    aside = store.with_name(f".{store.stem}.damaged{len(asides(store))}{store.suffix}")
    remove(ledger_path(aside))
    Ledger(ledger_path(aside)).rewrite(list(Ledger(ledger_path(store)).read().values()))
    move(store, aside)


def _take_over(writer: CacheWriter, damaged: Path, expected: list[str]) -> None:
    """Copy the missing chunks that a damaged store still has as they were committed.

    No library parses a damaged store on disk: its values lie where those of the new one do.
    """
    layout = writer.layout

    def read(index: int) -> Block | None:
        place = writer.store.place_of(index)
        shape = (len(range(layout.samples)[layout.rows_of(index)]), layout.layers, layout.features)
        try:
            if place is None:  # remote
                with store_class(writer.format).open(damaged) as store:
                    return store.read_chunk(index)
            file = damaged / place[0].relative_to(writer.path)
            with reading("it is damaged", file):
                return np.fromfile(file, layout.dtype, math.prod(shape), offset=place[1]).reshape(shape)
        except CacheError as error:
            logging.warning("chunk %d is not taken over: %s", index, error)
            return None

    entries = Ledger(ledger_path(damaged)).read()
    writer.take_over({i: e for i, e in entries.items() if _agrees(e, expected)}, read)
