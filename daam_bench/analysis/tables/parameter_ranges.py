"""Ranges of the learned density parameters."""

import pandas as pd

from daam_bench.analysis.aggregate import CACHE
from daam_bench.analysis.tables.base import Results, Table
from daam_bench.analysis.tables.cells import names, numbers
from daam_bench.analysis.tables.sheet import Sheet


def _frame(results: Results) -> pd.DataFrame:
    """Return one row a modality, cache, variant and density parameter: its range after training."""
    rows = [
        {"modality": r.modality, "dataset": r.dataset, "encoder": r.encoder, "variant": r.variant}
        | {"parameter": name}
        | {"minimum": low, "maximum": high}
        for r in results.records
        for name, (low, high) in r.parameter_ranges.items()
    ]
    keys = ["modality", *CACHE, "variant", "parameter"]
    frame = pd.DataFrame(rows, columns=[*keys, "minimum", "maximum"])
    return frame.groupby(keys, sort=False, as_index=False).agg({"minimum": "min", "maximum": "max"})


def _readable(frame: pd.DataFrame) -> Sheet:
    sheet = names(frame)
    sheet.words("Modality", [modality or "not recorded" for modality in frame["modality"]])
    sheet.words("Parameter", frame["parameter"].str.replace("_", " "))
    sheet.numbers("Minimum", "minimum", numbers(frame["minimum"], ".4f"))
    sheet.numbers("Maximum", "maximum", numbers(frame["maximum"], ".4f"))
    return sheet


TABLE = Table(
    title="Learned density parameters",
    caption="Smallest and largest learned density parameters over all folds and seeds, by modality. "
    "Mean offset and scaled variance start at 0 and 2; a mixture's offset at 0, its spread at random.",
    section="parameters",
    keys=(*CACHE, "variant", "parameter"),
    number="minimum",
    frame=_frame,
    readable=_readable,
)
