"""All tables and figures of the studies, as frames and as files."""

from collections.abc import Callable, Sequence
from pathlib import Path

import pandas as pd

from daam_bench.analysis.aggregate import CACHE, title_of
from daam_bench.analysis.figures import save_figure
from daam_bench.analysis.studies import layer_ablation as ablation
from daam_bench.analysis.studies import protocols, selection_worth, switch_effects
from daam_bench.analysis.studies.figure import plot_ablation_curve
from daam_bench.analysis.tables import write_table
from daam_bench.studies.names import StudyName

CAPTIONS = {
    "selection_worth": selection_worth.CAPTION,
    "protocols": protocols.CAPTION,
    "switch_effects": switch_effects.CAPTION,
    "layer_ablation": ablation.CAPTION,
    "layer_ablation_curve": ablation.CURVE_CAPTION,
}
READABLE: dict[str, Callable[[pd.DataFrame], pd.DataFrame]] = {
    "selection_worth": selection_worth.readable_selection_worth,
    "protocols": protocols.readable_protocols,
    "switch_effects": switch_effects.readable_switch_effects,
    "layer_ablation": ablation.readable_layer_ablation,
    "layer_ablation_curve": ablation.readable_ablation_curve,
}


def study_tables(runs: Sequence[Path], studies: Sequence[Path]) -> dict[str, pd.DataFrame]:
    """Return the tables that the folders of ordinary and of derived runs give, by name.

    Raises:
        RecordError: if a record is missing or damaged.
    """
    kinds = {StudyName.parse(folder.parent.name).kind for folder in studies}
    tables = {"selection_worth": selection_worth.selection_worth(runs)}
    if "protocol" in kinds:
        tables["protocols"] = protocols.protocols(runs, studies)
    if "switch" in kinds:
        tables["switch_effects"] = switch_effects.switch_effects(runs, studies)
    if "layers" in kinds:
        frame = ablation.ablation_frame(runs, studies)
        tables["layer_ablation"] = ablation.layer_ablation(frame)
        tables["layer_ablation_curve"] = ablation.ablation_curve(frame)
    return tables


def write_study_tables(runs: Sequence[Path], studies: Sequence[Path], out: Path) -> list[Path]:
    """Write every table as CSV, Markdown and LaTeX; return the paths.

    Raises:
        RecordError: if a record is missing or damaged.
    """
    return [
        path
        for name, frame in study_tables(runs, studies).items()
        for path in write_table(out, name, frame, READABLE[name](frame), CAPTIONS[name])
    ]


def write_study_figures(runs: Sequence[Path], studies: Sequence[Path], out: Path) -> list[Path]:
    """Draw the ablation curves; return the paths.

    Raises:
        RecordError: if a record is missing or damaged.
    """
    paths = []
    curve = ablation.ablation_curve(ablation.ablation_frame(runs, studies))
    for (dataset, encoder, variant, blocks), rows in curve.groupby([*CACHE, "variant", "blocks"], sort=False):
        what = "blocks of layers" if blocks else "layers"
        figure = plot_ablation_curve(rows, f"{title_of(str(variant))} on some {what}: {dataset} x {encoder}")
        name = f"{'block' if blocks else 'layer'}_ablation_{dataset}_{encoder}_{variant}"
        paths += save_figure(figure, out / name)
    return paths
