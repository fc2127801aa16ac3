"""Every run by itself: the score of one fold with one seed, and the epoch that gave it."""

from typing import Any

import pandas as pd

from daam_bench.analysis.aggregate import CACHE
from daam_bench.analysis.tables.base import Results, Table
from daam_bench.analysis.tables.cells import add_metric, names, numbers, score_heading
from daam_bench.analysis.tables.sheet import Sheet
from daam_bench.records import RunRecord

_KEYS = (*CACHE, "variant", "fold", "seed")
_FACTS = (*_KEYS, "fold_name", "kind", "metric", "train_samples", "validation_samples", "selected_epoch")
COLUMNS = (
    *_FACTS,
    "epochs",
    "score_percent",
    "majority_percent",
    "inner_percent",
    "train_loss",
    "validation_loss",
    "note",
)
# Columns that only some kinds of runs know: heading and style.
_IF_KNOWN = {
    "inner_percent": ("Inner score (%)", ".1f"),
    "selected_epoch": ("Epoch", ".0f"),
    "train_loss": ("Training loss", ".4f"),
    "validation_loss": ("Validation loss", ".4f"),
}


def _frame(results: Results) -> pd.DataFrame:
    """Return one row an ordinary replica (`COLUMNS`); losses and inner score are of the selected epoch."""
    whole = dict.fromkeys(("selected_epoch", "epochs"), "Int64")
    whole |= dict.fromkeys(("inner_percent", "train_loss", "validation_loss"), "float64")
    return pd.DataFrame([_row(r) for r in results.records], columns=[*COLUMNS]).astype(whole)


def _row(record: RunRecord) -> dict[str, Any]:
    row = {name: getattr(record, name) for name in _FACTS}
    row |= {"score_percent": 100 * record.score, "majority_percent": 100 * record.majority_score}
    row |= {"epochs": len(record.epochs) or None, "note": record.note}
    for epoch in record.epochs:
        if epoch.epoch == record.selected_epoch:
            inner = None if epoch.inner_score is None else 100 * epoch.inner_score
            row |= {"train_loss": epoch.train_loss, "validation_loss": epoch.validation_loss}
            row |= {"inner_percent": inner}
    return row


def _readable(frame: pd.DataFrame) -> Sheet:
    sheet = names(frame)
    folds = zip(frame["fold"], frame["fold_name"], strict=True)
    sheet.numbers("Fold", "fold", [f"{number} ({name})" for number, name in folds])
    sheet.numbers("Seed", "seed", numbers(frame["seed"], ".0f"))
    add_metric(sheet, frame)
    sheet.numbers(score_heading(frame), "score_percent", numbers(frame["score_percent"], ".1f"))
    for column, (heading, style) in _IF_KNOWN.items():
        if frame[column].notna().any():
            sheet.numbers(heading, column, numbers(frame[column], style))
    sheet.numbers("Note", "note", frame["note"])
    return sheet


TABLE = Table(
    title="Every run",
    caption="Each variant on each fold with each seed: score in percent on the validation samples; of the "
    "epoch that gave it its number, the score on the held-out part of the training split (inner) and the "
    "mean losses. Note: what a baseline chose on the training samples of its fold, which Gaussians a mixture "
    "kept, and the like.",
    section="runs",
    keys=_KEYS,
    number="score_percent",
    frame=_frame,
    readable=_readable,
)
