"""Mixtures of densities beside DAAMv1 (the paper's Mixture table)."""

from collections.abc import Sequence
from typing import Any

import pandas as pd

from daam_bench.analysis.aggregate import CACHE, caches_of, score_interval
from daam_bench.analysis.significance import compare_pairs, paired_units, resampling_ratio
from daam_bench.analysis.tables.base import Results, Table
from daam_bench.analysis.tables.cells import add_metric, names, ranges, score_heading, with_spread
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
    for _, _, cache in caches_of(results.replicas):
        for variant in MIXTURES:
            runs = cache[cache["variant"] == variant]
            if len(runs):
                first = runs.iloc[0]
                mine = [
                    r for r in results.records if all(getattr(r, k) == first[k] for k in (*CACHE, "variant"))
                ]
                rows.append(_scores(runs) | _learned(mine) | _difference(cache, variant))
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


def _difference(cache: pd.DataFrame, variant: str) -> dict[str, float]:
    both = cache[cache["variant"].isin([variant, AGAINST])]
    if both["variant"].nunique() < 2:
        return {}
    pair = compare_pairs(paired_units(both), resampling_ratio(both)).iloc[0]
    sign = 1 if pair["first"] == variant else -1
    low, high = sorted((sign * pair["low"], sign * pair["high"]))
    return {
        "difference_percent": sign * pair["difference"],
        "difference_low_percent": low,
        "difference_high_percent": high,
        "p": pair["p"],
    }


def _readable(frame: pd.DataFrame) -> pd.DataFrame:
    shown = add_metric(names(frame), frame)
    heading = score_heading(frame) if len(frame) else "Score (%)"
    shown[heading] = with_spread(frame["mean_percent"], frame["std_percent"])
    shown["95 % interval"] = ranges(frame, "low_percent", "high_percent")
    shown["Attention parameters"] = [f"{int(value):,}" for value in frame["attention_parameters"]]
    for name, title in (("mean_offset", "Mean offset"), ("spread", "Spread")):
        shown[title] = ranges(frame, f"{name}_min", f"{name}_max", ".3f", none="")
    spans = ranges(frame, "difference_low_percent", "difference_high_percent", "+.1f")
    pairs = zip(frame["difference_percent"], spans, strict=True)
    shown["Against DAAMv1 (points)"] = ["" if pd.isna(d) else f"{d:+.1f} ({span})" for d, span in pairs]
    shown["Chosen"] = frame["notes"]
    return shown


TABLE = Table(
    title="Mixtures",
    caption="Mixtures of densities: score in percent, mean and population standard deviation over "
    "folds and seeds, with its 95 % interval; parameters of the attention alone; smallest and largest "
    "learned offset and spread over all folds and seeds; paired difference from DAAMv1 in points of "
    "percent with its 95 % interval (this pair alone); what a mixture of learnt size chose.",
    frame=_frame,
    readable=_readable,
)
