"""The effect of each switch alone."""

from typing import Any

import pandas as pd
from statsmodels.stats.multitest import multipletests

from daam_bench.analysis.aggregate import CACHE, title_of
from daam_bench.analysis.marks import is_optimistic, marked
from daam_bench.analysis.studies.frames import derived_of, ordinary_of, run_frame, same_runs, study_frame
from daam_bench.analysis.tables.base import Keys, Results, Run, Table
from daam_bench.analysis.tables.cells import add_metric, counts, differences, probabilities
from daam_bench.analysis.tables.effects import paired_effect
from daam_bench.analysis.tables.sheet import Sheet
from daam_bench.studies.switches import SWITCHES

TOGETHER = "touched"
COLUMNS = (
    *CACHE,
    "switch",
    "label",
    "base",
    "value",
    "variant",
    "metric",
    "runs",
    "same_runs",
    "optimistic",
    "note",
    "effect_percent",
    "low_percent",
    "high_percent",
    "p",
    "p_holm",
)


def _frame(results: Results) -> pd.DataFrame:
    """Return one row a switch, value and variant, and one of all its touched variants together.

    Columns: `switch`, `label` (D1 to D9), `base` and `value` of the switch, `variant` (or `touched`),
    `runs`, `same_runs` (how many scored exactly as before), `effect_percent` with low, high and p, `p_holm`,
    `optimistic`. A switch that no trained variant is touched by has a row without a variant, `note` says
    what it needs.
    """
    changed = study_frame(results, "switch")
    base = run_frame(results)
    rows: list[dict[str, Any]] = []
    for cache, here in changed.groupby(CACHE, sort=False):
        place = dict(zip(CACHE, cache, strict=True)) | {"metric": here["metric"].iloc[0]}
        found: list[dict[str, Any]] = []
        for field, switch in SWITCHES.items():
            facts = place | {"switch": field, "label": switch.label}
            touched = here[here["subject"] == field]
            if touched.empty:
                note = {"note": f"not run: needs {switch.needs}"}
                found.append(facts | dict.fromkeys(("base", "value", "variant"), "") | note)
            for value, part in touched.groupby("value", sort=False):
                found += [facts | row for row in _rows(str(value), field, part, base)]
        rows += _with_holm(found)
    frame = pd.DataFrame(rows, columns=[*COLUMNS])
    return frame.assign(optimistic=frame["optimistic"].eq(True))


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
                "optimistic": is_optimistic(part["protocol"].iloc[0]),
                "note": "",
            }
            | paired_effect(part, mine)
        )
    return rows


def _with_holm(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return rows with p after Holm's correction; one without a p is a test all the same."""
    tested = [row for row in rows if row["variant"] not in ("", TOGETHER)]
    if tested:
        given = pd.Series([row["p"] for row in tested], dtype="float64")
        corrected = multipletests(given.fillna(1.0), method="holm")[1]
        for row, p in zip(tested, corrected, strict=True):
            row["p_holm"] = float("nan") if pd.isna(row["p"]) else float(p)
    return rows


def _readable(frame: pd.DataFrame) -> Sheet:
    sheet = Sheet(frame.index)
    sheet.words("Dataset", frame["dataset"])
    sheet.words("Encoder", frame["encoder"])
    add_metric(sheet, frame)
    sheet.words("Switch", frame["switch"].str.replace("_", " "))
    sheet.words("Row", frame["label"])
    changes = zip(frame["base"], frame["value"], strict=True)
    sheet.numbers("Change", "value", [f"{base} to {value}" if value else "" for base, value in changes])
    titles = {"": "", TOGETHER: "all touched"}
    sheet.words("Variant", [titles.get(variant, title_of(variant)) for variant in frame["variant"]])
    effects = differences(frame, "effect_percent", "low_percent", "high_percent")
    pairs = zip(marked(effects, frame["optimistic"]), frame["note"], strict=True)
    sheet.numbers("Effect (points)", "effect_percent", [effect or note for effect, note in pairs])
    sheet.numbers("p (Holm)", "p_holm", probabilities(frame["p_holm"]))
    sheet.numbers("Runs unchanged", "same_runs", counts(frame, "same_runs", "runs", "of"))
    return sheet


def _sources(keys: Keys, column: str, results: Results) -> list[Run]:
    """The runs with the switch changed and the ordinary ones; of p after Holm those of all rows."""
    every = derived_of({**keys, "variant": ""}, results, "switch")
    if not keys["value"]:  # was not run
        return []
    if column == "p_holm":
        changed = [run for run, _ in every]
    else:
        here = [
            run for run, study in every if (study.subject, study.value) == (keys["switch"], keys["value"])
        ]
        changed = [run for run in here if keys["variant"] in (TOGETHER, run.record.variant)]
    return [*changed, *ordinary_of(changed, results)]


TABLE = Table(
    title="Effects of switches",
    caption="The effect of each switch alone (D1 to D9 and D11 of the paper's and the released scripts' "
    "disagreements): score with the switch changed minus score of the ordinary runs, in points of percent, "
    "with its 95 % interval and p (corrected resampled t over folds, Holm's correction over all rows of a "
    "cache that are a variant). Rows of all touched variants average them first. Only variants that a switch "
    "can touch are trained.",
    section="studies",
    keys=(*CACHE, "switch", "value", "variant"),
    number="effect_percent",
    frame=_frame,
    readable=_readable,
    sources=_sources,
)
