"""A cache with its folds, opened for a training job."""

import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import psutil
import torch
from jaxtyping import Float
from torch import Tensor

from daam_bench.cache.reader import EmbeddingCache, open_cache
from daam_bench.cache.stream import RowReader
from daam_bench.config import FoldRule
from daam_bench.errors import ConfigError
from daam_bench.training.folds import Fold, Rows, deal_folds
from daam_bench.training.source import ResidentSource, Source, StreamingSource

# Memory is no part of what is computed, so it is no part of the configuration.
MEMORY = "DAAM_BENCH_MEMORY_GIB"


@dataclass(frozen=True)
class Bench:
    """What the replicas of a job share.

    Attributes:
        cache: the finished cache.
        usable: row in the cache of each sample that takes part; quarantined ones do not.
        labels, groups, contents: of each sample that takes part.
        folds: their row numbers count the samples that take part.
        device: where training runs.
        source: of the values.
    """

    cache: EmbeddingCache
    usable: Rows
    labels: Rows
    groups: list[str]
    contents: list[str]
    folds: list[Fold]
    device: torch.device
    source: Source

    def layer(self, number: int) -> Float[Tensor, "sample feature"]:
        """Return the values of one layer, counted from 1, of all samples, float32."""
        rows = np.arange(len(self.usable))
        parts = [buffer.take(buffer.rows, [number])[:, 0].cpu() for buffer in self.source.subset(rows)]
        return torch.cat(parts)


def open_bench(path: Path, rule: FoldRule, shuffle_bytes: int) -> Bench:
    """Open a cache: in memory if it fits, else to be streamed in two parts of what is shuffled at once.

    What fits is said by the variable DAAM_BENCH_MEMORY_GIB of the environment; by default, half of what is
    free.

    Args:
        path: the store, its manifest, or the folder of one.
        rule: how to deal folds.
        shuffle_bytes: size of what is shuffled at once; equal orders follow, in memory or not.

    Raises:
        CacheError: if the cache is not finished or damaged.
        DataError: if the folds cannot be dealt.
        ConfigError: if the environment sets no number as memory, or memory is too small to stream.
    """
    cache = open_cache(path)
    device = best_device()
    return bench_of(cache, rule, device, _source_of(cache, usable_rows(cache), shuffle_bytes, device))


def best_device() -> torch.device:
    """Return the GPU if there is one, else the CPU."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def usable_rows(cache: EmbeddingCache) -> Rows:
    """Return the row in the cache of each sample that takes part: all but quarantined ones."""
    return np.flatnonzero(cache.lengths >= 0)


def bench_of(cache: EmbeddingCache, rule: FoldRule, device: torch.device, source: Source) -> Bench:
    """Return the bench of a cache with the folds of a rule, whatever its values are taken from.

    Raises:
        DataError: if the folds cannot be dealt.
    """
    layout, usable = cache.layout, usable_rows(cache)
    labels = np.asarray(layout.labels, dtype=np.int64)[usable]
    columns = (layout.groups, layout.splits, layout.contents)
    groups, splits, contents = ([names[i] for i in usable] for names in columns)
    folds = deal_folds(labels, groups, splits, contents, rule)
    return Bench(cache, usable, labels, groups, contents, folds, device, source)


def _source_of(cache: EmbeddingCache, usable: Rows, shuffle_bytes: int, device: torch.device) -> Source:
    layout = cache.layout
    row_bytes = layout.layers * layout.features * np.dtype(layout.dtype).itemsize
    size, memory = row_bytes * len(usable), memory_bytes(device)
    if size > memory:
        _require_buffers(min(size, 2 * shuffle_bytes), memory_bytes(torch.device("cpu")))
        return StreamingSource(RowReader(cache), usable, row_bytes, shuffle_bytes, device)
    dtype = torch.from_numpy(np.empty(0, layout.dtype)).dtype
    resident = torch.empty(len(usable), layout.layers, layout.features, dtype=dtype, device=device)
    filled = 0
    for rows, block in cache.iter_chunks():
        kept = block[cache.lengths[rows] >= 0]
        resident[filled : filled + len(kept)] = torch.from_numpy(kept)
        filled += len(kept)
    return ResidentSource(resident, row_bytes, shuffle_bytes)


def _require_buffers(needed: int, memory: int) -> None:
    """Check that a stream has room: for what is in use, and for as much that is read meanwhile."""
    if needed > memory:
        raise ConfigError(
            "a cache that does not fit into memory is read in parts that do not either",
            where=MEMORY,
            expected=f"{needed / 2**30:.2f} GiB",
            found=f"{memory / 2**30:.2f} GiB, by default half of what is free",
            remedy="Free memory, or lower training.shuffle_mebibytes, which changes the order of samples.",
        )


def memory_bytes(device: torch.device) -> int:
    """Return how many bytes of values may be kept: as the environment says, or half of what is free.

    Raises:
        ConfigError: if the environment says no number.
    """
    given = os.environ.get(MEMORY)
    if given is not None:
        try:
            return int(float(given) * 2**30)
        except ValueError:
            raise ConfigError("not a number", where=MEMORY, expected="GiB, such as 8", found=given) from None
    if device.type == "cuda":
        return int(torch.cuda.mem_get_info(device)[0]) // 2
    return int(psutil.virtual_memory().available) // 2
