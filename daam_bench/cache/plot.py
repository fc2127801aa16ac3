"""Pictures of a cache: norms and spread of every layer, and samples of a layer by class."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.collections import PathCollection
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullFormatter

from daam_bench.cache.drawing import add_title, fitted, layer_ticks, width_of
from daam_bench.cache.inspect import describe_cache
from daam_bench.cache.reader import EmbeddingCache, open_cache
from daam_bench.errors import CacheError, ConfigError

# Okabe and Ito's colours, told apart by colour-blind readers, then other marks.
_COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#F0E442", "#000000")
_MARKS = "os^Dv<>P"
_MOST_CLASSES, _MOST_POINTS = 24, 3000
_POINTS = 8.0  # of the names in legends
_LONGEST_NAME, _HANDLE = 4.3, 0.55  # inches: a line of a name, and what stands beside it


@dataclass(frozen=True)
class Samples:
    """Samples of one layer on two principal components.

    Attributes:
        layer: its number, from 1.
        points: [sample, component].
        labels: class of each sample.
        shares: of the variance that each component has.
    """

    layer: int
    points: npt.NDArray[np.float64]
    labels: npt.NDArray[np.int64]
    shares: npt.NDArray[np.float64]


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
    title = f"{cache.layout.attributes['dataset']} through {cache.layout.attributes['encoder']}"
    statistics = describe_cache(path, 0)["layer_statistics"]
    figure = draw_cache(title, statistics, _samples_of(cache, layer), cache.class_names)
    target.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(target, dpi=150)
    return target


def draw_cache(
    title: str, statistics: Sequence[Mapping[str, float]], samples: Samples, class_names: Sequence[str]
) -> Figure:
    """Draw the statistics of all layers and the samples of one, the classes named below.

    Args:
        title: heading.
        statistics: `layer`, `mean_norm` and `standard_deviation` of each layer.
        samples: of one layer.
        class_names: names by label.
    """
    figure = Figure(figsize=(10, 4.2), layout="constrained")
    left, right = figure.subplots(1, 2)
    _draw_layers(left, statistics)
    handles = _draw_samples(right, samples, min(len(class_names), _MOST_CLASSES))
    _name_classes(figure, handles, class_names)
    add_title(figure, _plain(title))
    return figure


def _draw_layers(axes: Axes, statistics: Sequence[Mapping[str, float]]) -> None:
    layers = [row["layer"] for row in statistics]
    marks = (
        ("mean_norm", "mean L2 norm of a sample", "o"),
        ("standard_deviation", "standard deviation", "s"),
    )
    for colour, (key, label, mark) in zip(_COLOURS, marks, strict=False):
        axes.plot([row[key] for row in statistics], layers, color=colour, marker=mark, label=label)
    axes.set(xlabel="value (logarithmic)", ylabel="layer (1 = first)", xscale="log")
    # Within few decades also twice and five times their beginnings; the usual labels would overlap.
    low, high = axes.get_xlim()
    axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5) if high < 1000 * low else (1,), numticks=12))
    axes.xaxis.set_major_formatter("{x:g}")
    axes.xaxis.set_minor_formatter(NullFormatter())
    axes.set_yticks(layer_ticks(len(layers), most=12))
    axes.legend(loc="lower center", bbox_to_anchor=(0.5, 1), ncols=2, frameon=False, fontsize=_POINTS)


def _draw_samples(axes: Axes, samples: Samples, classes: int) -> list[PathCollection]:
    """Draw the samples of the first classes; return the points of each."""
    handles = []
    for index in range(classes):
        first, second = samples.points[samples.labels == index].T
        colour, mark = _COLOURS[index % len(_COLOURS)], _MARKS[index // len(_COLOURS) % len(_MARKS)]
        handles.append(axes.scatter(first, second, s=9, alpha=0.6, color=colour, marker=mark, linewidths=0))
    axes.set(
        xlabel=f"first component ({samples.shares[0]:.0%} of the variance)",
        ylabel=f"second component ({samples.shares[1]:.0%})",
        title=f"Layer {samples.layer}: {len(samples.points)} samples",
    )
    return handles


def _name_classes(figure: Figure, handles: Sequence[PathCollection], class_names: Sequence[str]) -> None:
    """Write the names of the classes that are drawn below a figure, which grows by them."""
    labels = [fitted(name, _LONGEST_NAME, _POINTS) for name in class_names[: len(handles)]]
    width, height = figure.get_size_inches()
    widest = max(width_of(line, _POINTS) for label in labels for line in label.split("\n"))
    columns = max(1, int(width / (widest + _HANDLE)))
    rows, lines = -(-len(labels) // columns), max(1 + label.count("\n") for label in labels)
    more = len(class_names) > len(labels)
    figure.set_size_inches(width, height + 0.06 * (rows + 1) + 0.14 * (rows * lines + more))
    figure.legend(
        handles,
        [_plain(label) for label in labels],
        loc="outside lower center",
        ncols=columns,
        frameon=False,
        markerscale=2,
        fontsize=_POINTS,
        title=f"the first {len(labels)} of {len(class_names)} classes" if more else None,
        title_fontsize=_POINTS,
    )


def _plain(text: str) -> str:
    """Return a text without formulas, which two $ would begin and end."""
    return text.replace("$", r"\$")


def _samples_of(cache: EmbeddingCache, layer: int) -> Samples:
    """Return evenly spread samples of a layer on its two principal components."""
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
    return Samples(layer, model.transform(values), np.concatenate(labels), model.explained_variance_ratio_)
