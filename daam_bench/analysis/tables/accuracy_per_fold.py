"""The score on each fold, or of each run where there is one fold (the paper's Table 2)."""

import pandas as pd

from daam_bench.analysis.aggregate import CACHE
from daam_bench.analysis.significance import unit_of, unit_values
from daam_bench.analysis.tables.accuracy_summary import BOLD, add_best, with_rivals
from daam_bench.analysis.tables.base import Keys, Results, Run, Table, own_runs
from daam_bench.analysis.tables.cells import add_metric, names, score_heading, with_spread
from daam_bench.analysis.tables.sheet import Sheet, Shown

_KEYS = [*CACHE, "variant"]


def _frame(results: Results) -> pd.DataFrame:
    """Return one row a variant and fold; where there is one fold, one row a seed.

    Columns: unit (folds or seeds), fold and its name, seed (where units are seeds); mean and population
    standard deviation over seeds, in percent; on every row of a variant the mean and the population
    standard deviation (ddof 0) over its units, and whether it is significantly best.
    """
    parts = []
    for _, cache in results.replicas.groupby(CACHE, sort=False):
        unit = unit_of(pd.MultiIndex.from_frame(cache[["fold", "seed"]]))
        for _, runs in cache.groupby("variant", sort=False):
            parts.append(_rows(runs, unit))
    return add_best(pd.concat(parts, ignore_index=True), results)


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


def _readable(frame: pd.DataFrame) -> Sheet:
    lines = [rows for _, rows in frame.groupby(_KEYS, sort=False)]
    first = frame.loc[[rows.index[0] for rows in lines]]
    sheet = names(first)
    add_metric(sheet, first)
    for number in sorted({number for rows in lines for number in _numbers(rows)}):
        sheet.cells(f"{_word(frame)} {number}", [_cell(rows, number) for rows in lines])
    means = with_spread(first["over_units_mean_percent"], first["over_units_std_percent"])
    heading = f"Mean, {score_heading(frame).lower()}"
    sheet.numbers(heading, "over_units_mean_percent", means, first["significantly_best"])
    sheet.words("Folds or runs", [", ".join(_names(rows)) for rows in lines])
    return sheet


def _names(rows: pd.DataFrame) -> list[str]:
    if rows["unit"].iloc[0] == "folds":
        return rows["fold_name"].tolist()
    return [f"seed {seed}" for seed in rows["seed"]]


def _numbers(rows: pd.DataFrame) -> list[int]:
    """Return the folds, or seeds, of a variant's rows, as addresses have them."""
    return rows["fold" if rows["unit"].iloc[0] == "folds" else "seed"].astype(int).tolist()


def _word(frame: pd.DataFrame) -> str:
    units = set(frame["unit"])
    return "fold or seed" if len(units) > 1 else units.pop().removesuffix("s")


def _cell(rows: pd.DataFrame, number: int) -> Shown:
    numbers = _numbers(rows)
    if number not in numbers:
        return Shown("")
    row = rows.iloc[numbers.index(number)]
    text = f"{row['mean_percent']:.1f}" + (f" ± {row['std_percent']:.1f}" if row["seeds"] > 1 else "")
    return Shown(text, row.name, "mean_percent")


def _sources(keys: Keys, column: str, results: Results) -> list[Run]:
    """A mean over units has every run of the variant behind it, what is best all those of the cache."""
    whole = results.of(keys["dataset"], keys["encoder"], keys["variant"])
    if column == "significantly_best":
        return with_rivals(whole, keys, results)
    return whole if column == "unit" or column.startswith("over_units_") else own_runs(keys, column, results)


TABLE = Table(
    title="Scores by fold or run",
    caption="Score in percent on each fold, mean over seeds; its +/- is the population standard "
    "deviation over seeds. Where there is one fold: of each seed. Columns are numbered as addresses are. "
    "Then: mean and population standard "
    f"deviation over the folds or runs. {BOLD}",
    section="scores",
    keys=(*_KEYS, "fold", "seed"),
    number="mean_percent",
    frame=_frame,
    readable=_readable,
    sources=_sources,
)
