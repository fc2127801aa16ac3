"""Pictures of a cache: norms and spread of every layer, and samples of a layer by class."""

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from matplotlib.figure import Figure

from daam_bench.cache.inspect import describe_cache
from daam_bench.cache.reader import EmbeddingCache, open_cache
from daam_bench.errors import CacheError, ConfigError

# Okabe and Ito's colours, told apart by colour-blind readers, then other marks.
_COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#F0E442", "#000000")
_MARKS = "os^Dv<>P"
_MOST_CLASSES, _MOST_POINTS = 24, 3000


def plot_cache(path: Path, target: Path, layer: int | None = None) -> Path:
    """Draw a cache into one PNG or PDF file: left the layers' norms and spread, right one layer's samples.

    Args:
        path: a store, its manifest, or the folder of one.
        target: file to write, .png, .pdf or .svg.
        layer: number of the layer on the right, from 1; None for the middle one.

    Raises:
        CacheError: if there is no finished cache, it is damaged, or has fewer than two usable samples.
        ConfigError: if there is no such layer, or the ending is unknown.
    """
    if target.suffix not in (".png", ".pdf", ".svg"):
        raise ConfigError("unknown format", where=target, expected="a file ending in .png, .pdf or .svg")
    cache = open_cache(path)
    count = cache.layout.layers
    layer = (count + 1) // 2 if layer is None else layer
    if not 1 <= layer <= count:
        raise ConfigError("no such layer", where=path, expected=f"1 to {count}", found=layer)
    figure = Figure(figsize=(10, 4.2), layout="constrained")
    left, right = figure.subplots(1, 2)
    _draw_layers(left, describe_cache(path, 0)["layer_statistics"])
    _draw_samples(right, cache, layer)
    figure.suptitle(f"{cache.layout.attributes['dataset']} through {cache.layout.attributes['encoder']}")
    target.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(target, dpi=150)
    return target


def _draw_layers(axes: Any, statistics: list[dict[str, float]]) -> None:
    layers = [row["layer"] for row in statistics]
    marks = (
        ("mean_norm", "mean L2 norm of a sample", "o"),
        ("standard_deviation", "standard deviation", "s"),
    )
    for colour, (key, label, mark) in zip(_COLOURS, marks, strict=False):
        axes.plot([row[key] for row in statistics], layers, color=colour, marker=mark, label=label)
    axes.set(xlabel="value (logarithmic)", ylabel="layer (1 = first)", xscale="log", title="Layers")
    axes.locator_params(axis="y", integer=True, nbins=12)
    axes.legend(frameon=False)


def _draw_samples(axes: Any, cache: EmbeddingCache, layer: int) -> None:
    points, labels, share = _principal_components(cache, layer)
    for index, name in enumerate(cache.class_names[:_MOST_CLASSES]):
        chosen = points[labels == index]
        colour, mark = _COLOURS[index % len(_COLOURS)], _MARKS[index // len(_COLOURS) % len(_MARKS)]
        # Two $ in a label would begin and end a formula.
        axes.scatter(
            *chosen.T, s=9, alpha=0.6, color=colour, marker=mark, linewidths=0, label=name.replace("$", r"\$")
        )
    axes.set(
        xlabel=f"first component ({share[0]:.0%} of the variance)",
        ylabel=f"second component ({share[1]:.0%})",
        title=f"Layer {layer}: {len(points)} samples",
    )
    more = len(cache.class_names) - _MOST_CLASSES
    title = f"and {more} more classes" if more > 0 else None
    axes.legend(
        frameon=False, markerscale=2, fontsize="small", title=title, ncols=1 + (len(cache.class_names) > 8)
    )


def _principal_components(
    cache: EmbeddingCache, layer: int
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.int64], npt.NDArray[np.float64]]:
    """Return two components [sample, 2], labels and shares of variance of evenly spread samples."""
    from sklearn.decomposition import PCA

    step = max(1, -(-cache.layout.samples // _MOST_POINTS))
    parts, labels = [], []
    for rows, block in cache.iter_chunks():
        numbers = np.arange(rows.start, rows.stop)
        kept = (numbers % step == 0) & np.isfinite(block[:, layer - 1]).all(axis=1)
        parts.append(block[kept, layer - 1].astype(np.float64))
        labels.append(np.asarray(cache.layout.labels, dtype=np.int64)[numbers[kept]])
    values = np.concatenate(parts)
    if min(values.shape) < 2:
        raise CacheError("two components need two samples and two features", where=cache.path)
    model = PCA(2, random_state=0).fit(values)
    return model.transform(values), np.concatenate(labels), model.explained_variance_ratio_
