"""Every variant under whole protocols."""

from typing import Any

import pandas as pd

from daam_bench.analysis.aggregate import CACHE, score_interval
from daam_bench.analysis.marks import MARK, is_optimistic
from daam_bench.analysis.studies.frames import derived_of, ordinary_of, run_frame, same_runs, study_frame
from daam_bench.analysis.tables.base import Keys, Results, Run, Table
from daam_bench.analysis.tables.cells import add_metric, differences, names, score_heading
from daam_bench.analysis.tables.effects import paired_effect
from daam_bench.analysis.tables.sheet import Sheet, Shown

_KEYS = [*CACHE, "variant"]
_EFFECT = ("effect_percent", "low_percent", "high_percent", "p")


def _frame(results: Results) -> pd.DataFrame:
    """Return one row a variant and protocol.

    Columns: mean, population standard deviation and 95 % interval in percent; `effect_percent`
    against the ordinary runs on the same folds and seeds (nan on their own rows); `optimistic` as
    `marks.is_optimistic` says.
    """
    changed = study_frame(results, "protocol")
    base = same_runs(run_frame(results), changed)
    own = base.assign(subject=[p["name"] for p in base["protocol"]])
    rows: list[dict[str, Any]] = []
    for keys, mine in base.groupby(_KEYS, sort=False):
        everything = pd.concat([same_runs(own, mine), same_runs(changed, mine)])
        for protocol, part in everything.groupby("subject", sort=False):
            scores = part["score_percent"].to_numpy()
            low, high = score_interval(part)
            row = dict(zip(_KEYS, keys, strict=True)) | {
                "protocol": protocol,
                "metric": part["metric"].iloc[0],
                "select": part["select"].iloc[0],
                "optimistic": is_optimistic(part["protocol"].iloc[0]),
                "folds": part["fold"].nunique(),
                "seeds": part["seed"].nunique(),
                "mean_percent": scores.mean(),
                "std_percent": scores.std(),
                "mean_low_percent": low,
                "mean_high_percent": high,
            }
            ordinary = protocol == mine["protocol"].iloc[0]["name"]
            rows.append(
                row | (dict.fromkeys(_EFFECT, float("nan")) if ordinary else paired_effect(part, mine))
            )
    return pd.DataFrame(rows)


def _readable(frame: pd.DataFrame) -> Sheet:
    """Return one line a variant, one column a protocol."""
    lines = [rows for _, rows in frame.groupby(_KEYS, sort=False)]
    first = frame.loc[[rows.index[0] for rows in lines]]
    sheet = names(first, mark=False)
    add_metric(sheet, first)
    for protocol in frame["protocol"].unique():
        cells = [_cell(rows[rows["protocol"] == protocol]) for rows in lines]
        sheet.cells(f"{protocol}, {score_heading(frame).lower()}", cells)
    return sheet


def _cell(rows: pd.DataFrame) -> Shown:
    if rows.empty:
        return Shown("")
    row, (effect,) = rows.iloc[0], differences(rows, *_EFFECT[:3])
    mark = MARK if row["optimistic"] else ""
    text = f"{row['mean_percent']:.1f} ± {row['std_percent']:.1f}{mark}" + (f" [{effect}]" if effect else "")
    return Shown(text, rows.index[0], "effect_percent")


def _sources(keys: Keys, column: str, results: Results) -> list[Run]:
    """The runs of the protocol; behind an effect the ordinary ones as well."""
    every = derived_of(keys, results, "protocol")
    changed = [run for run, study in every if study.subject == keys["protocol"]]
    if not changed:  # the protocol of the ordinary runs
        return ordinary_of([run for run, _ in every], results)
    return [*changed, *(ordinary_of(changed, results) if column in _EFFECT else [])]


TABLE = Table(
    title="Protocols",
    caption="Every variant under each protocol: score in percent, mean and population standard deviation "
    "over folds and seeds; in brackets the difference from the ordinary runs in points of percent with its "
    "95 % interval (corrected resampled t over folds). The protocol of the ordinary runs is as configured, "
    "the others are as published.",
    section="studies",
    keys=(*_KEYS, "protocol"),
    number="mean_percent",
    frame=_frame,
    readable=_readable,
    sources=_sources,
)
