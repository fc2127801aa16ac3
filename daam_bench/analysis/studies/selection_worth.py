"""What the choice of the epoch is worth, from the epochs of one run: no training."""

from collections.abc import Hashable, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from daam_bench.analysis.aggregate import CACHE, read_all
from daam_bench.analysis.marks import MARK
from daam_bench.analysis.studies.frames import effect_cells, paired_effect, with_titles
from daam_bench.records import EpochRecord, RunRecord

CAPTION = (
    "What the choice of the epoch is worth, from the epochs of the same runs: accuracy in percent, mean over "
    "folds and seeds, of the epoch that is best on the held-out part of the training split (inner), of the "
    "last one, and of the best one on the validation samples themselves; the differences from inner in "
    f"points of percent with their 95 % intervals (corrected resampled t over folds). {MARK} optimistic: the "
    "samples that score the model chose its epoch; the difference is how much that flatters. Runs without a "
    "held-out part have no inner."
)
COLUMNS = (
    *CACHE,
    "variant",
    "folds",
    "seeds",
    "inner_percent",
    "last_percent",
    "best_validation_percent",
    *(f"{choice}_{name}" for choice in ("last", "best_validation") for name in (
        "effect_percent", "low_percent", "high_percent", "p"
    )),
)  # fmt: skip


def chosen_scores(epochs: Sequence[EpochRecord]) -> dict[str, float]:
    """Return the validation score in percent that each way to choose an epoch gives; ties take the first.

    `inner` is nan for runs without a held-out part of the training split.
    """
    best = max(epoch.validation_score for epoch in epochs)
    inner = [epoch for epoch in epochs if epoch.inner_score is not None]
    chosen = max(inner, key=lambda epoch: epoch.inner_score or 0.0, default=None)
    return {
        "inner": float("nan") if chosen is None else 100 * chosen.validation_score,
        "last": 100 * epochs[-1].validation_score,
        "best_validation": 100 * best,
    }


def selection_worth(runs: Sequence[Path]) -> pd.DataFrame:
    """Return one row a trained variant: the three accuracies, and last and best against inner (`COLUMNS`).

    The differences are paired over folds and seeds; nan where there is no inner.
    """
    records = [record for record in read_all(runs) if record.epochs]
    rows = [_facts(record) | chosen_scores(record.epochs) for record in records]
    groups = pd.DataFrame(rows).groupby([*CACHE, "variant"], sort=False) if rows else ()
    return pd.DataFrame([_row(keys, part) for keys, part in groups], columns=[*COLUMNS])


def _facts(record: RunRecord) -> dict[str, Any]:
    names = (*CACHE, "variant", "fold", "seed", "train_samples", "validation_samples")
    return {name: getattr(record, name) for name in names}


def _row(keys: tuple[Hashable, ...], part: pd.DataFrame) -> dict[str, Any]:
    row: dict[str, Any] = dict(zip([*CACHE, "variant"], keys, strict=True)) | {
        "folds": part["fold"].nunique(),
        "seeds": part["seed"].nunique(),
    }
    row |= {f"{choice}_percent": part[choice].mean() for choice in ("inner", "last", "best_validation")}
    if part["inner"].isna().any():
        return row | {"inner_percent": float("nan")}
    inner = part.assign(score_percent=part["inner"])
    for choice in ("last", "best_validation"):
        effect = paired_effect(part.assign(score_percent=part[choice]), inner)
        row |= {f"{choice}_{name}": value for name, value in effect.items()}
    return row


def readable_selection_worth(frame: pd.DataFrame) -> pd.DataFrame:
    """Return the table as a person reads it."""
    shown = with_titles(frame)
    counts = zip(frame["folds"], frame["seeds"], strict=True)
    shown["Folds x seeds"] = [f"{folds} x {seeds}" for folds, seeds in counts]
    shown["Inner (%)"] = ["" if pd.isna(value) else f"{value:.1f}" for value in frame["inner_percent"]]
    shown["Last (%)"] = [f"{value:.1f}" for value in frame["last_percent"]]
    shown["Best on validation (%)"] = [f"{value:.1f}{MARK}" for value in frame["best_validation_percent"]]
    shown["Last - inner"] = effect_cells(frame, "last_effect_percent", "last_")
    best = effect_cells(frame, "best_validation_effect_percent", "best_validation_")
    shown["Best - inner"] = [f"{cell}{MARK}" if cell else "" for cell in best]
    return shown
