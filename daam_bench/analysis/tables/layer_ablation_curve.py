"""Retrained on the layers of highest and of lowest importance: over k, the number of layers kept."""

from typing import Any

import pandas as pd

from daam_bench.analysis.aggregate import score_interval
from daam_bench.analysis.marks import is_optimistic, marked
from daam_bench.analysis.studies.ablation import IMPORTANCE, KEYS, ablated, ablation_frame, kept
from daam_bench.analysis.tables.base import Keys, Results, Run, Table
from daam_bench.analysis.tables.cells import add_metric, differences, names, numbers, ranges, score_heading
from daam_bench.analysis.tables.effects import paired_effect
from daam_bench.analysis.tables.sheet import Sheet

_EFFECT = ("effect_percent", "low_percent", "high_percent", "p")
_COMPARED = ("top", "random")


def _frame(results: Results) -> pd.DataFrame:
    """Return one row a variant, side and number of layers, the draws of random layers taken together.

    Columns: mean and 95 % interval in percent; `effect_percent` against the layers of lowest
    importance of the same number (nan for those themselves and for all layers).
    """
    ablation = ablation_frame(results)
    rows: list[dict[str, Any]] = []
    for values, part in ablation.groupby(KEYS, sort=False):
        row = dict(zip(KEYS, values, strict=True))
        # Draws of one fold and seed are one unit.
        scores = part.groupby(["fold", "seed"])["score_percent"].mean().to_numpy()
        low, high = score_interval(part)
        same = (ablation[[*KEYS[:-1]]] == part[[*KEYS[:-1]]].iloc[0]).all(axis=1)
        lowest = ablation[same & (ablation["side"] == "bottom")]
        rows.append(
            row
            | {
                "metric": part["metric"].iloc[0],
                "mean_percent": scores.mean(),
                "mean_low_percent": low,
                "mean_high_percent": high,
                "optimistic": is_optimistic(part["protocol"].iloc[0]),
            }
            | (
                paired_effect(part, lowest)
                if row["side"] in _COMPARED
                else dict.fromkeys(_EFFECT, float("nan"))
            )
        )
    return pd.DataFrame(rows)


def _readable(frame: pd.DataFrame) -> Sheet:
    # The ordinary run stands beside single layers and beside blocks: it is shown once.
    again = frame["side"].eq("all") & frame.duplicated(["dataset", "encoder", "variant", "side"])
    shown = frame[~again]
    sheet = names(shown, mark=False)
    add_metric(sheet, shown)
    sheet.words("Importance", shown["side"].map(IMPORTANCE))
    sheet.numbers("Kept", "layers_kept", kept(shown))
    means = marked(numbers(shown["mean_percent"], ".1f"), shown["optimistic"])
    sheet.numbers(score_heading(shown), "mean_percent", means)
    spans = ranges(shown, "mean_low_percent", "mean_high_percent")
    sheet.numbers("95 % interval", "mean_low_percent", spans)
    sheet.numbers("Against low (points)", _EFFECT[0], differences(shown, *_EFFECT[:3]))
    return sheet


def _sources(keys: Keys, column: str, results: Results) -> list[Run]:
    """The runs of the side; behind an effect those on the layers of lowest importance as well."""
    compared = column in _EFFECT and keys["side"] in _COMPARED
    return [*ablated(keys, results, keys["side"]), *(ablated(keys, results, "bottom") if compared else [])]


TABLE = Table(
    title="Layer ablation over the number of layers",
    caption="Over k, the number of layers kept: mean score in percent over folds and seeds with its 95 % "
    "interval, and the difference from the layers of lowest importance in points of percent with its 95 % "
    "interval (corrected resampled t over folds). Random layers: mean over draws.",
    section="studies",
    keys=tuple(KEYS),
    number="mean_percent",
    frame=_frame,
    readable=_readable,
    sources=_sources,
)
