"""Scores over folds and seeds, and what is gained over the baselines."""

from collections.abc import Iterable

import pandas as pd

from daam_bench.analysis.aggregate import CACHE
from daam_bench.analysis.comparisons import best_frame
from daam_bench.analysis.tables.base import Keys, Results, Run, Table, distinct, own_runs
from daam_bench.analysis.tables.cells import (
    add_metric,
    counts,
    differences,
    names,
    ranges,
    score_heading,
    with_spread,
)
from daam_bench.analysis.tables.sheet import Sheet

BASELINES = {"majority": "majority", "best_single_layer": "best layer"}
BOLD = (
    "Bold: the smallest group at the top in which every variant is significantly better than every variant "
    "outside it (see the comparisons) and than every baseline that was run (the whole interval of the gain "
    "above 0); its members are not told apart. Where the data single out no group, nothing is bold. With one "
    "fold McNemar's test on its samples has to agree, and bold speaks of this split alone."
)
_KEYS = [*CACHE, "variant"]


def _frame(results: Results) -> pd.DataFrame:
    return add_best(results.summary, results)


def add_best(frame: pd.DataFrame, results: Results) -> pd.DataFrame:
    """Return rows of variants and baselines with the column `significantly_best`."""
    return frame.merge(best_frame(results.records, results.places), on=_KEYS, validate="m:1")


def with_rivals(runs: Iterable[Run], keys: Keys, results: Results) -> list[Run]:
    """Return runs and those of every variant and baseline of their cache: what the mark depends on."""
    cache = keys["dataset"], keys["encoder"]
    return distinct([*runs, *(run for run in results.runs if run.place[:2] == cache)])


def _readable(frame: pd.DataFrame) -> Sheet:
    sheet = names(frame)
    add_metric(sheet, frame)
    sheet.numbers("Folds x seeds", "folds", counts(frame, "folds", "seeds", "x"))
    scores = with_spread(frame["mean_percent"], frame["std_percent"])
    sheet.numbers(score_heading(frame), "mean_percent", scores, frame["significantly_best"])
    sheet.numbers("95 % interval", "low_percent", ranges(frame, "low_percent", "high_percent"))
    for baseline, title in BASELINES.items():
        gain = f"gain_over_{baseline}"
        itself = frame["variant"] == baseline
        texts = differences(frame, gain, f"{gain}_low", f"{gain}_high")
        shown = ["" if own else text for text, own in zip(texts, itself, strict=True)]
        sheet.numbers(f"Gain over {title}", gain, shown)
    return sheet


def _sources(keys: Keys, column: str, results: Results) -> list[Run]:
    """A gain has the runs of its baseline behind it, what is best those of every variant and baseline."""
    own, cache = own_runs(keys, column, results), (keys["dataset"], keys["encoder"])
    if column == "significantly_best":
        return with_rivals(own, keys, results)
    gained = next((b for b in BASELINES if column.startswith(f"gain_over_{b}")), None)
    return own if gained in (None, keys["variant"]) else [*own, *results.of(*cache, str(gained))]


TABLE = Table(
    title="Mean scores",
    caption="Score in percent: mean and population standard deviation over folds and seeds; 95 % "
    "interval of the mean over folds (seeds averaged; over seeds if there is one fold): Student's t, "
    "corrected for training samples that folds share; paired gain over the majority class and over the "
    f"best single layer with the same interval. {BOLD}",
    section="scores",
    keys=(*_KEYS,),
    number="mean_percent",
    frame=_frame,
    readable=_readable,
    sources=_sources,
)
