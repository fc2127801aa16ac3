"""What the choice of the epoch is worth, from the epochs of one run: no training."""

from collections.abc import Hashable, Sequence
from typing import Any

import pandas as pd

from daam_bench.analysis.aggregate import CACHE
from daam_bench.analysis.marks import marked
from daam_bench.analysis.tables.base import Results, Table
from daam_bench.analysis.tables.cells import add_metric, counts, differences, names, numbers, score_heading
from daam_bench.analysis.tables.effects import paired_effect
from daam_bench.analysis.tables.sheet import Sheet
from daam_bench.records import EpochRecord, RunRecord

CHOICES = {"inner": "inner", "last": "last", "best_validation": "best on validation"}
COLUMNS = (
    *CACHE,
    "variant",
    "metric",
    "folds",
    "seeds",
    *(f"{choice}_percent" for choice in CHOICES),
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


def _frame(results: Results) -> pd.DataFrame:
    """Return one row a trained variant: the three scores, and last and best against inner (`COLUMNS`).

    The differences are paired over folds and seeds; nan where there is no inner.
    """
    records = [record for record in results.records if record.epochs]
    rows = [_facts(record) | chosen_scores(record.epochs) for record in records]
    groups = pd.DataFrame(rows).groupby([*CACHE, "variant"], sort=False) if rows else ()
    return pd.DataFrame([_row(keys, part) for keys, part in groups], columns=[*COLUMNS])


def _facts(record: RunRecord) -> dict[str, Any]:
    names = (*CACHE, "variant", "metric", "fold", "seed", "train_samples", "validation_samples")
    return {name: getattr(record, name) for name in names}


def _row(keys: tuple[Hashable, ...], part: pd.DataFrame) -> dict[str, Any]:
    row: dict[str, Any] = dict(zip([*CACHE, "variant"], keys, strict=True)) | {
        "metric": part["metric"].iloc[0],
        "folds": part["fold"].nunique(),
        "seeds": part["seed"].nunique(),
    }
    row |= {f"{choice}_percent": part[choice].mean() for choice in CHOICES}
    if part["inner"].isna().any():
        return row | {"inner_percent": float("nan")}
    inner = part.assign(score_percent=part["inner"])
    for choice in ("last", "best_validation"):
        effect = paired_effect(part.assign(score_percent=part[choice]), inner)
        row |= {f"{choice}_{name}": value for name, value in effect.items()}
    return row


def _readable(frame: pd.DataFrame) -> Sheet:
    sheet = names(frame, mark=False)
    add_metric(sheet, frame)
    sheet.numbers("Folds x seeds", "folds", counts(frame, "folds", "seeds", "x"))
    for choice, title in CHOICES.items():
        flags = [choice == "best_validation"] * len(frame)
        column = f"{choice}_percent"
        heading = f"{score_heading(frame)}, {title}" if len(frame) else title
        sheet.numbers(heading, column, marked(numbers(frame[column], ".1f"), flags))
    for choice, title in (("last", "Last - inner (points)"), ("best_validation", "Best - inner (points)")):
        columns = (f"{choice}_effect_percent", f"{choice}_low_percent", f"{choice}_high_percent")
        flags = [choice == "best_validation"] * len(frame)
        sheet.numbers(title, columns[0], marked(differences(frame, *columns), flags))
    return sheet


TABLE = Table(
    title="What the choice of the epoch is worth",
    caption="From the epochs of the same runs: score in percent, mean over folds and seeds, of the epoch "
    "that is best on the held-out part of the training split (inner), of the last one, and of the best one "
    "on the validation samples themselves; the differences from inner in points of percent with their 95 % "
    "intervals (corrected resampled t over folds). What the best one gains over inner is how much a choice "
    "on the samples that score the model flatters. Runs without a held-out part have no inner.",
    section="studies",
    keys=(*CACHE, "variant"),
    number="inner_percent",
    frame=_frame,
    readable=_readable,
)
