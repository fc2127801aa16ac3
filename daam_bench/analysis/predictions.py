"""Per-sample predictions of variants, and McNemar's test on them."""

from collections.abc import Sequence
from itertools import combinations
from pathlib import Path

import numpy as np
import pandas as pd
from scipy import stats
from statsmodels.stats.contingency_tables import mcnemar
from statsmodels.stats.multitest import multipletests

from daam_bench.analysis.significance import ALPHA
from daam_bench.errors import RecordError
from daam_bench.records import RunRecord


def read_predictions(folder: Path, record: RunRecord) -> pd.DataFrame:
    """Return the predictions of one replica: fold, seed, sample_id, label, prediction.

    Raises:
        RecordError: if the file is missing or is no table of predictions.
    """
    path = folder / f"{record.stem}.parquet"
    try:
        frame = pd.read_parquet(path, columns=["sample_id", "label", "prediction"])
    except (OSError, ValueError, KeyError) as error:
        raise RecordError(
            f"no predictions beside the record ({str(error).splitlines()[0]})",
            where=path,
            remedy="Delete finished.json in that folder and run snakemake again.",
        ) from None
    return frame.assign(fold=record.fold, seed=record.seed)


def pooled_correctness(predictions: pd.DataFrame) -> pd.Series:
    """Return for every sample whether a variant classifies it rightly, by vote of its seeds.

    Each sample enters once, as McNemar's test demands; the folds are pooled. Where a vote is tied, the lowest
    seed decides among all.

    Args:
        predictions: rows of `read_predictions` of all replicas of one variant.

    Returns:
        Booleans with index (fold, sample_id).
    """
    keys = ["fold", "sample_id"]
    wide = predictions.pivot_table(index=keys, columns="seed", values="prediction").sort_index(axis=1)
    votes = wide.to_numpy()
    # scipy's mode is the smallest of the most frequent: a tie has another one from the other end.
    smallest, largest = (sign * stats.mode(sign * votes, axis=1, nan_policy="omit").mode for sign in (1, -1))
    decided = np.where(smallest == largest, smallest, votes[:, 0])
    return predictions.groupby(keys)["label"].first().loc[wide.index] == decided


def compare_predictions(correct: dict[str, pd.Series]) -> pd.DataFrame:
    """Test for each pair of variants whether one is right where the other is wrong more often than reverse.

    McNemar's exact test (statsmodels) on the samples that both classified. It treats samples as units: it
    tells these trained models apart on these sources, and says nothing of other folds.

    Args:
        correct: for each variant what `pooled_correctness` returns.

    Returns:
        One row a pair: first, second, only_first and only_second (samples that only one classifies rightly),
        mcnemar_p, mcnemar_p_holm (Holm's correction over all pairs).
    """
    rows = [_mcnemar(a, b, correct[a], correct[b]) for a, b in combinations(correct, 2)]
    frame = pd.DataFrame(rows, columns=["first", "second", "only_first", "only_second", "mcnemar_p"])
    corrected = multipletests(frame["mcnemar_p"], method="holm")[1] if rows else []
    return frame.assign(mcnemar_p_holm=corrected)


def agrees(pairs: pd.DataFrame) -> pd.Series:
    """Return for each pair whether McNemar's test finds a difference, in the direction of the mean scores.

    Args:
        pairs: columns difference, of `significance.compare_pairs`, and those of `compare_predictions`.
    """
    ahead: pd.Series = np.sign(pairs["only_first"] - pairs["only_second"]) == np.sign(pairs["difference"])
    return ahead & (pairs["mcnemar_p_holm"] < ALPHA)


def _mcnemar(first: str, second: str, left: pd.Series, right: pd.Series) -> tuple[str, str, int, int, float]:
    left, right = left.align(right, join="inner")
    a, b = left.to_numpy(bool), right.to_numpy(bool)
    table = [[np.sum(a & b), np.sum(a & ~b)], [np.sum(~a & b), np.sum(~a & ~b)]]
    return first, second, int(table[0][1]), int(table[1][0]), float(mcnemar(table, exact=True).pvalue)


def correctness_of(folders: dict[str, Path], records: Sequence[RunRecord]) -> dict[str, pd.Series]:
    """Return the pooled correctness of the variants of one cache, by name.

    Args:
        folders: folder of each variant.
        records: replicas of these variants.
    """
    found = {}
    for variant, folder in folders.items():
        parts = [read_predictions(folder, record) for record in records if record.variant == variant]
        found[variant] = pooled_correctness(pd.concat(parts, ignore_index=True))
    return found
