"""Raw samples in training: prepared when they are asked for, and named by their rows until then."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np
import pandas as pd
import torch
from jaxtyping import Int
from torch import Tensor

from daam_bench.cache.extraction import folder_of
from daam_bench.cache.reader import EmbeddingCache
from daam_bench.encoders.base import Encoder
from daam_bench.errors import CacheError, DataError
from daam_bench.training.bench import usable_rows
from daam_bench.training.folds import Rows
from daam_bench.training.source import Buffer

# Prepared samples that are kept for the next epoch.
_MOST_BYTES = 2**30


@dataclass(frozen=True)
class Sample:
    """A sample as the encoder takes it, and the number of positions that it costs."""

    prepared: Any
    positions: int


class SampleReader:
    """The raw samples of a cache: the same ones in the same order, quarantined ones left out.

    Args:
        encoder: it prepares them.
        samples: the table that the cache was extracted from.
        cache: the finished cache.

    Attributes:
        waited: seconds spent on preparing.

    Raises:
        CacheError: if the table is not that of the cache.
    """

    def __init__(self, encoder: Encoder, samples: pd.DataFrame, cache: EmbeddingCache) -> None:
        found = [samples["sample_id"].tolist(), samples["content_key"].tolist()]
        if found != [list(cache.layout.sample_ids), list(cache.layout.contents)]:
            raise CacheError(
                "the table of samples is not the one that the cache was extracted from",
                where=cache.path,
                expected=f"{cache.layout.samples} samples with the contents of the cache",
                found=f"{len(samples)} samples, or other contents",
                remedy="Run snakemake, which makes both from the same files.",
            )
        self._encoder, self._folder = encoder, Path(folder_of(samples))
        self._samples = samples.iloc[usable_rows(cache)]
        self._held: dict[int, Sample] = {}
        self._bytes, self.waited = 0, 0.0

    def __len__(self) -> int:
        return len(self._samples)

    def take(self, rows: Sequence[int]) -> list[Sample]:
        """Return samples by their rows among those that take part.

        Raises:
            DataError: if one cannot be read, though the cache has it.
            RecordError: if a text is not the one that was listed.
        """
        missing = [row for row in rows if row not in self._held]
        if missing:
            if self._bytes > _MOST_BYTES:
                self._held = {row: self._held[row] for row in rows if row in self._held}
                self._bytes = 0
            self._prepare(missing)
        return [self._held[row] for row in rows]

    def _prepare(self, rows: list[int]) -> None:
        start, table = perf_counter(), self._samples.iloc[rows]
        found = self._encoder.prepare(table, self._folder)
        if found.problems:
            place, reason = next(iter(found.problems.items()))
            raise DataError(
                f"a sample of the cache can no longer be read ({reason})",
                where=table["sample_id"].iloc[place],
            )
        for row, prepared, positions in zip(rows, found.inputs, found.positions, strict=True):
            self._held[row] = Sample(prepared, positions)
            self._bytes += getattr(prepared, "nbytes", 0) or 8 * len(prepared)
        self.waited += perf_counter() - start


@dataclass(frozen=True)
class RowBuffer(Buffer):
    """All rows at once; instead of values it gives row numbers, which the model looks up."""

    def take(self, rows: Rows, layers: Sequence[int] | None = None) -> Int[Tensor, " row"]:
        """Return the numbers of the rows, in their order."""
        return torch.from_numpy(rows).to(self.device)


class RowSource:
    """What trains on row numbers alone; nothing is read from the cache."""

    in_memory = True
    waited = 0.0

    def __init__(self, samples: int, device: torch.device) -> None:
        rows = np.arange(samples)
        self._buffer = RowBuffer(0, rows, torch.from_numpy(rows), device)

    def epoch(self, number: int) -> Iterator[Buffer]:
        """Yield all rows; the order within them is the replica's own."""
        yield self._buffer

    def subset(self, rows: Rows) -> Iterator[Buffer]:
        """Yield all rows."""
        yield self._buffer
