"""Run a frozen encoder over a dataset once and fill a cache; what is there already is kept."""

import json
import logging
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from pydantic import BaseModel, ConfigDict
from rich.progress import Progress

from daam_bench.cache.identity import SCHEMA_VERSION, CacheIdentity, digest_of_samples, hash_files
from daam_bench.cache.store import CacheLayout, rows_per_chunk
from daam_bench.cache.writer import CacheWriter
from daam_bench.config import CacheConfig, EncoderConfig
from daam_bench.datasets.registry import dataset_kind
from daam_bench.encoders.base import Encoder, load_encoder
from daam_bench.errors import DataError
from daam_bench.records import write_atomically

# Larger batches gain nothing on a CPU and cost memory; lengths are sorted, so few positions are padding.
_POSITIONS_PER_BATCH = 2048
_COMPARED_SAMPLES = 16


class ExtractionSpec(BaseModel):
    """What one extraction job computes; equal specs and inputs give equal caches."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    dataset: str
    dataset_kind: str
    encoder_name: str
    encoder: EncoderConfig
    cache: CacheConfig


@dataclass(frozen=True)
class Chunk:
    """Pooled layers of a run of samples: `block` [row, layer, feature], `lengths` [row], reasons by id."""

    block: npt.NDArray[np.floating]
    lengths: npt.NDArray[np.int64]
    quarantined: dict[str, str]


def extract_embeddings(
    spec: ExtractionSpec, samples: pd.DataFrame, manifest: Path, progress: Progress
) -> None:
    """Fill the cache of one dataset and encoder, then write its manifest.

    The store lies beside the manifest and is named after its identity, so another model or other samples
    never meet the same files.

    Args:
        spec: what to compute.
        samples: table from `datasets.listing.list_samples`.
        manifest: written last; it names the store and everything that it was made from.
        progress: shows samples per second and time left.

    Raises:
        EncoderError: if the encoder cannot be used.
        CacheError: if the store cannot be written.
    """
    encoder = load_encoder(spec.encoder_name, spec.encoder)
    identity = _identity(spec, encoder, samples)
    layout = _layout(spec, encoder, samples, identity)
    with CacheWriter(manifest.parent, spec.cache.format, layout, identity) as writer:
        missing = writer.missing_chunks()
        count = sum(len(samples.iloc[layout.rows_of(index)]) for index in missing)
        task = progress.add_task(f"{spec.dataset} x {spec.encoder_name}", total=count)
        start = perf_counter()
        for index in missing:
            part = samples.iloc[layout.rows_of(index)]
            chunk = encode_chunk(encoder, part)
            writer.write_chunk(
                index, chunk.block.astype(spec.cache.dtype), chunk.lengths.tolist(), chunk.quarantined
            )
            progress.advance(task, len(part))
        seconds = perf_counter() - start
        logging.info(
            "%d samples in %.1f s, %d chunks were there", count, seconds, layout.chunks - len(missing)
        )
        measured: dict[str, Any] = {"batching_difference": batching_difference(encoder, samples)}
        if count:
            measured |= {"extracted_samples": count, "samples_per_second": count / seconds}
        facts = writer.finish() | {"measurements": measured}
    write_atomically(manifest, (json.dumps(facts, indent=1) + "\n").encode())


def encode_chunk(encoder: Encoder, samples: pd.DataFrame) -> Chunk:
    """Encode samples in batches of similar length; a sample whose result is not finite is quarantined."""
    prepared, lengths = encoder.prepare(samples)
    block = np.full((len(samples), encoder.layers, encoder.features), np.nan, dtype=np.float32)
    for batch in batches_by_length(lengths, _POSITIONS_PER_BATCH):
        block[batch] = encoder.encode([prepared[i] for i in batch]).numpy()
    bad = ~np.isfinite(block).all(axis=(1, 2))
    block[bad] = np.nan
    kept_lengths = np.where(bad, -1, np.asarray(lengths, dtype=np.int64))
    reasons = {str(i): "the encoder's output is not finite" for i in samples["sample_id"].to_numpy()[bad]}
    return Chunk(block, kept_lengths, reasons)


def batches_by_length(lengths: list[int], positions: int) -> Iterator[list[int]]:
    """Deal row numbers to batches, longest first, so that rows x longest length stays within `positions`.

    A sample longer than `positions` is a batch of its own.
    """
    batch: list[int] = []
    longest = 0
    for row in np.argsort(np.negative(lengths), kind="stable").tolist():
        longest = max(longest, lengths[row])
        if batch and longest * (len(batch) + 1) > positions:
            yield batch
            batch, longest = [], lengths[row]
        batch.append(row)
    if batch:
        yield batch


def batching_difference(encoder: Encoder, samples: pd.DataFrame) -> float:
    """Return the largest |batched - single| over a spread of lengths, in units of the layer's RMS."""
    prepared, lengths = encoder.prepare(samples.iloc[:: max(1, len(samples) // 256)])
    order = np.argsort(lengths, kind="stable")
    chosen = [prepared[i] for i in order[np.linspace(0, len(order) - 1, _COMPARED_SAMPLES).astype(int)]]
    together = encoder.encode(chosen).numpy()
    alone = np.concatenate([encoder.encode([sample]).numpy() for sample in chosen])
    scale = np.sqrt(np.mean(alone**2, axis=(0, 2), keepdims=True))
    return float(np.max(np.abs(together - alone) / scale))


def _identity(spec: ExtractionSpec, encoder: Encoder, samples: pd.DataFrame) -> CacheIdentity:
    folder = Path(spec.encoder.model)
    weights = hash_files(folder, "*.safetensors", "config.json") if folder.is_dir() else spec.encoder.revision
    return CacheIdentity(
        schema_version=SCHEMA_VERSION,
        dataset=spec.dataset,
        encoder={"name": spec.encoder_name, "weights": weights, **encoder.settings()},
        stored_dtype=spec.cache.dtype,
        samples=digest_of_samples(samples),
    )


def _layout(
    spec: ExtractionSpec, encoder: Encoder, samples: pd.DataFrame, identity: CacheIdentity
) -> CacheLayout:
    if samples.empty:
        raise DataError("the dataset has no samples", where=spec.dataset)
    kind = dataset_kind(spec.dataset_kind)
    return CacheLayout(
        samples=len(samples),
        layers=encoder.layers,
        features=encoder.features,
        dtype=spec.cache.dtype,
        rows_per_chunk=rows_per_chunk(
            encoder.layers, encoder.features, spec.cache.dtype, spec.cache.chunk_mebibytes
        ),
        sample_ids=samples["sample_id"].tolist(),
        labels=samples["label"].tolist(),
        splits=samples["split"].tolist(),
        groups=samples["group"].tolist(),
        attributes={
            "dataset": spec.dataset,
            "dataset_title": kind.title,
            "class_names": list(kind.classes),
            "encoder": spec.encoder_name,
            "layer_meaning": "layer l is hidden_states[l] of transformers, l = 1..N",
            "pooling": identity.encoder["pooling"],
            "licence": kind.licence,
            "source": kind.source,
        },
    )
