"""Trainable parameters in three countings (the paper's Table 1 mixes them)."""

import pandas as pd

from daam_bench.analysis.aggregate import CACHE
from daam_bench.analysis.tables.base import Results, Table
from daam_bench.analysis.tables.cells import names, numbers
from daam_bench.analysis.tables.sheet import Sheet

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


def _readable(frame: pd.DataFrame) -> Sheet:
    sheet = names(frame)
    for column, title in COUNTINGS.items():
        sheet.numbers(title, column, numbers(frame[column], ",.0f"))
    return sheet


TABLE = Table(
    title="Trainable parameters",
    caption="Trainable parameters: attention alone, with the convolutions, with the classifier. Of encoder "
    "LoRA, which has no convolutions: A and B; with classifier and projector as far as they are trained.",
    section="parameters",
    keys=(*CACHE, "variant"),
    number="attention",
    frame=_frame,
    readable=_readable,
)
