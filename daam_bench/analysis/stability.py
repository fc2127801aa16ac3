"""Whether importance is the same from run to run: variation over folds and seeds, rank correlation."""

from collections.abc import Sequence
from itertools import combinations

import numpy as np
import numpy.typing as npt
from scipy import stats

from daam_bench.analysis.importance import Map, importance_factor
from daam_bench.records import RunRecord

Pairs = list[tuple[int, int]]


def importance_spread(densities: Sequence[Map]) -> Map:
    """Return the Importance Factor's population standard deviation over runs, [layer, feature], 0 to 0.5."""
    spread: Map = np.std(np.stack([importance_factor(density) for density in densities]), axis=0)
    return spread


def rank_correlations(values: Sequence[Map], pairs: Pairs, kind: str) -> npt.NDArray[np.float64]:
    """Return the rank correlation of each pair of runs; nan where one of the two is constant.

    Args:
        values: one array a run, of equal shapes; flattened.
        pairs: numbers of the runs.
        kind: spearman or kendall (tau b).
    """
    correlate = {"spearman": stats.spearmanr, "kendall": stats.kendalltau}[kind]
    found = np.full(len(pairs), np.nan)
    for place, (left, right) in enumerate(pairs):
        first, second = values[left].ravel(), values[right].ravel()
        if np.ptp(first) > 0 and np.ptp(second) > 0:
            found[place] = correlate(first, second).statistic
    return found


def pairs_of(records: Sequence[RunRecord]) -> dict[str, Pairs]:
    """Return pairs of runs: `all`, `folds` (of different folds), `seeds` (of one fold, different seeds)."""
    every = list(combinations(range(len(records)), 2))
    same = [pair for pair in every if records[pair[0]].fold == records[pair[1]].fold]
    return {"all": every, "folds": [pair for pair in every if pair not in set(same)], "seeds": same}
