"""The entropies of trained heads as one figure a cache."""

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from daam_bench.analysis.aggregate import title_of

_COLOURS = {"density": ("#0072B2", "o"), "softmax": ("#D55E00", "s"), "gaussian": ("#009E73", "^")}
_LABELS = {
    "density": "density, normalised over a head's layers",
    "softmax": "softmax attention",
    "gaussian": "Gaussian of a density head (differential)",
}


def plot_entropies(entropies: pd.DataFrame, title: str) -> Figure:
    """Draw entropies: on the left shares of the maximum, on the right the Gaussians', which have none.

    Points are means over heads and runs, thick whiskers the lowest and highest mean of a head (left: none),
    thin ones the 5 % and 95 % quantiles within a head.

    Args:
        entropies: rows of `tables.entropy.entropy_frame` of one cache.
        title: heading.
    """
    variants = list(dict.fromkeys(entropies["variant"]))[::-1]
    figure = Figure(figsize=(9, 2.2 + 0.34 * max(1, len(variants))), layout="constrained")
    shares, nats = figure.subplots(1, 2, sharey=True, width_ratios=(3, 2))
    for kind, offset in (("density", 0.12), ("softmax", -0.12)):
        part = entropies[entropies["entropy"] == kind]
        _draw(shares, part, variants, kind, [f"{name}_share" for name in ("mean", "low", "high")], offset)
    part = entropies[entropies["entropy"] == "gaussian"]
    _draw(nats, part, variants, "gaussian", [f"{name}_nats" for name in ("mean", "low", "high")], 0.0)
    shares.set(xlabel="share of the largest possible entropy", xlim=(-0.03, 1.03))
    nats.set(xlabel="differential entropy (nats)")
    shares.set_yticks(range(len(variants)), [title_of(variant) for variant in variants])
    shares.set_ylim(-0.6, max(1, len(variants)) - 0.4)
    figure.suptitle(title, fontsize="medium")
    handles = [handle for axes in (shares, nats) for handle in axes.get_legend_handles_labels()[0]]
    if handles:
        figure.legend(handles=handles, loc="outside lower center", ncols=3, frameon=False, fontsize="small")
    for axes in (shares, nats):
        axes.grid(axis="x", alpha=0.3)
    return figure


def _draw(
    axes: Axes, part: pd.DataFrame, variants: list[str], kind: str, columns: list[str], offset: float
) -> None:
    colour, marker = _COLOURS[kind]
    rows = [variants.index(variant) + offset for variant in part["variant"]]
    mean, low, high = (part[column].to_numpy(dtype=float) for column in columns)
    if rows:
        axes.hlines(rows, low, high, color=colour, linewidth=1.5)
        axes.plot(mean, rows, marker, color=colour, label=_LABELS[kind])
