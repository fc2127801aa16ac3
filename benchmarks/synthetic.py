"""A finished Zarr cache of made-up values."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from daam_bench.cache.identity import SCHEMA_VERSION, CacheIdentity, digest_of_samples
from daam_bench.cache.store import CacheLayout, rows_per_chunk
from daam_bench.cache.writer import CacheWriter

Values = NDArray[np.float16]


def normal_values(rows: int, layers: int, features: int) -> Values:
    """Return standard normal values [row, layer, feature], always the same."""
    return np.random.default_rng(0).normal(size=(rows, layers, features)).astype("float16")


def write_synthetic_cache(
    folder: Path,
    shape: tuple[int, int, int],
    labels: Sequence[int],
    *,
    chunk_mebibytes: float = 16,
    splits: Sequence[str] | None = None,
    attributes: dict[str, Any] | None = None,
    change: Callable[[Values, NDArray[np.int64], int], Values] = lambda block, rows, index: block,
) -> Path:
    """Write a cache of shape (samples, layers, features), float16; return its store.

    Args:
        folder: where it goes.
        shape: samples, layers, features.
        labels: class of each sample, counted from 0.
        chunk_mebibytes: size of a chunk.
        splits: of each sample; by default none.
        attributes: of the layout, beside the class names.
        change: gives the values of a chunk, from normal ones that are the same in all chunks, the numbers of
            its rows and its index.
    """
    samples, layers, features = shape
    names = [str(row) for row in range(samples)]
    layout = CacheLayout(
        samples=samples,
        layers=layers,
        features=features,
        dtype="float16",
        rows_per_chunk=rows_per_chunk(samples, layers, features, "float16", chunk_mebibytes),
        sample_ids=names,
        labels=list(labels),
        splits=list(splits or [""] * samples),
        groups=[""] * samples,
        contents=names,
        attributes={"class_names": [str(label) for label in range(max(labels) + 1)], **(attributes or {})},
    )
    identity = CacheIdentity(
        schema_version=SCHEMA_VERSION,
        dataset="synthetic",
        encoder={"weights": "none"},
        stored_dtype="float16",
        samples=digest_of_samples(layout),
    )
    normal = normal_values(layout.rows_per_chunk, layers, features)
    with CacheWriter(folder, "zarr", layout, identity) as writer:
        for index in writer.missing_chunks():
            rows = np.arange(samples)[layout.rows_of(index)]
            writer.write_chunk(index, change(normal[: len(rows)], rows, index), [1] * len(rows), {})
        writer.finish()
    return writer.path
