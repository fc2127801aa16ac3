"""The figures of the studies as files."""

from collections.abc import Sequence
from pathlib import Path

from daam_bench.analysis.aggregate import CACHE, title_of
from daam_bench.analysis.figures import save_figure
from daam_bench.analysis.names import curve_stem
from daam_bench.analysis.studies.figure import plot_ablation_curve
from daam_bench.analysis.tables import Results, find_table


def write_study_figures(runs: Sequence[Path], studies: Sequence[Path], out: Path) -> list[Path]:
    """Draw the ablation curves; return the paths.

    Raises:
        RecordError: if a record is missing or damaged.
    """
    paths = []
    curve = find_table("layer_ablation_curve").values(Results(runs, studies))
    for keys, rows in curve.groupby([*CACHE, "variant", "blocks"], sort=False):
        dataset, encoder, variant = map(str, keys[:-1])
        what = "blocks of layers" if keys[-1] else "layers"
        figure = plot_ablation_curve(rows, f"{title_of(variant)} on some {what}: {dataset} x {encoder}")
        paths += save_figure(figure, out / curve_stem(dataset, encoder, variant, bool(keys[-1])))
    return paths
