"""Trainable parameters in three countings (the paper's Table 1 mixes them)."""

import pandas as pd

from daam_bench.analysis.aggregate import CACHE
from daam_bench.analysis.tables.base import Results, Table
from daam_bench.analysis.tables.cells import names

COUNTINGS = {"attention": "Attention", "with_decoder": "+ convolutions", "with_classifier": "+ classifier"}


def _frame(results: Results) -> pd.DataFrame:
    """Return one row a trained variant: its parameters in three countings."""
    rows = [
        {name: getattr(r, name) for name in (*CACHE, "variant")}
        | {counting: getattr(r, f"parameters_{counting}") for counting in COUNTINGS}
        for r in results.records
        if r.kind != "baseline"
    ]
    frame = pd.DataFrame(rows, columns=[*CACHE, "variant", *COUNTINGS])
    return frame.drop_duplicates([*CACHE, "variant"], ignore_index=True)


def _readable(frame: pd.DataFrame) -> pd.DataFrame:
    shown = names(frame)
    for column, title in COUNTINGS.items():
        shown[title] = [f"{int(value):,}" for value in frame[column]]
    return shown


TABLE = Table(
    title="Trainable parameters",
    caption="Trainable parameters: attention alone, with the convolutions, with the classifier. Of encoder "
    "LoRA, which has no convolutions: A and B; with classifier and projector as far as they are trained.",
    frame=_frame,
    readable=_readable,
)
