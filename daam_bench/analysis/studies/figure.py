"""The ablation curve: accuracy over the number of layers that are kept."""

import pandas as pd
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

_STYLES = {
    "top": ("highest importance", "#0072B2", "o", -0.06),
    "bottom": ("lowest importance", "#D55E00", "s", 0.06),
    "random": ("random", "#666666", "^", 0.0),
}


def plot_ablation_curve(curve: pd.DataFrame, title: str) -> Figure:
    """Draw mean accuracies with their intervals over k; all layers are a line across.

    Args:
        curve: rows of `layer_ablation.ablation_curve` of one cache and variant, blocks or single layers.
        title: heading.
    """
    figure = Figure(figsize=(6.4, 4.0), layout="constrained")
    axes = figure.subplots()
    for side, (label, colour, marker, shift) in _STYLES.items():
        rows = curve[curve["side"] == side].sort_values("layers_kept")
        if rows.empty:
            continue
        means = rows["mean_percent"]
        below, above = means - rows["mean_low_percent"], rows["mean_high_percent"] - means
        # One run has no interval: a bar of no length.
        spans = [below.fillna(0).clip(lower=0), above.fillna(0).clip(lower=0)]
        places = rows["layers_kept"] + shift
        axes.errorbar(places, means, yerr=spans, color=colour, marker=marker, capsize=3, label=label)
    for mean in curve.loc[curve["side"] == "all", "mean_percent"]:
        axes.axhline(mean, color="black", linestyle="--", linewidth=1, label="all layers")
    axes.set(xlabel="layers kept (number)", ylabel="accuracy (%), mean and 95 % interval", title=title)
    axes.xaxis.set_major_locator(MaxNLocator(12, integer=True, min_n_ticks=1))
    axes.margins(x=0.1)
    axes.grid(axis="y", alpha=0.3)
    figure.legend(loc="outside lower center", ncols=4, frameon=False)
    return figure
