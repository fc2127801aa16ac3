"""Numbers as text in the cells of readable tables."""

from collections.abc import Iterable

import pandas as pd

from daam_bench.analysis.aggregate import title_of
from daam_bench.analysis.marks import marked
from daam_bench.analysis.tables.sheet import Sheet

METRICS = {"accuracy": "Accuracy", "balanced_accuracy": "Balanced accuracy", "macro_f1": "Macro F1"}


def names(frame: pd.DataFrame, mark: bool = True) -> Sheet:
    """Return a readable table with its first three columns, one line a row of the frame.

    Args:
        frame: rows of a variant each, with the column `optimistic`.
        mark: put the mark of optimistic results behind the variant; else a single number has it.
    """
    sheet = Sheet(frame.index)
    sheet.words("Dataset", frame["dataset"])
    sheet.words("Encoder", frame["encoder"])
    titles = frame["variant"].map(title_of)
    sheet.words("Variant", marked(titles, frame["optimistic"]) if mark else titles)
    return sheet


def score_heading(frame: pd.DataFrame) -> str:
    """Return the name of the metric of all rows, or `Score` where rows differ, with its unit."""
    metrics = frame["metric"].unique()
    return f"{METRICS.get(metrics[0], metrics[0]) if len(metrics) == 1 else 'Score'} (%)"


def add_metric(sheet: Sheet, frame: pd.DataFrame) -> None:
    """Add a column for the metric, if rows have different ones.

    Args:
        sheet: one line a row of `frame`.
        frame: has the column `metric`.
    """
    if len(set(frame["metric"])) > 1:
        sheet.words("Metric", [METRICS.get(name, name) for name in frame["metric"]])


def with_spread(means: Iterable[float], spreads: Iterable[float]) -> list[str]:
    """Return `59.1 ± 0.4` for each row."""
    return [f"{mean:.1f} ± {spread:.1f}" for mean, spread in zip(means, spreads, strict=True)]


def ranges(frame: pd.DataFrame, low: str, high: str, style: str = ".1f", none: str = "one run") -> list[str]:
    """Return `57.0 to 61.2` for each row, `none` where there is no interval."""
    pairs = zip(frame[low], frame[high], strict=True)
    return [none if pd.isna(a) else f"{a:{style}} to {b:{style}}" for a, b in pairs]


def differences(frame: pd.DataFrame, value: str, low: str, high: str) -> list[str]:
    """Return `+1.2 (-0.3 to +2.7)` for each row, nothing where there is no difference to show."""
    spans = ranges(frame, low, high, "+z.1f", none="")
    pairs = zip(frame[value], spans, strict=True)
    return ["" if pd.isna(d) else f"{d:+z.1f}" + (f" ({span})" if span else "") for d, span in pairs]


def counts(frame: pd.DataFrame, first: str, second: str, word: str) -> list[str]:
    """Return `4 x 3` for each row, `word` between; nothing where nothing was counted."""
    pairs = zip(frame[first], frame[second], strict=True)
    return ["" if pd.isna(b) else f"{int(a)} {word} {int(b)}" for a, b in pairs]


def probabilities(values: pd.Series) -> list[str]:
    """Return p values with three digits, `< 0.001` below; nothing where nothing was tested."""
    return ["" if pd.isna(p) else "< 0.001" if p < 0.001 else f"{p:.3f}" for p in values]


def numbers(values: Iterable[float], style: str, none: str = "") -> list[str]:
    """Return numbers in a style; `none` where there is none."""
    return [none if pd.isna(value) else f"{value:{style}}" for value in values]
