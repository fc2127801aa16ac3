"""Numbers as text in the cells of readable tables."""

import pandas as pd

from daam_bench.analysis.aggregate import title_of

METRICS = {"accuracy": "Accuracy", "balanced_accuracy": "Balanced accuracy", "macro_f1": "Macro F1"}


def names(frame: pd.DataFrame) -> pd.DataFrame:
    """Return the first three columns of a readable table, with the index of the frame."""
    shown = pd.DataFrame({"Dataset": frame["dataset"], "Encoder": frame["encoder"]})
    return shown.assign(Variant=frame["variant"].map(title_of))


def score_heading(frame: pd.DataFrame) -> str:
    """Return the name of the metric of all rows, or `Score` where rows differ, with its unit."""
    metrics = frame["metric"].unique()
    return f"{METRICS.get(metrics[0], metrics[0]) if len(metrics) == 1 else 'Score'} (%)"


def add_metric(shown: pd.DataFrame, frame: pd.DataFrame) -> pd.DataFrame:
    """Return a readable table with a column for the metric, if rows have different ones."""
    if frame["metric"].nunique() < 2:
        return shown
    return shown.assign(Metric=[METRICS.get(name, name) for name in frame["metric"]])


def with_spread(means: pd.Series, spreads: pd.Series) -> list[str]:
    """Return `59.1 ± 0.4` for each row."""
    return [f"{mean:.1f} ± {spread:.1f}" for mean, spread in zip(means, spreads, strict=True)]


def ranges(frame: pd.DataFrame, low: str, high: str, style: str = ".1f", none: str = "one run") -> list[str]:
    """Return `57.0 to 61.2` for each row, `none` where there is no interval."""
    pairs = zip(frame[low], frame[high], strict=True)
    return [none if pd.isna(a) else f"{a:{style}} to {b:{style}}" for a, b in pairs]


def probabilities(values: pd.Series) -> list[str]:
    """Return p values with three digits, `< 0.001` below; nothing where nothing was tested."""
    return ["" if pd.isna(p) else "< 0.001" if p < 0.001 else f"{p:.3f}" for p in values]


def numbers(values: pd.Series, style: str) -> list[str]:
    """Return numbers in a style; nothing where there is none."""
    return ["" if pd.isna(value) else f"{value:{style}}" for value in values]
