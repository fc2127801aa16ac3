"""The entropies of trained heads as one figure a cache."""

from collections.abc import Sequence

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from daam_bench.analysis.aggregate import title_of
from daam_bench.analysis.drawing import BLUE, GREEN, ORANGE, add_title, row_labels

_COLOURS = {"density": (BLUE, "o"), "softmax": (ORANGE, "s"), "gaussian": (GREEN, "^")}
_LEAST_NATS = 0.1
_LABELS = {
    "density": "density, normalised over a head's layers",
    "softmax": "softmax attention",
    "gaussian": "Gaussian of a density head (differential)",
}


def plot_entropies(entropies: pd.DataFrame, title: str) -> Figure:
    """Draw entropies: on the left shares of the maximum, on the right the Gaussians', which have none.

    Points are means over heads and runs, whiskers the 5 % and 95 % quantiles within a head.

    Args:
        entropies: rows of `tables.entropy.entropy_frame` of one cache.
        title: heading.
    """
    variants = list(dict.fromkeys(entropies["variant"]))[::-1]
    labels, height = row_labels([title_of(variant) for variant in variants])
    figure = Figure(figsize=(9, 1.8 + height), layout="constrained")
    shares, nats = figure.subplots(1, 2, sharey=True, width_ratios=(3, 2))
    drawn = {kind: entropies[entropies["entropy"] == kind] for kind in _COLOURS}
    two = set(drawn["density"]["variant"]) & set(drawn["softmax"]["variant"])
    for kind, offset in (("density", 0.12), ("softmax", -0.12)):
        rows = [variants.index(v) + offset * (v in two) for v in drawn[kind]["variant"]]
        _draw(shares, rows, drawn[kind], kind, "share")
    _draw(
        nats, [variants.index(v) for v in drawn["gaussian"]["variant"]], drawn["gaussian"], "gaussian", "nats"
    )
    shares.set(xlabel="share of the largest possible entropy (0 to 1)", xlim=(-0.03, 1.03))
    nats.set(xlabel="differential entropy (nats)")
    nats.ticklabel_format(axis="x", useOffset=False)
    low, high = nats.get_xlim()
    if (short := _LEAST_NATS - (high - low)) > 0:  # heads that hardly differ are to look like it
        nats.set_xlim(low - short / 2, high + short / 2)
    shares.set_yticks(range(len(variants)), labels)
    shares.set_ylim(-0.6, max(1, len(variants)) - 0.4)
    add_title(figure, title)
    handles = [handle for axes in (shares, nats) for handle in axes.get_legend_handles_labels()[0]]
    if handles:
        figure.legend(handles=handles, loc="outside lower center", ncols=3, frameon=False, fontsize="small")
    for axes in (shares, nats):
        axes.grid(axis="x", alpha=0.3)
    return figure


def _draw(axes: Axes, rows: Sequence[float], part: pd.DataFrame, kind: str, unit: str) -> None:
    colour, marker = _COLOURS[kind]
    mean, low, high = (part[f"{name}_{unit}"].to_numpy(dtype=float) for name in ("mean", "low", "high"))
    if len(rows):
        axes.hlines(rows, low, high, color=colour, linewidth=1.5)
        axes.plot(mean, rows, marker, color=colour, label=_LABELS[kind])
