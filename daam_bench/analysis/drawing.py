"""What figures share: colours that everyone tells apart, texts that fit, numbers of layers, scales."""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from daam_bench.analysis.tables.cells import score_heading
from daam_bench.cache.drawing import add_title, fitted, layer_ticks

__all__ = [
    "BLUE",
    "GREEN",
    "GREY",
    "ORANGE",
    "add_title",
    "fitted",
    "layer_ticks",
    "round_up",
    "row_labels",
    "score_name",
]

# Of Okabe and Ito's palette, which is safe for colour-blind readers; markers differ, too.
BLUE, ORANGE, GREEN, GREY = "#0072B2", "#D55E00", "#009E73", "#666666"
_LABEL_INCHES = 3.2


def row_labels(titles: Sequence[str]) -> tuple[list[str], float]:
    """Return labels of rows in lines that fit beside a picture, and the height in inches of all rows."""
    labels = [fitted(title, _LABEL_INCHES) for title in titles]
    lines = max((1 + label.count("\n") for label in labels), default=1)
    return labels, max(0.34, 0.18 * lines) * max(1, len(labels))


def round_up(value: float, step: float) -> float:
    """Return the next multiple of a step from a value on, at least one step: the end of a shared scale."""
    return max(step, float(np.ceil(value / step - 1e-9)) * step)


def score_name(frame: pd.DataFrame) -> str:
    """Return the metric of rows with its unit, as an axis names it; accuracy where they do not say."""
    return score_heading(frame).lower().replace("f1", "F1") if "metric" in frame else "accuracy (%)"
