"""Figures: every function takes labelled values and returns a figure; no statistics in here."""

import io
from collections.abc import Sequence
from itertools import groupby
from pathlib import Path

import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from daam_bench.analysis.aggregate import read_all, replica_frame, summary_frame, title_of
from daam_bench.analysis.importance import (
    Map,
    importance_factor,
    layer_contribution,
    mean_density,
    read_density,
)
from daam_bench.records import RunRecord, write_atomically

mpl.use("Agg")
_BLUE, _ORANGE, _GREY = "#0072B2", "#D55E00", "#666666"


def plot_importance(importance: Map, title: str) -> Figure:
    """Draw a heatmap of the Importance Factor [layer, feature]: layer 1 at the bottom, scale 0 to 1."""
    layers, features = importance.shape
    figure = Figure(figsize=(8, max(2.6, 1.6 + 0.12 * layers)), layout="constrained")
    axes = figure.subplots()
    extent = (-0.5, features - 0.5, 0.5, layers + 0.5)
    image = axes.imshow(
        importance,
        origin="lower",
        aspect="auto",
        extent=extent,
        cmap="cividis",
        vmin=0,
        vmax=1,
        interpolation="nearest",
    )
    axes.set(xlabel="feature (index)", ylabel="layer (1 = first)", title=title)
    axes.yaxis.set_major_locator(MaxNLocator(min(layers, 12), integer=True, min_n_ticks=1))
    figure.colorbar(image, ax=axes, label="Importance Factor (0 to 1)")
    return figure


def plot_layer_contribution(contributions: Map, title: str) -> Figure:
    """Draw each layer's share of the density; `contributions` is [run, layer] in percent.

    Bars are means over runs, whiskers the population standard deviation.
    """
    layers = contributions.shape[1]
    figure = Figure(figsize=(max(5.0, 1.5 + 0.22 * layers), 3.4), layout="constrained")
    axes = figure.subplots()
    numbers = np.arange(1, layers + 1)
    axes.bar(
        numbers,
        contributions.mean(axis=0),
        yerr=contributions.std(axis=0),
        color=_BLUE,
        ecolor=_GREY,
        capsize=2,
    )
    axes.axhline(100 / layers, color=_ORANGE, linewidth=1, linestyle="--", label="equal shares")
    axes.set(xlabel="layer (1 = first)", ylabel="share of the density (%)", title=title)
    axes.xaxis.set_major_locator(MaxNLocator(min(layers, 20), integer=True, min_n_ticks=1))
    axes.legend(loc="lower right", framealpha=1)
    return figure


def plot_accuracy(summary: pd.DataFrame, title: str) -> Figure:
    """Draw mean accuracies with their intervals, one row a variant; baselines are lines across.

    Args:
        summary: rows of `aggregate.summary_frame` of one cache.
        title: heading.
    """
    trained = summary[summary["kind"] == "attention"].iloc[::-1]
    figure = Figure(figsize=(8, 1.6 + 0.34 * len(trained)), layout="constrained")
    axes = figure.subplots()
    means = trained["mean_percent"].to_numpy()
    whiskers = [means - trained["low_percent"].to_numpy(), trained["high_percent"].to_numpy() - means]
    known = ~np.isnan(whiskers[0])
    rows = np.arange(len(trained))
    if known.any():
        spans = [np.clip(side[known], 0, None) for side in whiskers]
        axes.errorbar(means[known], rows[known], xerr=spans, fmt="none", ecolor=_BLUE, capsize=3)
    axes.plot(means, rows, "o", color=_BLUE)
    baselines = summary[summary["kind"] == "baseline"]
    for style, (_, row) in zip(("--", ":"), baselines.iterrows(), strict=False):
        axes.axvline(row["mean_percent"], color=_ORANGE, linestyle=style, label=row["title"])
    axes.set(xlabel="accuracy (%), mean and 95 % interval over folds and seeds", title=title)
    axes.set_yticks(rows, trained["title"])
    axes.set_ylim(-0.6, len(trained) - 0.4)
    axes.grid(axis="x", alpha=0.3)
    if len(baselines):
        figure.legend(loc="outside lower center", ncols=2, frameon=False)
    return figure


def write_figures(folders: Sequence[Path], out: Path) -> list[Path]:
    """Draw all figures of the records of variant folders; return the paths.

    Raises:
        RecordError: if a record is missing or damaged.
    """
    paths = []
    places = {
        (record.dataset, record.encoder, record.variant): folder
        for folder in folders
        for record in read_all([folder])
    }
    by_cache = groupby(read_all(folders), key=lambda record: (record.dataset, record.encoder))
    for (dataset, encoder), group in by_cache:
        records = list(group)
        heading = f"{dataset} x {encoder}"
        figure = plot_accuracy(summary_frame(replica_frame(records)), f"Accuracy: {heading}")
        paths += save_figure(figure, out / f"accuracy_{dataset}_{encoder}")
        for variant, runs in groupby(records, key=lambda record: record.variant):
            folder = places[dataset, encoder, variant]
            paths += _write_density(list(runs), folder, out, f"{title_of(variant)}, {heading}")
    return paths


def _write_density(runs: list[RunRecord], folder: Path, out: Path, heading: str) -> list[Path]:
    """Draw the two pictures of a density variant; none for the others."""
    if not (folder / f"{runs[0].stem}.density.npz").exists():
        return []
    densities = [read_density(folder, run) for run in runs]
    name = f"{runs[0].dataset}_{runs[0].encoder}_{runs[0].variant}"
    over = f"mean of {len(runs)} runs"
    importance = plot_importance(importance_factor(mean_density(densities)), f"{heading} ({over})")
    shares = np.stack([layer_contribution(density) for density in densities])
    contribution = plot_layer_contribution(shares, heading)
    return save_figure(importance, out / f"importance_{name}") + save_figure(
        contribution, out / f"layer_contribution_{name}"
    )


def save_figure(figure: Figure, stem: Path) -> list[Path]:
    """Write PNG and PDF without dates, so that equal results give equal files."""
    paths = []
    for ending, metadata in (("png", {"Software": None}), ("pdf", {"CreationDate": None, "Producer": None})):
        buffer = io.BytesIO()
        figure.savefig(buffer, format=ending, dpi=150, metadata=metadata)
        path = stem.with_name(f"{stem.name}.{ending}")
        write_atomically(path, buffer.getvalue())
        paths.append(path)
    return paths
