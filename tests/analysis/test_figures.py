from itertools import pairwise

import numpy as np
import pytest

from daam_bench.analysis.aggregate import read_all, replica_frame, summary_frame
from daam_bench.analysis.entropy_figure import plot_entropies
from daam_bench.analysis.figures import (
    plot_accuracy,
    plot_importance,
    plot_importance_spread,
    plot_layer_contribution,
    write_figures,
)
from daam_bench.analysis.names import figure_names
from daam_bench.analysis.tables import Results
from daam_bench.analysis.tables.entropy import entropy_frame


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


def test_contribution_bars_are_means_over_runs():
    shares = np.array([[10.0, 30.0, 60.0], [20.0, 30.0, 50.0]])
    (axes,) = plot_layer_contribution(shares, "t").axes
    assert [bar.get_height() for bar in axes.patches] == [15, 30, 55]
    assert [round(bar.get_x() + bar.get_width() / 2) for bar in axes.patches] == [1, 2, 3]
    assert axes.get_ylabel() == "share of the density (%)"


@pytest.mark.parametrize("layers", [1, 6, 12, 24, 40])
def test_layer_labels_do_not_overlap(layers):
    figure = plot_layer_contribution(np.full((2, layers), 100 / layers), "t")
    figure.draw_without_rendering()
    boxes = [label.get_window_extent() for label in figure.axes[0].get_xticklabels() if label.get_text()]
    assert all(left.x1 <= right.x0 for left, right in pairwise(boxes))


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
