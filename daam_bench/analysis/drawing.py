"""What figures share: colours that everyone tells apart, texts that fit, numbers of layers, scales."""

import textwrap
from collections.abc import Sequence

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties
from matplotlib.textpath import text_to_path

from daam_bench.analysis.tables.cells import score_heading

# Of Okabe and Ito's palette, which is safe for colour-blind readers; markers differ, too.
BLUE, ORANGE, GREEN, GREY = "#0072B2", "#D55E00", "#009E73", "#666666"
_TITLE_POINTS = 11.0
_LABEL_POINTS = 10.0
_LABEL_INCHES = 3.2
# Characters are set to whole pixels, which makes lines a little longer than the font says.
_SLACK = 0.93
_STEPS = (1, 2, 5, 10, 20, 50)


def fitted(text: str, inches: float, points: float = _LABEL_POINTS) -> str:
    """Return a text broken into as few lines as fit into a width; words that are too long are broken."""
    font = FontProperties(size=points)
    for characters in range(len(text), 1, -1):
        lines = textwrap.wrap(text, characters)
        widths = (text_to_path.get_text_width_height_descent(line, font, ismath=False)[0] for line in lines)
        # A point is 1 / 72 inch.
        if max(widths) <= _SLACK * 72 * inches:
            return "\n".join(lines)
    return text


def add_title(figure: Figure, title: str) -> None:
    """Write a title above a figure, in as many lines as it takes; the figure grows by the further ones."""
    width, height = figure.get_size_inches()
    text = fitted(title, width, _TITLE_POINTS)
    figure.set_size_inches(width, height + 0.18 * text.count("\n"))
    figure.suptitle(text, fontsize=_TITLE_POINTS)


def row_labels(titles: Sequence[str]) -> tuple[list[str], float]:
    """Return labels of rows in lines that fit beside a picture, and the height in inches of all rows."""
    labels = [fitted(title, _LABEL_INCHES) for title in titles]
    lines = max((1 + label.count("\n") for label in labels), default=1)
    return labels, max(0.34, 0.18 * lines) * max(1, len(labels))


def layer_ticks(layers: int, most: int) -> list[int]:
    """Return at most about `most` numbers of layers to label: the first, and multiples of a round number."""
    step = next(step for step in _STEPS if layers <= step * most or step == _STEPS[-1])
    return [1, *(number for number in range(step, layers + 1, step) if number - 1 >= 0.75 * step)]


def round_up(value: float, step: float) -> float:
    """Return the next multiple of a step from a value on, at least one step: the end of a shared scale."""
    return max(step, float(np.ceil(value / step - 1e-9)) * step)


def score_name(frame: pd.DataFrame) -> str:
    """Return the metric of rows with its unit, as an axis names it; accuracy where they do not say."""
    return score_heading(frame).lower().replace("f1", "F1") if "metric" in frame else "accuracy (%)"
