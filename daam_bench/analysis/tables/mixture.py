"""Mixtures of densities beside DAAMv1 (the paper's Mixture table)."""

from collections.abc import Sequence
from typing import Any

import pandas as pd

from daam_bench.analysis.aggregate import CACHE, caches_of, score_interval
from daam_bench.analysis.tables.base import Keys, Results, Run, Table, own_runs
from daam_bench.analysis.tables.cells import (
    add_metric,
    differences,
    names,
    numbers,
    ranges,
    score_heading,
    with_spread,
)
from daam_bench.analysis.tables.effects import paired_effect
from daam_bench.analysis.tables.sheet import Sheet
from daam_bench.records import RunRecord

MIXTURES = ("mixture", "mixture_selected")
AGAINST = "daam_v1"
PARAMETERS = ("mean_offset", "spread")
COLUMNS = (
    *CACHE,
    "variant",
    "metric",
    "mean_percent",
    "std_percent",
    "low_percent",
    "high_percent",
    "attention_parameters",
    *(f"{name}_{end}" for name in PARAMETERS for end in ("min", "max")),
    "difference_percent",
    "difference_low_percent",
    "difference_high_percent",
    "p",
    "notes",
)


def _frame(results: Results) -> pd.DataFrame:
    """Return one row a mixture and cache (`COLUMNS`).

    The difference is from DAAMv1 on the same folds and seeds, with the interval and p of the corrected
    resampled t test of this pair alone (the comparisons correct for all pairs).
    """
    rows = []
    for dataset, encoder, cache in caches_of(results.replicas):
        for variant in MIXTURES:
            runs = cache[cache["variant"] == variant]
            if len(runs):
                mine = [run.record for run in results.of(dataset, encoder, variant)]
                daam = cache[cache["variant"] == AGAINST]
                rows.append(_scores(runs) | _learned(mine) | (_difference(runs, daam) if len(daam) else {}))
    return pd.DataFrame(rows, columns=[*COLUMNS])


def _scores(runs: pd.DataFrame) -> dict[str, Any]:
    low, high = score_interval(runs)
    return {key: runs[key].iloc[0] for key in (*CACHE, "variant", "metric")} | {
        "mean_percent": runs["score_percent"].mean(),
        "std_percent": runs["score_percent"].std(ddof=0),
        "low_percent": low,
        "high_percent": high,
    }


def _learned(records: Sequence[RunRecord]) -> dict[str, Any]:
    found: dict[str, Any] = {
        "attention_parameters": records[0].parameters_attention,
        "notes": "; ".join(dict.fromkeys(record.note.partition("; per head")[0] for record in records)),
    }
    for name in PARAMETERS:
        bounds = [record.parameter_ranges[name] for record in records if name in record.parameter_ranges]
        if bounds:
            found |= {f"{name}_min": min(b[0] for b in bounds), f"{name}_max": max(b[1] for b in bounds)}
    return found


def _difference(runs: pd.DataFrame, daam: pd.DataFrame) -> dict[str, float]:
    found = paired_effect(runs, daam)
    return {
        "difference_percent": found["effect_percent"],
        "difference_low_percent": found["low_percent"],
        "difference_high_percent": found["high_percent"],
        "p": found["p"],
    }


def _readable(frame: pd.DataFrame) -> Sheet:
    sheet = names(frame)
    add_metric(sheet, frame)
    scores = with_spread(frame["mean_percent"], frame["std_percent"])
    sheet.numbers(score_heading(frame) if len(frame) else "Score (%)", "mean_percent", scores)
    sheet.numbers("95 % interval", "low_percent", ranges(frame, "low_percent", "high_percent"))
    counted = numbers(frame["attention_parameters"], ",.0f")
    sheet.numbers("Attention parameters", "attention_parameters", counted)
    for name, title in (("mean_offset", "Mean offset"), ("spread", "Spread")):
        low, high = f"{name}_min", f"{name}_max"
        sheet.numbers(title, low, ranges(frame, low, high, ".3f", none=""))
    columns = ("difference_percent", "difference_low_percent", "difference_high_percent")
    sheet.numbers("Against DAAMv1 (points)", columns[0], differences(frame, *columns))
    sheet.numbers("Chosen", "notes", frame["notes"])
    return sheet


def _sources(keys: Keys, column: str, results: Results) -> list[Run]:
    """The difference has the runs of DAAMv1 behind it as well."""
    own = own_runs(keys, column, results)
    paired = column == "p" or column.startswith("difference_")
    return [*own, *results.of(keys["dataset"], keys["encoder"], AGAINST)] if paired else own


TABLE = Table(
    title="Mixtures",
    caption="Mixtures of densities: score in percent, mean and population standard deviation over "
    "folds and seeds, with its 95 % interval; parameters of the attention alone; smallest and largest "
    "learned offset and spread over all folds and seeds; paired difference from DAAMv1 in points of "
    "percent with its 95 % interval (this pair alone); what a mixture of learnt size chose.",
    section="scores",
    keys=(*CACHE, "variant"),
    number="mean_percent",
    frame=_frame,
    readable=_readable,
    sources=_sources,
)
