"""Retrained on the layers of highest and of lowest importance: by fold, as in the paper."""

from typing import Any

import pandas as pd

from daam_bench.analysis.marks import MARK, is_optimistic
from daam_bench.analysis.studies.ablation import IMPORTANCE, KEYS, ablated, ablation_frame, kept
from daam_bench.analysis.tables.base import Keys, Results, Run, Table, of_fold
from daam_bench.analysis.tables.cells import METRICS, names
from daam_bench.analysis.tables.sheet import Sheet, Shown

_LINE = [*KEYS, "draw"]


def _frame(results: Results) -> pd.DataFrame:
    """Return one row a variant, choice of layers and fold: the layers and the score over seeds."""
    rows: list[dict[str, Any]] = []
    keys = [*_LINE, "fold", "fold_name", "metric"]
    for values, part in ablation_frame(results).groupby(keys, sort=False):
        row = dict(zip(keys, values, strict=True))
        layers = part["layers"].iloc[0]
        scores = part["score_percent"].to_numpy()
        rows.append(
            row
            | {
                "importance": IMPORTANCE[str(row["side"])],
                "layers": "all" if layers is None else ",".join(map(str, layers)),
                "seeds": len(scores),
                "mean_percent": scores.mean(),
                "std_percent": scores.std(),
                "optimistic": is_optimistic(part["protocol"].iloc[0]),
            }
        )
    return pd.DataFrame(rows)


def _readable(frame: pd.DataFrame) -> Sheet:
    """Return the paper's layout: one line a choice, one column a fold."""
    lines = [rows.sort_values("fold") for _, rows in frame.groupby(_LINE, sort=False)]
    first = frame.loc[[rows.index[0] for rows in lines]]
    sheet = names(first, mark=False)
    sheet.words("Metric", [METRICS.get(name, name) for name in first["metric"]])
    draws = zip(first["importance"], first["draw"], strict=True)
    sheet.numbers("Importance", "draw", [f"{name} {draw}" if draw else name for name, draw in draws])
    sheet.numbers("Kept", "layers_kept", kept(first))
    for fold in sorted(set(frame["fold"])):
        sheet.cells(f"fold {fold}", [_cell(rows, fold) for rows in lines])
    sheet.words("Folds", [", ".join(rows["fold_name"]) for rows in lines])
    return sheet


def _cell(rows: pd.DataFrame, fold: int) -> Shown:
    folds = rows["fold"].tolist()
    if fold not in folds:
        return Shown("")
    row = rows.iloc[folds.index(fold)]
    mark = MARK if row["optimistic"] else ""
    text = f"{row['mean_percent']:.1f} ± {row['std_percent']:.1f}{mark} ({row['layers']})"
    return Shown(text, row.name, "mean_percent")


def _sources(keys: Keys, _column: str, results: Results) -> list[Run]:
    return of_fold(ablated(keys, results, keys["side"]), keys)


TABLE = Table(
    title="Layer ablation",
    caption="Retrained on some layers only: those of highest and of lowest Importance Factor, and random "
    "ones. Layers are chosen for each fold from its density on training samples, averaged over seeds. Score "
    "in percent on each fold, mean over seeds, and the layers; +/- is the population standard deviation "
    "over seeds. Columns are numbered as addresses are.",
    section="studies",
    keys=(*_LINE, "fold"),
    number="mean_percent",
    frame=_frame,
    readable=_readable,
    sources=_sources,
)
