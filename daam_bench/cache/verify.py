"""Prove a cache whole."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from daam_bench.cache.ledger import Ledger
from daam_bench.cache.reader import EmbeddingCache, open_cache
from daam_bench.cache.writer import ledger_path
from daam_bench.errors import CacheError


@dataclass(frozen=True)
class VerifyReport:
    """What is wrong with a cache; nothing, if `ok`."""

    bad_chunks: dict[int, str]
    problems: list[str]

    @property
    def ok(self) -> bool:
        """Whether everything is as it was committed."""
        return not self.bad_chunks and not self.problems


def verify_cache(path: Path) -> VerifyReport:
    """Check every chunk (checksum, ledger, finite values except quarantined rows) and all counts.

    Raises:
        CacheError: if there is no finished cache to check.
    """
    cache = open_cache(path)
    problems = []
    committed = set(Ledger(ledger_path(cache.path)).read())
    missing = sorted(set(range(cache.layout.chunks)) - committed)
    if missing:
        problems.append(f"the ledger lacks chunks {missing}")
    layout = cache.layout
    for name in ("sample_ids", "labels", "splits", "groups"):
        if len(getattr(layout, name)) != layout.samples:
            problems.append(f"{name}: expected {layout.samples}, found {len(getattr(layout, name))}")
    if not all(0 <= label < len(cache.class_names) for label in layout.labels):
        problems.append("a label is no class")
    bad = {i: reason for i in range(layout.chunks) if (reason := _chunk_problem(cache, i))}
    return VerifyReport(bad, problems)


def _chunk_problem(cache: EmbeddingCache, index: int) -> str:
    try:
        block = cache.chunk(index)
    except CacheError as error:
        return str(error)
    finite = np.isfinite(block).all(axis=(1, 2))
    if not np.array_equal(finite, cache.lengths[cache.layout.rows_of(index)] >= 0):
        return "values are not finite outside quarantined rows"
    return ""
