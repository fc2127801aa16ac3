"""The figures of the studies as files."""

from collections.abc import Sequence
from pathlib import Path

from daam_bench.analysis.aggregate import caches_of, title_of
from daam_bench.analysis.figures import save_figure
from daam_bench.analysis.names import curve_stem
from daam_bench.analysis.studies.figure import plot_ablation_curve, score_limits
from daam_bench.analysis.tables import Results, find_table


def write_study_figures(runs: Sequence[Path], studies: Sequence[Path], out: Path) -> list[Path]:
    """Draw the ablation curves; return the paths.

    Raises:
        RecordError: if a record is missing or damaged.
    """
    paths = []
    curve = find_table("layer_ablation_curve").values(Results(runs, studies))
    for dataset, encoder, cache in caches_of(curve):
        limits = score_limits(cache)
        for (name, blocks), rows in cache.groupby(["variant", "blocks"], sort=False):
            variant, what = str(name), "blocks of layers" if blocks else "layers"
            title = f"{title_of(variant)} on some {what}: {dataset} x {encoder}"
            figure = plot_ablation_curve(rows, title, limits)
            paths += save_figure(figure, out / curve_stem(dataset, encoder, variant, bool(blocks)))
    return paths
