from itertools import combinations, pairwise

import numpy as np
import pandas as pd
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg

from daam_bench.adapters.presets import ENCODER_VARIANTS
from daam_bench.analysis.aggregate import (
    BASELINE_TITLES,
    read_all,
    replica_frame,
    summary_frame,
    title_of,
)
from daam_bench.analysis.drawing import layer_ticks
from daam_bench.analysis.entropy_figure import plot_entropies
from daam_bench.analysis.figures import (
    density_figures,
    plot_accuracy,
    plot_importance,
    plot_importance_spread,
    plot_layer_contribution,
    write_figures,
)
from daam_bench.analysis.names import DENSITY_FIGURES, figure_names
from daam_bench.analysis.studies.figure import plot_ablation_curve, score_limits
from daam_bench.analysis.tables import Results
from daam_bench.analysis.tables.entropy import entropy_frame
from daam_bench.cache.plot import Samples, draw_cache
from daam_bench.heads.presets import VARIANTS


def test_layer_one_is_at_the_bottom_and_the_scale_is_fixed():
    importance = np.zeros((5, 13))
    importance[0] = 1
    axes, bar = plot_importance(importance, "t").axes
    (image,) = axes.images
    bottom, top = axes.get_ylim()
    assert (bottom, top) == (0.5, 5.5)
    assert image.origin == "lower"
    assert image.get_array()[0].tolist() == [1] * 13
    assert image.get_clim() == (0, 1)
    assert bar.get_ylabel() == "Importance Factor (0 to 1)"


@pytest.mark.parametrize("features", [384, 800, 1280, 5120])
@pytest.mark.parametrize("layers", [6, 40])
def test_a_single_feature_never_vanishes_from_a_heatmap(features, layers):
    spikes = np.arange(features // 40, features - features // 40, features // 60)
    importance = np.zeros((layers, features))
    importance[2, spikes] = 1
    picture = pixels(plot_importance(importance, "t"))
    assert picture.shape[1] > 800  # up to so many features every one has a column of pixels
    # The layer in the middle of its stripe: as many bright places as there are spikes.
    row = picture[round(picture.shape[0] * (1 - 2.5 / layers))]
    bright = row > row.min() + 0.12 * np.ptp(picture)
    assert np.count_nonzero(np.diff(bright.astype(int)) == 1) == len(spikes)
    beside = picture[round(picture.shape[0] * (1 - 3.5 / layers))]
    assert np.ptp(beside) == 0


def pixels(figure):
    """Return the brightness of the first axes as `save_figure` draws them, [row, column]."""
    figure.set_dpi(150)
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    whole = np.asarray(canvas.buffer_rgba())[..., :3].astype(float).sum(axis=2)
    box = figure.axes[0].get_window_extent()
    rows = slice(whole.shape[0] - int(box.y1) + 3, whole.shape[0] - int(box.y0) - 3)
    return whole[rows, int(box.x0) + 3 : int(box.x1) - 2]


def test_pictures_of_a_variant_say_what_they_show():
    titles = {f._suptitle.get_text() for f in density_figures({"daam_v1": densities(6)}, "here").values()}
    assert len(titles) == 3
    assert all("DAAMv1, here (3 runs)" in " ".join(title.split()) for title in titles)


@pytest.mark.parametrize("sizes", [(1, 2, 3), tuple(range(1, 40)), (2, 20, 40), (5,)])
def test_sides_of_a_curve_stay_at_their_size(sizes):
    rows = curve(max(sizes) + 1)
    (axes,) = plot_ablation_curve(rows[rows["layers_kept"].isin((0, *sizes))], "t").axes
    step = min((b - a for a, b in pairwise(sizes)), default=1)
    places = np.concatenate([line.get_xdata() for line in axes.lines if len(line.get_xdata()) == len(sizes)])
    off = np.abs(places[:, None] - np.array(sizes)).min(axis=1)
    assert 0 < off.max() < 0.12 * step


def test_contribution_bars_are_means_over_runs():
    shares = np.array([[10.0, 30.0, 60.0], [20.0, 30.0, 50.0]])
    (axes,) = plot_layer_contribution(shares, "t", 70).axes
    assert [bar.get_height() for bar in axes.patches] == [15, 30, 55]
    assert [round(bar.get_x() + bar.get_width() / 2) for bar in axes.patches] == [1, 2, 3]
    assert axes.get_ylabel() == "share of the density (%)"


def densities(layers, scale=1.0):
    rng = np.random.default_rng(layers)
    return [scale * rng.gamma(2, 1, (layers, 13)) for _ in range(3)]


def test_pictures_of_compared_variants_have_one_scale():
    even = [np.ones((5, 7)), np.ones((5, 7))]
    uneven = [np.arange(35.0).reshape(5, 7), np.arange(35.0)[::-1].reshape(5, 7)]
    figures = density_figures({"daam_v1": even, "daam_v2": uneven}, "here")
    shares, spreads = (
        [figures[kind, variant].axes[0] for variant in ("daam_v1", "daam_v2")]
        for kind in ("layer_contribution", "importance_spread")
    )
    # The last layer has 217 of 595 in one run and 21 in the other: mean and deviation end at 36.5 %.
    assert [axes.get_ylim() for axes in shares] == [(0, 40)] * 2
    assert [axes.images[0].get_clim() for axes in spreads] == [(0, 0.5)] * 2


def test_one_run_of_one_layer_has_a_scale():
    (importance, *_), *_ = [f.axes for f in density_figures({"daam_v1": [np.ones((1, 3))]}, "here").values()]
    assert importance.images[0].get_clim() == (0, 1)


@pytest.mark.parametrize(
    ("layers", "ticks"),
    [
        (1, [1]),
        (6, [1, 2, 3, 4, 5, 6]),
        (24, [1, 4, 6, 8, 10, 12, 14, 16, 18, 20, 22, 24]),
        (40, [1, 5, 10, 15, 20, 25, 30, 35, 40]),
    ],
)
def test_the_first_layer_is_always_named(layers, ticks):
    assert layer_ticks(layers, most=12) == ticks


LONG = "a_module_of_my_own_with_a_name_as_long_as_is_allowed_64_mmmmmmmm"
HEADING = f"{LONG.replace('module', 'dataset')} x {LONG.replace('module', 'encoder')}"


def curve(layers):
    rows = [
        {"side": side, "layers_kept": kept, "mean_percent": mean, "mean_low_percent": mean - 9}
        | {"mean_high_percent": mean + 9}
        for side, mean in (("top", 60.0), ("bottom", 50.0), ("random", 55.0), ("all", 62.0))
        for kept in (range(1, layers) if side != "all" else [0])
    ]
    return pd.DataFrame(rows)


def summary(variants):
    names = dict.fromkeys(variants, "attention") | dict.fromkeys(BASELINE_TITLES, "baseline")
    rows = [
        {"title": title_of(name), "kind": kind, "metric": "balanced_accuracy", "folds": 4}
        | {"mean_percent": 50.0 + row, "low_percent": 40.0 + row, "high_percent": 60.0 + row}
        for row, (name, kind) in enumerate(names.items())
    ]
    return pd.DataFrame(rows)


def entropies(variants):
    values = {f"{what}_{unit}": 0.5 for what in ("mean", "low", "high") for unit in ("share", "nats")}
    kinds = ("density", "softmax", "gaussian")
    return pd.DataFrame([{"variant": v, "entropy": k} | values for v in variants for k in kinds])


MANY = [LONG, *VARIANTS, *ENCODER_VARIANTS]
DRAWN = {
    f"{kind} of {layers} layers": lambda kind=kind, layers=layers: density_figures(
        {"daam_v1": densities(layers)}, HEADING
    )[kind, "daam_v1"]
    for kind in DENSITY_FIGURES
    for layers in (1, 6, 12, 24, 40)
}
DRAWN |= {
    f"curve of {layers} layers": lambda layers=layers: plot_ablation_curve(curve(layers), HEADING)
    for layers in (2, 6, 12, 40)
}
DRAWN |= {
    "scores of many": lambda: plot_accuracy(summary(MANY), HEADING),
    "scores of one": lambda: plot_accuracy(summary(["mha"]), HEADING),
    "entropies of many": lambda: plot_entropies(entropies(MANY), HEADING),
    "entropies of one": lambda: plot_entropies(entropies(["mha"]), HEADING),
    "entropies of none": lambda: plot_entropies(entropies(["mha"]).iloc[:0], HEADING),
}


def cache_picture(layers, names, growth=1.0):
    rng = np.random.default_rng(layers)
    sizes = [1 + growth * n for n in range(layers)]
    statistics = [
        {"layer": n, "mean_norm": 6.0 * size, "standard_deviation": 0.3 * size}
        for n, size in enumerate(sizes, 1)
    ]
    samples = Samples(layers, rng.normal(size=(240, 2)), np.arange(240) % len(names), np.array([0.5, 0.2]))
    return draw_cache(HEADING, statistics, samples, names)


CLASSES = [f"{LONG[:-2]}{number:02}" for number in range(24)]
DRAWN |= {
    "cache of 12 layers": lambda: cache_picture(12, CLASSES),
    "cache of 40 layers": lambda: cache_picture(40, CLASSES),
    "cache of 100 classes": lambda: cache_picture(6, [f"class {number}" for number in range(100)]),
    "cache of words and sentences": lambda: cache_picture(6, ["yes", f"{LONG} $ and {LONG} $"]),
    "cache of two classes": lambda: cache_picture(6, ["yes", "no"]),
    "cache of like layers": lambda: cache_picture(6, ["yes", "no"], growth=0.05),
    "cache of most unlike layers": lambda: cache_picture(40, ["yes", "no"], growth=1000.0),
}


def texts_of(figure):
    """Return the box of every text and legend of a drawn figure, in pixels, by what it says."""
    FigureCanvasAgg(figure).draw()
    found = {"title": figure._suptitle} | {f"legend {n}": legend for n, legend in enumerate(figure.legends)}
    for number, axes in enumerate(figure.axes):
        above = {f"title {number}": axes.title, f"legend of {number}": axes.get_legend()}
        found |= {name: artist for name, artist in above.items() if artist and artist.get_visible()}
        for axis in (axes.xaxis, axes.yaxis):
            low, high = sorted(axis.get_view_interval())
            every = [*axis.get_major_ticks(), *axis.get_minor_ticks()]
            ticks = [tick for tick in every if low <= tick.get_loc() <= high]
            labels = [label for tick in ticks for label in (tick.label1, tick.label2)]
            texts = [text for text in [*labels, axis.label] if text.get_visible() and text.get_text()]
            found |= {f"{axis.axis_name}{number}: {text.get_text()}": text for text in texts}
    return {name: artist.get_window_extent() for name, artist in found.items()}


def test_every_class_of_a_cache_is_named_whatever_its_name_is():
    names = ["_neutral", "", "   ", "$ and $", "a\nb"]
    (legend,) = cache_picture(6, names).legends
    assert [text.get_text() for text in legend.get_texts()] == ["_neutral", "", "", r"\$ and \$", "a b"]
    (legend,) = cache_picture(6, [f"class {number}" for number in range(100)]).legends
    assert legend.get_title().get_text() == "the first 24 of 100 classes"
    assert len(legend.get_texts()) == 24


@pytest.mark.parametrize("name", DRAWN)
@pytest.mark.parametrize("dpi", [100, 150])
def test_no_text_overlaps_another_or_leaves_the_picture(name, dpi):
    figure = DRAWN[name]()
    figure.set_dpi(dpi)
    boxes = texts_of(figure)
    assert len(boxes) >= 5
    canvas = figure.bbox.padded(1)
    outside = [
        text for text, box in boxes.items() if not (canvas.contains(*box.min) and canvas.contains(*box.max))
    ]
    assert not outside
    overlapping = [
        (first, second)
        for (first, a), (second, b) in combinations(boxes.items(), 2)
        if min(a.x1, b.x1) - max(a.x0, b.x0) > 0 and min(a.y1, b.y1) - max(a.y0, b.y0) > 0
    ]
    assert not overlapping


def test_the_metric_and_the_units_are_named():
    one_fold = summary(["mha"]).assign(folds=1, metric="macro_f1")
    (axes,) = plot_accuracy(one_fold, "t").axes
    assert axes.get_xlabel() == "macro F1 (%), mean and 95 % interval over seeds"
    (axes,) = plot_accuracy(summary(["mha"]), "t").axes
    assert axes.get_xlabel() == "balanced accuracy (%), mean and 95 % interval over folds"
    (axes,) = plot_ablation_curve(curve(3), "t").axes
    assert axes.get_ylabel() == "accuracy (%), mean and 95 % interval"
    (axes,) = plot_ablation_curve(curve(3).assign(metric="macro_f1"), "t").axes
    assert axes.get_ylabel() == "macro F1 (%), mean and 95 % interval"


def test_curves_can_share_a_scale_that_holds_all_intervals():
    low, high = score_limits(curve(6))
    assert (low, high) == (39, 73)
    (axes,) = plot_ablation_curve(curve(6), "t", (30, 90)).axes
    assert axes.get_ylim() == (30, 90)
    one_run = curve(6).assign(mean_low_percent=np.nan, mean_high_percent=np.nan)
    assert score_limits(one_run) == (49, 63)


def test_accuracy_rows_follow_the_presets_from_the_top(folders):
    summary = summary_frame(replica_frame(read_all(folders)))
    (axes,) = plot_accuracy(summary, "t").axes
    assert [label.get_text() for label in axes.get_yticklabels()] == ["DAAMv1", "MHA"]
    assert axes.lines[-1].get_xdata() == [pytest.approx(35)] * 2


def test_declared_files_are_written_and_repeat_exactly(folders, tmp_path):
    first, second = (write_figures(folders, tmp_path / name) for name in "ab")
    assert sorted(path.name for path in first) == sorted(figure_names("toy_data", "tiny", ["daam_v1"]))
    for left, right in zip(first, second, strict=True):
        assert left.read_bytes() == right.read_bytes()


def test_the_spread_is_drawn_on_the_scale_that_it_is_given():
    axes, bar = plot_importance_spread(np.zeros((5, 13)), "t", 0.15).axes
    assert axes.images[0].get_clim() == (0, 0.15)
    assert axes.images[0].origin == "lower"
    assert "over runs" in bar.get_ylabel()


def test_entropies_with_and_without_a_maximum_have_axes_of_their_own(folders):
    shares, nats = plot_entropies(entropy_frame(Results(folders)), "t").axes
    assert [label.get_text() for label in shares.get_yticklabels()] == ["DAAMv1", "MHA"]
    assert [line.get_xdata().tolist() for line in shares.lines] == [[pytest.approx(0.5)]]
    assert [line.get_xdata().tolist() for line in nats.lines] == [[pytest.approx(1.4)]]
    assert "nats" in nats.get_xlabel()
    assert "share" in shares.get_xlabel()


def test_a_cache_without_entropies_has_an_empty_figure(folders):
    nothing = entropy_frame(Results(folders)).iloc[:0]
    shares, nats = plot_entropies(nothing, "t").axes
    assert not shares.lines
    assert not nats.lines
