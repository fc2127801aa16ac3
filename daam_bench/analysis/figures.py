"""Figures: every function takes labelled values and returns a figure; no statistics in here."""

import io
from collections.abc import Mapping, Sequence
from itertools import groupby
from pathlib import Path

import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from daam_bench.analysis.aggregate import replica_frame, summary_frame, title_of
from daam_bench.analysis.drawing import (
    BLUE,
    GREY,
    ORANGE,
    add_title,
    layer_ticks,
    round_up,
    row_labels,
    score_name,
)
from daam_bench.analysis.entropy_figure import plot_entropies
from daam_bench.analysis.importance import (
    Map,
    has_density,
    importance_factor,
    layer_contribution,
    mean_density,
    read_density,
)
from daam_bench.analysis.stability import importance_spread
from daam_bench.analysis.tables.base import Results
from daam_bench.analysis.tables.entropy import entropy_frame
from daam_bench.records import RunRecord, write_atomically

mpl.use("Agg")

# So many features have a column of pixels each, at the resolution of `save_figure`.
_MOST_COLUMNS = 800
_ROWS_A_LAYER = 8


def plot_importance(importance: Map, title: str) -> Figure:
    """Draw a heatmap of the Importance Factor [layer, feature]: layer 1 at the bottom, scale 0 to 1."""
    return _heatmap(importance, title, 1.0, "cividis", "Importance Factor (0 to 1)")


def plot_importance_spread(spread: Map, title: str, most: float) -> Figure:
    """Draw a heatmap of the variation over runs [layer, feature]: layer 1 at the bottom, scale 0 to `most`.

    `most` is to be equal for all variants of a cache, so that their pictures can be compared.
    """
    return _heatmap(spread, title, most, "magma", "standard deviation of the\nImportance Factor over runs")


def _heatmap(values: Map, title: str, most: float, colours: str, label: str) -> Figure:
    layers, features = values.shape
    # A picture has fewer columns than large encoders have features: they are averaged, not skipped, so that
    # no single feature vanishes. The same filter would blur neighbouring layers, hence their repetition.
    wide = features > _MOST_COLUMNS
    figure = Figure(figsize=(8, max(2.8, 1.6 + 0.12 * layers)), layout="constrained")
    axes = figure.subplots()
    image = axes.imshow(
        np.repeat(values, _ROWS_A_LAYER, axis=0) if wide else values,
        origin="lower",
        aspect="auto",
        extent=(-0.5, features - 0.5, 0.5, layers + 0.5),
        cmap=colours,
        vmin=0,
        vmax=most,
        interpolation="antialiased" if wide else "nearest",
    )
    axes.set(xlabel="feature (index)", ylabel="layer (1 = first)")
    axes.set_yticks(layer_ticks(layers, most=12))
    figure.colorbar(image, ax=axes, label=label)
    add_title(figure, title)
    return figure


def plot_layer_contribution(contributions: Map, title: str, most: float) -> Figure:
    """Draw each layer's share of the density; `contributions` is [run, layer] in percent.

    Bars are means over runs, whiskers the population standard deviation. The scale is 0 to `most`, which is
    to be equal for all variants of a cache, so that their pictures can be compared.
    """
    layers = contributions.shape[1]
    figure = Figure(figsize=(max(8.0, 1.5 + 0.22 * layers), 3.4), layout="constrained")
    axes = figure.subplots()
    axes.bar(
        np.arange(1, layers + 1),
        contributions.mean(axis=0),
        yerr=contributions.std(axis=0),
        color=BLUE,
        ecolor=GREY,
        capsize=2,
    )
    axes.axhline(100 / layers, color=ORANGE, linewidth=1, linestyle="--", label="equal shares")
    axes.set(xlabel="layer (1 = first)", ylabel="share of the density (%)", ylim=(0, most))
    axes.set_xticks(layer_ticks(layers, most=24))
    figure.legend(loc="outside lower center", frameon=False)
    add_title(figure, title)
    return figure


def plot_accuracy(summary: pd.DataFrame, title: str) -> Figure:
    """Draw mean scores with their intervals, one row a variant; baselines are lines across.

    Args:
        summary: rows of `aggregate.summary_frame` of one cache.
        title: heading.
    """
    trained = summary[summary["kind"] != "baseline"].iloc[::-1]
    labels, height = row_labels(list(trained["title"]))
    figure = Figure(figsize=(8, 1.7 + height), layout="constrained")
    axes = figure.subplots()
    means = trained["mean_percent"].to_numpy()
    whiskers = [means - trained["low_percent"].to_numpy(), trained["high_percent"].to_numpy() - means]
    known = ~np.isnan(whiskers[0])
    rows = np.arange(len(trained))
    if known.any():
        spans = [np.clip(side[known], 0, None) for side in whiskers]
        axes.errorbar(means[known], rows[known], xerr=spans, fmt="none", ecolor=BLUE, capsize=3)
    axes.plot(means, rows, "o", color=BLUE)
    baselines = summary[summary["kind"] == "baseline"]
    for style, (_, row) in zip(("--", ":"), baselines.iterrows(), strict=False):
        axes.axvline(row["mean_percent"], color=ORANGE, linestyle=style, label=row["title"])
    unit = "folds" if (trained["folds"] > 1).any() else "seeds"
    axes.set(xlabel=f"{score_name(summary)}, mean and 95 % interval over {unit}")
    axes.set_yticks(rows, labels)
    axes.set_ylim(-0.6, len(trained) - 0.4)
    axes.grid(axis="x", alpha=0.3)
    if len(baselines):
        figure.legend(loc="outside lower center", ncols=2, frameon=False)
    add_title(figure, title)
    return figure


def write_figures(folders: Sequence[Path], out: Path) -> list[Path]:
    """Draw all figures of the records of variant folders; return the paths.

    Raises:
        RecordError: if a record is missing or damaged.
    """
    results, paths = Results(folders), []
    entropies = entropy_frame(results)
    for (dataset, encoder), group in groupby(results.records, key=lambda r: (r.dataset, r.encoder)):
        records = list(group)
        heading = f"{dataset} x {encoder}"
        figure = plot_accuracy(summary_frame(replica_frame(records)), f"Scores: {heading}")
        paths += save_figure(figure, out / f"accuracy_{dataset}_{encoder}")
        here = entropies[(entropies["dataset"] == dataset) & (entropies["encoder"] == encoder)]
        figure = plot_entropies(here, f"How broadly trained heads attend: {heading}")
        paths += save_figure(figure, out / f"entropy_{dataset}_{encoder}")
        paths += _write_densities(results, records, out, heading)
    return paths


def _write_densities(results: Results, records: Sequence[RunRecord], out: Path, heading: str) -> list[Path]:
    """Draw the pictures of every density variant of one cache; none for the others."""
    densities: dict[str, list[Map]] = {}
    for variant, group in groupby(records, key=lambda record: record.variant):
        runs = list(group)
        folder = results.places[runs[0].dataset, runs[0].encoder, variant]
        if has_density(folder, runs[0]):
            densities[variant] = [read_density(folder, run) for run in runs]
    place = f"{records[0].dataset}_{records[0].encoder}"
    return [
        path
        for (kind, variant), figure in density_figures(densities, heading).items()
        for path in save_figure(figure, out / f"{kind}_{place}_{variant}")
    ]


def density_figures(densities: Mapping[str, Sequence[Map]], heading: str) -> dict[tuple[str, str], Figure]:
    """Return the pictures of the density variants of one cache, by kind and variant.

    Each kind has one scale for all variants.

    Args:
        densities: one map [layer, feature] a run, by variant.
        heading: dataset and encoder.
    """
    spreads = {variant: importance_spread(maps) for variant, maps in densities.items()}
    shares = {
        variant: np.stack([layer_contribution(density) for density in maps])
        for variant, maps in densities.items()
    }
    # A standard deviation of importance is at most 0.5; whiskers of shares end at mean + deviation.
    widest = round_up(max((spread.max() for spread in spreads.values()), default=0.0), 0.05)
    ends = [(share.mean(axis=0) + share.std(axis=0)).max() for share in shares.values()]
    highest = round_up(1.02 * max(ends, default=0.0), 5.0)
    figures = {}
    for variant, maps in densities.items():
        title = f"{title_of(variant)}, {heading} ({len(maps)} runs)".replace("(1 runs)", "(one run)")
        importance = importance_factor(mean_density(maps))
        figures["importance", variant] = plot_importance(importance, f"Importance: {title}")
        figures["importance_spread", variant] = plot_importance_spread(
            spreads[variant], f"Spread of importance over runs: {title}", widest
        )
        figures["layer_contribution", variant] = plot_layer_contribution(
            shares[variant], f"Shares of layers: {title}", highest
        )
    return figures


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
