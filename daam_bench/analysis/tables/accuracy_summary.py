"""Scores over folds and seeds, and what is gained over the baselines."""

import pandas as pd

from daam_bench.analysis.aggregate import summary_frame
from daam_bench.analysis.tables.base import Results, Table
from daam_bench.analysis.tables.cells import add_metric, names, ranges, score_heading, with_spread

BASELINES = {"majority": "majority", "best_single_layer": "best layer"}


def _frame(results: Results) -> pd.DataFrame:
    return summary_frame(results.replicas)


def _readable(frame: pd.DataFrame) -> pd.DataFrame:
    shown = add_metric(names(frame), frame)
    shown["Folds x seeds"] = [f"{f} x {s}" for f, s in zip(frame["folds"], frame["seeds"], strict=True)]
    shown[score_heading(frame)] = with_spread(frame["mean_percent"], frame["std_percent"])
    shown["95 % interval"] = ranges(frame, "low_percent", "high_percent")
    for baseline, title in BASELINES.items():
        gain = f"gain_over_{baseline}"
        spans = ranges(frame, f"{gain}_low", f"{gain}_high", "+.1f")
        cells = [f"{value:+.1f} ({span})" for value, span in zip(frame[gain], spans, strict=True)]
        itself = frame["variant"] == baseline
        shown[f"Gain over {title}"] = [c if not s else "" for c, s in zip(cells, itself, strict=True)]
    shown["Best"] = ["best" if best else "" for best in frame["significantly_best"]]
    return shown


TABLE = Table(
    title="Mean scores",
    caption="Score in percent: mean and population standard deviation over folds and seeds; 95 % "
    "interval of the mean over folds (seeds averaged; over seeds if there is one fold): Student's t, "
    "corrected for training samples that folds share; paired gain over the majority class and over the "
    "best single layer with the same interval. Best: significantly better than every variant without the "
    "mark (see the comparisons).",
    frame=_frame,
    readable=_readable,
)
