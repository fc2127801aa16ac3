"""Prove a cache whole."""

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from daam_bench.cache.ledger import Ledger, ledger_path
from daam_bench.cache.manifest import find_manifest
from daam_bench.cache.reader import EmbeddingCache, open_cache
from daam_bench.cache.store import format_of
from daam_bench.errors import CacheError


@dataclass(frozen=True)
class VerifyReport:
    """What is wrong with a cache; nothing, if `ok`.

    Attributes:
        bad_chunks: reason by number of a chunk.
        problems: what is wrong beside the chunks.
    """

    bad_chunks: dict[int, str] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)

    @property
    def ok(self) -> bool:
        """Whether everything is as it was committed."""
        return not self.bad_chunks and not self.problems


def verify_cache(path: Path) -> VerifyReport:
    """Check every chunk (checksums, ledger, finite values except quarantined rows), labels and counts.

    Raises:
        CacheError: if there is no cache to check.
    """
    if not (format_of(path) and path.exists()):
        find_manifest(path)
    try:
        cache = open_cache(path)
    except CacheError as error:
        return VerifyReport(problems=[str(error)])
    bad = {i: reason for i in range(cache.layout.chunks) if (reason := _chunk_problem(cache, i))}
    return VerifyReport(bad, _problems(cache))


def _problems(cache: EmbeddingCache) -> list[str]:
    problems = []
    entries, whole = Ledger(ledger_path(cache.path)).examine()
    if not whole:
        problems.append("the ledger has damaged lines")
    missing = sorted(set(range(cache.layout.chunks)) - set(entries))
    if missing:
        problems.append(f"the ledger lacks chunks {missing}")
    elif [n for i in sorted(entries) for n in entries[i].lengths] != cache.lengths.tolist():
        problems.append("lengths differ from the ledger")
    elif {k: reason for entry in entries.values() for k, reason in entry.quarantined.items()} != (
        cache.quarantined
    ):
        problems.append("quarantined samples differ from the ledger")
    unlike = [i for i, entry in entries.items() if cache.committed.get(i) != entry.sha256]
    if unlike:
        problems.append(f"ledger and manifest differ about chunks {unlike}")
    refused = {cache.layout.sample_ids[row] for row in np.flatnonzero(cache.lengths < 0)}
    if refused != set(cache.quarantined):
        problems.append("quarantined samples are not those without a length")
    if not all(0 <= label < len(cache.class_names) for label in cache.layout.labels):
        problems.append("a label is no class")
    return problems


def _chunk_problem(cache: EmbeddingCache, index: int) -> str:
    try:
        block = cache.chunk(index)
    except CacheError as error:
        return str(error)
    finite = np.isfinite(block).all(axis=(1, 2))
    if not np.array_equal(finite, cache.lengths[cache.layout.rows_of(index)] >= 0):
        return "values are not finite outside quarantined rows"
    return ""
