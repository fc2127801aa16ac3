"""Records to labelled frames: one row a replica, then one row a variant."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from daam_bench.adapters.presets import ENCODER_VARIANTS
from daam_bench.analysis.significance import (
    baseline_scores,
    mean_interval,
    paired_gain,
    resampling_ratio,
    unit_values,
)
from daam_bench.heads.presets import VARIANTS
from daam_bench.records import RunRecord, read_records

BASELINE_TITLES = {
    "majority": "Majority class",
    "best_single_layer": "Logistic regression, best single layer",
}
_TITLES = (
    BASELINE_TITLES
    | {name: variant.title for name, variant in VARIANTS.items()}
    | {name: variant.title for name, variant in ENCODER_VARIANTS.items()}
)
_ORDER = {name: position for position, name in enumerate(_TITLES)}
CACHE = ["dataset", "encoder"]


def title_of(variant: str) -> str:
    """Return the name of a variant or baseline as tables and figures show it."""
    return _TITLES.get(variant, variant)


def read_all(folders: Sequence[Path]) -> list[RunRecord]:
    """Return the records of variant folders: caches by name, variants in the order of the presets."""
    return sorted((record for folder in folders for record in read_records(folder)), key=order_of)


def order_of(record: RunRecord) -> tuple[str, str, int, str, int, int]:
    """Return what records are sorted by: cache, place of the variant in the presets, fold, seed."""
    place = _ORDER.get(record.variant, len(_ORDER))
    return record.dataset, record.encoder, place, record.variant, record.fold, record.seed


def replica_frame(records: Sequence[RunRecord]) -> pd.DataFrame:
    """Return one row a replica; scores in percent."""
    return pd.DataFrame(
        {
            "dataset": r.dataset,
            "encoder": r.encoder,
            "variant": r.variant,
            "kind": r.kind,
            "fold": r.fold,
            "fold_name": r.fold_name,
            "seed": r.seed,
            "metric": r.metric,
            "score_percent": 100 * r.score,
            "majority_percent": 100 * r.majority_score,
            "train_samples": r.train_samples,
            "validation_samples": r.validation_samples,
            "selected_epoch": r.selected_epoch,
            "wall_seconds": r.wall_seconds,
            "cpu_seconds": r.cpu_seconds,
            "modality": r.modality,
        }
        for r in records
    )


def caches_of(frame: pd.DataFrame) -> Iterator[tuple[str, str, pd.DataFrame]]:
    """Yield the rows of each cache with its dataset and encoder, in the order of the frame."""
    for (dataset, encoder), part in frame.groupby(CACHE, sort=False):
        yield str(dataset), str(encoder), part


def score_interval(part: pd.DataFrame) -> tuple[float, float]:
    """Return the 95 % interval of the mean score of one variant on one cache, within 0 to 100 %.

    Args:
        part: its rows of `replica_frame`; the interval is `significance.mean_interval`.
    """
    low, high = mean_interval(unit_values(part), resampling_ratio(part))
    return float(np.clip(low, 0, 100)), float(np.clip(high, 0, 100))


def summary_frame(replicas: pd.DataFrame) -> pd.DataFrame:
    """Return one row a variant and cache: mean, spread, interval, gains over both baselines.

    `std_percent` is the population standard deviation (ddof 0) over folds x seeds, as in the paper. Intervals
    are of means over folds, seeds averaged (over seeds if there is one fold). Gains are paired: each replica
    against the baseline on the same fold.
    """
    rows = []
    for dataset, encoder, cache in caches_of(replicas):
        best_layer = baseline_scores(cache).get("best_single_layer", pd.Series(dtype=float))
        for variant, part in cache.groupby("variant", sort=False):
            scores = part["score_percent"].to_numpy()
            low, high = score_interval(part)
            row: dict[str, Any] = {
                "dataset": dataset,
                "encoder": encoder,
                "variant": variant,
                "title": title_of(str(variant)),
                "kind": part["kind"].iloc[0],
                "metric": part["metric"].iloc[0],
                "folds": part["fold"].nunique(),
                "seeds": part["seed"].nunique(),
                "mean_percent": scores.mean(),
                "std_percent": scores.std(),
                "low_percent": low,
                "high_percent": high,
            }
            row |= _gain("majority", part, part["majority_percent"])
            rows.append(row | _gain("best_single_layer", part, part["fold"].map(best_layer)))
    return pd.DataFrame(rows)


def _gain(baseline: str, part: pd.DataFrame, reference: pd.Series) -> dict[str, float]:
    """Return the mean paired gain over a baseline in points of percent, with its interval."""
    name = f"gain_over_{baseline}"
    gain, low, high = paired_gain(part, reference)
    return {name: gain, f"{name}_low": low, f"{name}_high": high}
