"""Whether layers keep their order of importance from run to run."""

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from daam_bench.analysis.aggregate import CACHE
from daam_bench.analysis.importance import has_density, importance_factor, layer_contribution, read_density
from daam_bench.analysis.stability import importance_spread, pairs_of, rank_correlations
from daam_bench.analysis.tables.base import Results, Table
from daam_bench.analysis.tables.cells import names, numbers
from daam_bench.analysis.tables.sheet import Sheet
from daam_bench.records import RunRecord

MEASURES = {
    "layers_spearman": "Layers, Spearman",
    "layers_kendall": "Layers, Kendall",
    "map_spearman": "Map, Spearman",
}
OF = ("all", "folds", "seeds")
COLUMNS = (
    *CACHE,
    "variant",
    "runs",
    "pairs",
    *(f"{m}_{of}_{x}" for m in MEASURES for of in OF for x in ("mean", "min", "max")),
    "spread_mean",
    "spread_max",
)


def _frame(results: Results) -> pd.DataFrame:
    """Return one row a density variant (`COLUMNS`): mean and range over pairs of runs of the correlations."""
    rows = []
    for place, found in results.by_place.items():
        folder, runs = found[0].folder, [run.record for run in found]
        if all(has_density(folder, run) for run in runs):
            rows.append(dict(zip((*CACHE, "variant"), place, strict=True)) | _stability(folder, runs))
    return pd.DataFrame(rows, columns=[*COLUMNS])


def _stability(folder: Path, runs: list[RunRecord]) -> dict[str, Any]:
    densities = [read_density(folder, run) for run in runs]
    layers = [layer_contribution(density) for density in densities]
    maps = [importance_factor(density) for density in densities]
    spread = importance_spread(densities)
    row: dict[str, Any] = {"runs": len(runs), "spread_mean": spread.mean(), "spread_max": spread.max()}
    pairs = pairs_of(runs)
    row["pairs"] = len(pairs["all"])
    for of in OF:
        found = {
            "layers_spearman": rank_correlations(layers, pairs[of], "spearman"),
            "layers_kendall": rank_correlations(layers, pairs[of], "kendall"),
            "map_spearman": rank_correlations(maps, pairs[of], "spearman"),
        }
        for measure, values in found.items():
            row |= {f"{measure}_{of}_{name}": value for name, value in _range(values).items()}
    return row


def _range(values: npt.NDArray[np.float64]) -> dict[str, float]:
    known = values[~np.isnan(values)]
    if not len(known):
        return {}
    return {"mean": float(known.mean()), "min": float(known.min()), "max": float(known.max())}


def _readable(frame: pd.DataFrame) -> Sheet:
    sheet = names(frame)
    sheet.numbers("Runs", "runs", numbers(frame["runs"], ".0f"))
    for measure, title in MEASURES.items():
        found = zip(*(frame[f"{measure}_all_{name}"] for name in ("mean", "min", "max")), strict=True)
        texts = ["" if pd.isna(m) else f"{m:+z.2f} ({a:+z.2f} to {b:+z.2f})" for m, a, b in found]
        sheet.numbers(title, f"{measure}_all_mean", texts)
    for of, title in (("folds", "Other fold"), ("seeds", "Same fold, other seed")):
        column = f"layers_spearman_{of}_mean"
        sheet.numbers(title, column, numbers(frame[column], "+z.2f"))
    cells = zip(frame["spread_mean"], frame["spread_max"], strict=True)
    texts = [f"{mean:.3f} ({most:.3f})" for mean, most in cells]
    sheet.numbers("Spread of IF, mean (largest)", "spread_mean", texts)
    return sheet


TABLE = Table(
    title="Does importance hold?",
    caption="Rank correlation between runs (folds and seeds) of the layers' shares of the density and "
    "of the whole map of the Importance Factor: mean and range over pairs of runs, from -1 to +1. Other "
    "fold; same fold, other seed: mean Spearman correlation of the layers over such pairs alone. Spread: "
    "population standard deviation over runs of the Importance Factor (0 to 1), mean over the map and its "
    "largest. With few layers a rank correlation is coarse.",
    section="importance",
    keys=(*CACHE, "variant"),
    number="layers_spearman_all_mean",
    frame=_frame,
    readable=_readable,
)
