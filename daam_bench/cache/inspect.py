"""What a person wants to know of a cache, computed chunk by chunk."""

from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np

from daam_bench.cache.places import bytes_of
from daam_bench.cache.reader import EmbeddingCache, open_cache
from daam_bench.cache.store import reading

_AT_ONCE = 2**20  # bytes


def describe_cache(path: Path, rows: int = 5) -> dict[str, Any]:
    """Return what is in a cache, from what, how big, statistics of each layer, and the first rows.

    Raises:
        CacheError: if there is no finished cache, or a chunk is damaged.
    """
    cache = open_cache(path)
    with reading("its labels or its identity are damaged", cache.path):
        return _describe(cache, rows)


def _describe(cache: EmbeddingCache, rows: int) -> dict[str, Any]:
    layout, identity = cache.layout, cache.identity
    kept = ("dataset_title", "encoder", "layer_meaning", "pooling", "licence", "source")
    return {
        "path": str(cache.path),
        "dataset": identity.dataset,
        **{key: layout.attributes[key] for key in kept if key in layout.attributes},
        "samples": layout.samples,
        "layers": layout.layers,
        "features": layout.features,
        "dtype": layout.dtype,
        "chunks": layout.chunks,
        "mebibytes_on_disk": bytes_of(cache.path) / 2**20,
        "identity": identity.digest,
        "weights": identity.encoder["weights"],
        "quarantined": len(cache.quarantined),
        "samples_per_class": dict(Counter(cache.class_names[label] for label in layout.labels)),
        "samples_per_group": dict(Counter(layout.groups)),
        "layer_statistics": _layer_statistics(cache),
        "first_rows": _first_rows(cache, rows),
    }


def _layer_statistics(cache: EmbeddingCache) -> list[dict[str, float | int]]:
    layers = cache.layout.layers
    count, total, squares, norms = 0, np.zeros(layers), np.zeros(layers), np.zeros(layers)
    least, most = np.full(layers, np.inf), np.full(layers, -np.inf)
    for _, block in cache.iter_chunks():
        # A few rows at a time stay in the processor's own memory.
        for part in np.array_split(block, -(-block.nbytes // _AT_ONCE)):
            values = part.astype(np.float64)
            row_squares = np.einsum("rlf,rlf->rl", values, values)
            finite = np.isfinite(row_squares).all(axis=1)
            if not finite.any():
                continue
            values, row_squares = values[finite], row_squares[finite]
            count += len(values)
            total += values.sum(axis=(0, 2))
            squares += row_squares.sum(axis=0)
            norms += np.sqrt(row_squares).sum(axis=0)
            least = np.minimum(least, values.min(axis=(0, 2)))
            most = np.maximum(most, values.max(axis=(0, 2)))
    cells = max(1, count) * cache.layout.features
    means = total / cells
    return [
        {
            "layer": layer + 1,
            "mean": float(means[layer]),
            "standard_deviation": float(np.sqrt(max(0.0, squares[layer] / cells - means[layer] ** 2))),
            "minimum": float(least[layer]),
            "maximum": float(most[layer]),
            "mean_norm": float(norms[layer] / max(1, count)),
        }
        for layer in range(layers)
    ]


def _first_rows(cache: EmbeddingCache, rows: int) -> list[dict[str, Any]]:
    layout = cache.layout
    if rows == 0 or layout.samples == 0:
        return []
    block = cache.chunk(0)[:rows]
    return [
        {
            "sample": layout.sample_ids[row],
            "class": cache.class_names[layout.labels[row]],
            "group": layout.groups[row],
            "split": layout.splits[row],
            "length": int(cache.lengths[row]),
            "first_values_of_last_layer": " ".join(f"{value:.3f}" for value in block[row, -1, :4]),
        }
        for row in range(len(block))
    ]
