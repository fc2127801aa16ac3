"""The score on each fold, or of each run where there is one fold (the paper's Table 2)."""

from collections.abc import Hashable

import pandas as pd

from daam_bench.analysis.aggregate import CACHE
from daam_bench.analysis.significance import unit_of, unit_values
from daam_bench.analysis.tables.base import CellRuns, Results, Table
from daam_bench.analysis.tables.cells import add_metric, names, score_heading, with_spread

_KEYS = [*CACHE, "variant"]


def _frame(results: Results) -> pd.DataFrame:
    """Return one row a variant and fold; where there is one fold, one row a seed.

    Columns: unit (folds or seeds), fold and its name, seed (where units are seeds); mean and population
    standard deviation over seeds, in percent; on every row of a variant the mean and the population
    standard deviation (ddof 0) over its units.
    """
    parts = []
    for _, cache in results.replicas.groupby(CACHE, sort=False):
        unit = unit_of(pd.MultiIndex.from_frame(cache[["fold", "seed"]]))
        for _, runs in cache.groupby("variant", sort=False):
            parts.append(_rows(runs, unit))
    return pd.concat(parts, ignore_index=True)


def _rows(runs: pd.DataFrame, unit: str) -> pd.DataFrame:
    key = "fold" if unit == "folds" else "seed"
    frame = runs.groupby([*_KEYS, "metric", key], sort=False).agg(
        fold=("fold", "first"),
        fold_name=("fold_name", "first"),
        seed=("seed", "first"),
        mean_percent=("score_percent", "mean"),
        std_percent=("score_percent", lambda values: values.std(ddof=0)),
        seeds=("seed", "nunique"),
    )
    frame = frame.droplevel(key).reset_index().astype({"seed": "Int64"})
    if unit == "folds":
        frame["seed"] = pd.array([pd.NA] * len(frame), dtype="Int64")
    units = unit_values(runs)
    return frame.assign(
        unit=unit, over_units_mean_percent=units.mean(), over_units_std_percent=units.std(ddof=0)
    )


def _readable(frame: pd.DataFrame) -> pd.DataFrame:
    lines = {rows.index[0]: rows for _, rows in frame.groupby(_KEYS, sort=False)}
    first = frame.loc[list(lines)]
    shown = add_metric(names(first), first)
    width = max(len(rows) for rows in lines.values())
    for place in range(width):
        shown[str(place + 1)] = [_cell(rows, place) for rows in lines.values()]
    heading = f"Mean, {score_heading(frame).lower()}"
    shown[heading] = with_spread(first["over_units_mean_percent"], first["over_units_std_percent"])
    shown["Folds or runs"] = [", ".join(_names(rows)) for rows in lines.values()]
    return shown


def _names(rows: pd.DataFrame) -> list[str]:
    if rows["unit"].iloc[0] == "folds":
        return rows["fold_name"].tolist()
    return [f"seed {seed}" for seed in rows["seed"]]


def _cell(rows: pd.DataFrame, place: int) -> str:
    if place >= len(rows):
        return ""
    row = rows.iloc[place]
    return f"{row['mean_percent']:.1f}" + (f" ± {row['std_percent']:.1f}" if row["seeds"] > 1 else "")


def _cell_runs(frame: pd.DataFrame, results: Results) -> CellRuns:
    """Return the runs behind the cell of each fold or seed."""
    runs = results.replicas.groupby(_KEYS, sort=False)
    found: dict[tuple[Hashable, str], list[tuple[int, int]]] = {}
    for keys, rows in frame.groupby(_KEYS, sort=False):
        mine = runs.get_group(keys)
        key = "fold" if rows["unit"].iloc[0] == "folds" else "seed"
        for place, number in enumerate(rows[key]):
            here = mine[mine[key] == number]
            pairs = list(zip(here["fold"].astype(int), here["seed"].astype(int), strict=True))
            found[rows.index[0], str(place + 1)] = pairs
    return found


TABLE = Table(
    title="Scores by fold or run",
    caption="Score in percent on each fold, mean over seeds; its +/- is the population standard "
    "deviation over seeds. Where there is one fold: of each seed. Then: mean and population standard "
    "deviation over the folds or runs.",
    frame=_frame,
    readable=_readable,
    cell_runs=_cell_runs,
)
