"""What pictures of caches and of results share: texts that fit, numbers of layers."""

import textwrap

from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties
from matplotlib.textpath import text_to_path

_TITLE_POINTS = 11.0
_LABEL_POINTS = 10.0
# Characters are set to whole pixels, which makes lines a little longer than the font says.
_SLACK = 0.93
_STEPS = (1, 2, 5, 10, 20, 50)


def width_of(line: str, points: float = _LABEL_POINTS) -> float:
    """Return how many inches a line of text takes at most."""
    font = FontProperties(size=points)
    # A point is 1 / 72 inch.
    return float(text_to_path.get_text_width_height_descent(line, font, ismath=False)[0]) / (72 * _SLACK)


def fitted(text: str, inches: float, points: float = _LABEL_POINTS) -> str:
    """Return a text broken into as few lines as fit into a width; words that are too long are broken."""
    # No line holds more than of the narrowest character: a long name is not tried at each length of its own.
    most = min(len(text), int(inches / width_of("i", points)))
    for characters in range(most, 1, -1):
        lines = textwrap.wrap(text, characters) or [""]
        if all(width_of(line, points) <= inches for line in lines):
            return "\n".join(lines)
    return text


def add_title(figure: Figure, title: str) -> None:
    """Write a title above a figure, in as many lines as it takes; the figure grows by the further ones."""
    width, height = figure.get_size_inches()
    text = fitted(title, width, _TITLE_POINTS)
    figure.set_size_inches(width, height + 0.18 * text.count("\n"))
    figure.suptitle(text, fontsize=_TITLE_POINTS)


def layer_ticks(layers: int, most: int) -> list[int]:
    """Return at most about `most` numbers of layers to label: the first, and multiples of a round number."""
    step = next(step for step in _STEPS if layers <= step * most or step == _STEPS[-1])
    return [1, *(number for number in range(step, layers + 1, step) if number - 1 >= 0.75 * step)]
