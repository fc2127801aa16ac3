"""The effect of each switch alone."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd
from statsmodels.stats.multitest import multipletests

from daam_bench.analysis.aggregate import CACHE, title_of
from daam_bench.analysis.marks import MARK, NOTE, OPTIMISTIC
from daam_bench.analysis.studies.frames import (
    effect_cells,
    paired_effect,
    run_frame,
    same_runs,
    study_frame,
)
from daam_bench.studies.switches import SWITCHES

TOGETHER = "touched"
CAPTION = (
    "The effect of each switch alone (D1 to D9 of the paper's and the released scripts' disagreements): "
    "accuracy with the switch changed minus accuracy of the ordinary runs, in points of percent, with its "
    "95 % interval and p (corrected resampled t over folds, Holm's correction over all rows of a cache that "
    "are a variant). Rows of all touched variants average them first. Only variants that a switch can touch "
    f"are trained. {NOTE}"
)


def switch_effects(runs: Sequence[Path], studies: Sequence[Path]) -> pd.DataFrame:
    """Return one row a switch, value and variant, and one of all its touched variants together.

    Columns: `switch`, `label` (D1 to D9), `base` and `value` of the switch, `variant` (or `touched`),
    `runs`, `same_runs` (how many scored exactly as before), `effect_percent` with low, high and p, `p_holm`,
    `optimistic`. A switch that no trained variant is touched by has a row without a variant, `note` says
    what it needs.
    """
    changed = study_frame(studies, "switch")
    base = run_frame(runs)
    rows: list[dict[str, Any]] = []
    for cache, here in changed.groupby(CACHE, sort=False):
        place = dict(zip(CACHE, cache, strict=True))
        found: list[dict[str, Any]] = []
        for field, switch in SWITCHES.items():
            facts = place | {"switch": field, "label": switch.label}
            touched = here[here["subject"] == field]
            if touched.empty:
                found.append(facts | {"note": f"not run: needs {switch.needs}"})
            for value, part in touched.groupby("value", sort=False):
                found += [facts | row for row in _rows(str(value), field, part, base)]
        rows += _with_holm(found)
    return pd.DataFrame(rows)


def _rows(value: str, field: str, changed: pd.DataFrame, base: pd.DataFrame) -> list[dict[str, Any]]:
    groups = [(str(variant), part) for variant, part in changed.groupby("variant", sort=False)]
    rows = []
    for variant, part in [*groups, *([(TOGETHER, changed)] if len(groups) > 1 else [])]:
        mine = same_runs(base, part)
        both = part.merge(mine, on=[*CACHE, "variant", "fold", "seed"], suffixes=("", "_before"))
        rows.append(
            {
                "base": str(mine["protocol"].iloc[0][field]),
                "value": value,
                "variant": variant,
                "runs": len(both),
                "same_runs": int((both["score_percent"] == both["score_percent_before"]).sum()),
                "optimistic": part["select"].iloc[0] == OPTIMISTIC,
                "note": "",
            }
            | paired_effect(part, mine)
        )
    return rows


def _with_holm(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    tested = [row for row in rows if row.get("variant", TOGETHER) != TOGETHER and not pd.isna(row["p"])]
    if tested:
        for row, p in zip(tested, multipletests([r["p"] for r in tested], method="holm")[1], strict=True):
            row["p_holm"] = float(p)
    return rows


def readable_switch_effects(frame: pd.DataFrame) -> pd.DataFrame:
    """Return the table as a person reads it."""
    frame = frame.reindex(columns=[*frame.columns, *({"p_holm", "effect_percent"} - {*frame.columns})])
    shown = pd.DataFrame({"Dataset": frame["dataset"], "Encoder": frame["encoder"]})
    shown["Switch"] = frame["switch"].str.replace("_", " ")
    shown["Row"] = frame["label"]
    changes = zip(frame["base"], frame["value"], strict=True)
    shown["Change"] = ["" if pd.isna(value) else f"{base} to {value}" for base, value in changes]
    titles = [
        "" if pd.isna(variant) else "all touched" if variant == TOGETHER else title_of(variant)
        for variant in frame["variant"]
    ]
    shown["Variant"] = titles
    marks = [MARK if flag is True else "" for flag in frame["optimistic"]]
    cells = zip(effect_cells(frame), marks, frame["note"], strict=True)
    shown["Effect (points)"] = [f"{cell}{mark}" if cell else note for cell, mark, note in cells]
    shown["p (Holm)"] = [
        "" if pd.isna(p) else "< 0.001" if p < 0.001 else f"{p:.3f}" for p in frame["p_holm"]
    ]
    counts = zip(frame["same_runs"], frame["runs"], strict=True)
    shown["Runs unchanged"] = ["" if pd.isna(n) else f"{int(same)} of {int(n)}" for same, n in counts]
    return shown
