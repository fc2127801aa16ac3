"""What the paper prints beside ours."""

import pandas as pd

from daam_bench.analysis.aggregate import title_of
from daam_bench.analysis.paper.compare import NOT_RUN, compare_with_paper
from daam_bench.analysis.tables.base import Results, Table


def _frame(results: Results) -> pd.DataFrame:
    return compare_with_paper(results.records)


def _readable(frame: pd.DataFrame) -> pd.DataFrame:
    """Return one row a cell that was run; what was not run in one row a dataset, encoder and reason."""
    left_out = frame[frame["verdict"] == NOT_RUN]
    keys = ["source", "paper_dataset", "paper_encoder", "reason"]
    first = left_out.drop_duplicates(keys)
    counts = left_out.groupby(keys, sort=False).size()
    kept = frame[frame["verdict"] != NOT_RUN]
    numbers = [_line(row, 1) for _, row in kept.iterrows()]
    numbers += [_line(row, int(counts[tuple(row[key] for key in keys)])) for _, row in first.iterrows()]
    shown = pd.DataFrame(numbers, index=[*kept.index, *first.index], dtype=object)
    return shown


def _line(row: pd.Series, cells: int) -> dict[str, str]:
    left_out = row["verdict"] == NOT_RUN
    digits = {"": 3, "%": 2 if row["quantity"] == "spread" else 1, "million": 6}[row["unit"]]
    ours = "" if pd.isna(row["ours"]) else f"{row['ours']:.{digits}f}"
    if not pd.isna(row["low"]) and row["low"] != row["high"]:
        ours += f" ({row['low']:.{digits}f} to {row['high']:.{digits}f})"
    printed = f"{row['printed']:g}" + (
        f" to {row['printed_high']:g}" if row["printed_high"] != row["printed"] else ""
    )
    return {
        "Paper's dataset": row["paper_dataset"],
        "Encoder": row["paper_encoder"],
        "Variant": "" if left_out else title_of(row["variant"]),
        "Source": row["source"].removeprefix("arXiv 2401.11143, "),
        "Quantity": "" if left_out else row["quantity"] + (f" ({row['unit']})" if row["unit"] else ""),
        "Cell": f"{cells} cells" if left_out else row["cell"],
        "Printed": "" if left_out else printed,
        "Ours": ours,
        "Interval of": row["interval"],
        "Verdict": row["verdict"],
        "Why": row["reason"],
    }


TABLE = Table(
    title="The paper beside ours",
    caption="What arXiv 2401.11143 prints, ours with its 95 % interval, and the verdict: inside (our "
    "interval holds the printed value, rounded as printed), above or below (ours lies above or below it "
    "as a whole). Intervals: of a mean over folds or runs, Student's t as in the other tables; of the run "
    "of one fold or seed, the prediction interval of one further run, or, if there is a single run, "
    "Wilson's interval of its validation samples; of a spread, chi-square; parameter counts are exact "
    "(attention and convolutions). Not comparable: something differs that is not chance. The paper's "
    "datasets and encoders are found by kind, model and size, whatever they are called in the "
    "configuration.",
    frame=_frame,
    readable=_readable,
)
