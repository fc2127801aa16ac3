"""Run a frozen encoder over a dataset once and fill a cache; what is there already is kept."""

import json
import logging
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from pydantic import BaseModel, ConfigDict
from rich.progress import Progress

from daam_bench.allocator import loaded_objects_spared
from daam_bench.cache.batches import Encoded, batching_difference, encode_runs
from daam_bench.cache.identity import SCHEMA_VERSION, CacheIdentity, digest_of_samples, hash_model
from daam_bench.cache.manifest import MANIFEST, store_name, write_manifest
from daam_bench.cache.places import place
from daam_bench.cache.rates import Rates, journal_of, read_journals, sum_measurements
from daam_bench.cache.reuse import ReusableRows, fill_from
from daam_bench.cache.store import CacheLayout, reading, rows_per_chunk
from daam_bench.cache.writer import CacheWriter
from daam_bench.config import CacheConfig, EncoderConfig, ShortClips
from daam_bench.encoders.base import Encoder, load_encoder
from daam_bench.errors import CacheError, DataError
from daam_bench.records import write_atomically

_PARTS = "parts"
_AGAIN = "Run the same command again: it computes what is missing."


class ExtractionSpec(BaseModel):
    """What one extraction job computes; equal specs and inputs give equal caches."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    dataset: str
    encoder_name: str
    encoder: EncoderConfig
    cache: CacheConfig
    short_clips: ShortClips = "masked"

    def as_said(self) -> dict[str, Any]:
        """Return what a manifest says; how large chunks are its store shows."""
        return self.model_dump(mode="json", exclude={"cache": {"chunk_mebibytes"}})


def extract_part(
    spec: ExtractionSpec, samples: pd.DataFrame, output: Path, part: tuple[int, int], progress: Progress
) -> None:
    """Fill one part of the chunks of a cache, then write what was measured.

    The store lies in the folder above the output's and is named after its identity, so another model or
    other samples never meet the same files. Rows of older caches of the same encoder are reused.

    Args:
        spec: what to compute.
        samples: table from `datasets.listing.list_samples`.
        output: `<folder of the cache>/parts/<name>.json`, written last; it names the store.
        part: (number of this part, number of parts), counted from 1.
        progress: shows samples per second and time left.

    Raises:
        EncoderError: if the encoder cannot be used.
        CacheError: if the store cannot be written.
        DataError: if a sample cannot be used and the configuration says to stop.
        RecordError: if the table of samples is damaged.
    """
    write_part(output, compute_part(open_job(spec, samples), output.parent.parent, part, progress))


@dataclass(frozen=True)
class Job:
    """What all parts of an extraction share: the opened encoder, the samples and what follows from them."""

    spec: ExtractionSpec
    samples: pd.DataFrame
    encoder: Encoder
    layout: CacheLayout
    identity: CacheIdentity


def open_job(spec: ExtractionSpec, samples: pd.DataFrame) -> Job:
    """Open the encoder and describe the cache; errors are those of `extract_part`."""
    encoder = load_encoder(spec.encoder_name, spec.encoder, spec.short_clips)
    return Job(spec, samples, encoder, *describe(spec, encoder, samples))


def compute_part(job: Job, folder: Path, part: tuple[int, int], progress: Progress) -> dict[str, Any]:
    """Fill one part of the cache whose manifest goes to a folder; return store, part and measurements.

    Arguments and errors are those of `extract_part`.
    """
    spec, encoder, samples = job.spec, job.encoder, job.samples
    place = folder_of_store(spec, folder)
    with CacheWriter(place, spec.cache.format, job.layout, job.identity, part) as writer:
        journal = journal_of(folder / _PARTS, writer.path.name, part)
        measured = fill(writer, encoder, samples, spec, progress, journal)
        if part[0] == 1:
            measured["batching_difference"] = batching_difference(encoder, samples, folder_of(samples))
        return {"store": writer.path.name, "part": list(part), "measurements": measured}


def write_part(output: Path, facts: dict[str, Any]) -> None:
    """Write what `compute_part` returned, for `finish_cache`."""
    write_atomically(output, (json.dumps(facts, indent=1) + "\n").encode())


def fill(
    writer: CacheWriter,
    encoder: Encoder,
    samples: pd.DataFrame,
    spec: ExtractionSpec,
    progress: Progress,
    journal: Path | None = None,
) -> dict[str, Any]:
    """Compute the writer's missing chunks; return what was measured (see `Rates`).

    Where bad samples shall stop, chunks that an earlier run committed with some are computed again.

    Raises:
        DataError: if a sample cannot be used and the configuration says to stop.
        RecordError: if the table of samples is damaged.
    """
    layout, missing = writer.layout, writer.missing_chunks()
    if spec.cache.on_bad_sample == "stop":
        missing = sorted({*missing, *writer.chunks_with_quarantined()})
    total = sum(len(range(layout.samples)[layout.rows_of(index)]) for index in missing)
    if not missing:
        logging.info("nothing is missing in %s", writer.path)
    rates = Rates(encoder, progress, f"{spec.dataset} x {spec.encoder_name}", total, journal)
    with (
        loaded_objects_spared(),
        ReusableRows(writer.path, writer.identity, bool(missing)) as rows,
        ThreadPoolExecutor(1, thread_name_prefix="write") as pool,
    ):
        writing: Future[None] | None = None
        for index, chunk in _chunks(encoder, samples, layout, missing, rows, rates):
            rates.note()
            _stop_if_asked(chunk.quarantined, spec)
            if writing is not None:
                writing.result()
            arguments = (index, chunk.block, chunk.lengths.tolist(), chunk.quarantined)
            writing = pool.submit(writer.write_chunk, *arguments)
            if not torch.cuda.is_available():
                # Writing takes from the cores that encode, whenever it is done; so a kill costs one chunk.
                writing.result()
        if writing is not None:
            writing.result()
    measured = rates.measured()
    logging.info("%s", ", ".join(f"{key} {value}" for key, value in measured.items()))
    return measured


def _stop_if_asked(quarantined: Mapping[str, str], spec: ExtractionSpec) -> None:
    if quarantined and spec.cache.on_bad_sample == "stop":
        name, reason = next(iter(quarantined.items()))
        raise DataError(
            f"a sample cannot be used ({reason})",
            where=f"{spec.dataset}: {name}",
            remedy="Repair it, or set cache.on_bad_sample: quarantine to leave such samples out.",
        )


def _chunks(
    encoder: Encoder,
    samples: pd.DataFrame,
    layout: CacheLayout,
    missing: list[int],
    rows: ReusableRows,
    rates: Rates,
) -> Iterator[tuple[int, Encoded]]:
    """Yield number and values of each missing chunk."""
    parts = {index: samples.iloc[layout.rows_of(index)] for index in missing}
    new = ~rows.are_among(samples["content_key"])
    to_compute = [part[new[layout.rows_of(index)]] for index, part in parts.items()]
    folder = folder_of(samples)
    encoded = encode_runs(encoder, to_compute, folder, rates.encoded, layout.dtype)
    for (index, part), run, found in zip(parts.items(), to_compute, encoded, strict=True):
        if len(run) == len(part):
            yield index, found
            continue
        block = np.full((len(part), layout.layers, layout.features), np.nan, dtype=layout.dtype)
        lengths = np.full(len(part), -1, dtype=np.int64)
        left = fill_from(rows, part["content_key"].tolist(), block, lengths)
        if len(left) > len(run):  # an older row turned out to be damaged
            found = next(encode_runs(encoder, [part.iloc[left]], folder, rates.encoded, layout.dtype))
        rates.reused(len(part) - len(left))
        block[left], lengths[left] = found.block, found.lengths
        yield index, Encoded(block, lengths, found.quarantined)


def finish_cache(spec: ExtractionSpec, samples: Path, outputs: Sequence[Path], manifest: Path) -> None:
    """Mark a cache whose parts are all there as complete and write its manifest.

    If it cannot be, the outputs of the parts are removed: Snakemake then runs the parts again, which compute
    what is missing.

    Args:
        spec: what was computed.
        samples: table of samples, which a repair reads again.
        outputs: what `extract_part` wrote, one file a part.
        manifest: it names the store and everything that it was made from.

    Raises:
        CacheError: if a chunk is missing, or parts are of different caches.
        DataError: if a sample could not be used and the configuration says to stop.
    """
    folder = folder_of_store(spec, manifest.parent)
    try:
        parts = [_read_part(path) for path in outputs]
        stores = {part["store"] for part in parts}
        if len(stores) != 1:
            found = ", ".join(sorted(stores))
            raise CacheError("parts of different caches", where=manifest.parent, found=found, remedy=_AGAIN)
        with CacheWriter.of_store(folder / parts[0]["store"]) as writer:
            facts = writer.finish()
        _stop_if_asked(facts["quarantined"], spec)
    except (CacheError, DataError):
        for path in outputs:
            path.unlink(missing_ok=True)
        raise
    facts |= {
        "spec": spec.as_said(),
        "samples": str(samples),
        "measurements": _measured(parts, manifest.parent / _PARTS),
    }
    if spec.cache.url:
        # Beside the store too, so that it can be read and verified by its URL alone.
        write_manifest(folder / MANIFEST, facts)
        facts |= {"location": str(folder)}
    write_manifest(manifest, facts)


def folder_of_store(spec: ExtractionSpec, beside: Path) -> Path:
    """Return where the store goes: beside the manifest, or to the configured URL."""
    url = spec.cache.url
    return place(f"{url.rstrip('/')}/{spec.dataset}/{spec.encoder_name}") if url else beside


def _read_part(path: Path) -> dict[str, Any]:
    with reading("a part of the cache is not there", path, _AGAIN):
        facts: dict[str, Any] = json.loads(path.read_bytes())
        sum_measurements([facts["measurements"]])
        return facts | {"store": store_name(facts["store"])}


def _measured(parts: list[dict[str, Any]], journals: Path) -> dict[str, Any]:
    """Return what all runs together measured, and what the last one computed."""
    last = sum_measurements(part["measurements"] for part in parts)
    runs = sum_measurements(read_journals(journals, parts[0]["store"]))
    return last | runs | {"last_run_computed_samples": last["computed_samples"]}


def folder_of(samples: pd.DataFrame) -> Path:
    """Return the folder that the column `file` is relative to."""
    return Path(samples.attrs["folder"])


def describe(
    spec: ExtractionSpec, encoder: Encoder, samples: pd.DataFrame
) -> tuple[CacheLayout, CacheIdentity]:
    """Return layout and identity of the cache of some samples.

    Raises:
        DataError: if there are no samples.
    """
    if samples.empty:
        raise DataError("the dataset has no samples", where=spec.dataset)
    settings = dict(encoder.settings())
    facts = samples.attrs
    layout = CacheLayout(
        samples=len(samples),
        layers=encoder.layers,
        features=encoder.features,
        dtype=spec.cache.dtype,
        rows_per_chunk=rows_per_chunk(
            len(samples), encoder.layers, encoder.features, spec.cache.dtype, spec.cache.chunk_mebibytes
        ),
        sample_ids=samples["sample_id"].tolist(),
        labels=samples["label"].tolist(),
        splits=samples["split"].tolist(),
        groups=samples["group"].tolist(),
        contents=samples["content_key"].tolist(),
        attributes={
            "dataset": spec.dataset,
            "dataset_title": facts["title"],
            "dataset_kind": facts.get("kind", ""),
            "modality": spec.encoder.modality,
            "encoder_model": spec.encoder.model,
            "class_names": list(facts["class_names"]),
            "encoder": spec.encoder_name,
            "layer_meaning": "layer l is hidden_states[l] of transformers, l = 1..N",
            "pooling": settings["pooling"],
            "licence": facts["licence"],
            "source": facts["source"],
        },
    )
    model = Path(spec.encoder.model)
    weights = hash_model(model) if model.is_dir() else spec.encoder.revision
    identity = CacheIdentity(
        schema_version=SCHEMA_VERSION,
        dataset=spec.dataset,
        encoder={"name": spec.encoder_name, "weights": weights, **settings},
        stored_dtype=spec.cache.dtype,
        samples=digest_of_samples(layout),
    )
    return layout, identity
