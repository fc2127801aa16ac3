"""The ablation curve: score over the number of layers that are kept."""

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from daam_bench.analysis.drawing import BLUE, GREY, ORANGE, add_title, score_name

# Label, colour, marker, and on which side of the number, so that intervals do not hide each other.
_STYLES = {
    "top": ("highest importance", BLUE, "o", -1),
    "bottom": ("lowest importance", ORANGE, "s", 1),
    "random": ("random", GREY, "^", 0),
}


def score_limits(curve: pd.DataFrame) -> tuple[float, float]:
    """Return the scale in percent that holds all means and intervals, for curves that are compared.

    Args:
        curve: rows of `layer_ablation.ablation_curve`, of all variants of a cache.
    """
    values = curve[["mean_percent", "mean_low_percent", "mean_high_percent"]].to_numpy(dtype=float)
    low, high = np.nanmin(values), np.nanmax(values)
    margin = max(0.5, 0.04 * (high - low))
    return float(np.floor(low - margin)), float(np.ceil(high + margin))


def _beside(kept: "pd.Series[int]") -> float:
    """Return how far sides stand apart: a little of the picture, and never so far as to seem another size."""
    sizes = np.unique(kept[kept > 0])
    nearest = float(np.diff(sizes).min()) if len(sizes) > 1 else 1.0
    return min(0.012 * max(5.0, float(kept.max())), 0.1 * nearest)


def plot_ablation_curve(curve: pd.DataFrame, title: str, limits: tuple[float, float] | None = None) -> Figure:
    """Draw mean scores with their intervals over k; all layers are a line across.

    Args:
        curve: rows of `layer_ablation.ablation_curve` of one cache and variant, blocks or single layers; its
            column `metric`, if there is one, names the score.
        title: heading.
        limits: `score_limits` of all curves that this one is compared with; by default its own.
    """
    figure = Figure(figsize=(7.0, 4.2), layout="constrained")
    axes = figure.subplots()
    beside = _beside(curve["layers_kept"])
    for side, (label, colour, marker, shift) in _STYLES.items():
        rows = curve[curve["side"] == side].sort_values("layers_kept")
        if rows.empty:
            continue
        means = rows["mean_percent"]
        below, above = means - rows["mean_low_percent"], rows["mean_high_percent"] - means
        # One run has no interval: a bar of no length.
        spans = [below.fillna(0).clip(lower=0), above.fillna(0).clip(lower=0)]
        places = rows["layers_kept"] + shift * beside
        axes.errorbar(places, means, yerr=spans, color=colour, marker=marker, capsize=3, label=label)
    for mean in curve.loc[curve["side"] == "all", "mean_percent"]:
        axes.axhline(mean, color="black", linestyle="--", linewidth=1, label="all layers")
    axes.set(xlabel="layers kept (number)", ylabel=f"{score_name(curve)}, mean and 95 % interval")
    axes.set_ylim(limits or score_limits(curve))
    axes.xaxis.set_major_locator(MaxNLocator(12, integer=True, min_n_ticks=1))
    room = max(0.5, 0.036 * curve["layers_kept"].max())
    axes.set_xlim(1 - room, curve["layers_kept"].max() + room)
    axes.grid(axis="y", alpha=0.3)
    figure.legend(loc="outside lower center", ncols=4, frameon=False)
    add_title(figure, title)
    return figure
