"""What the paper prints beside ours."""

import pandas as pd

from daam_bench.analysis.aggregate import title_of
from daam_bench.analysis.marks import marked
from daam_bench.analysis.paper.ablation import QUANTITY as ABLATED
from daam_bench.analysis.paper.ablation import Ablated, AblationCell
from daam_bench.analysis.paper.compare import NOT_RUN, compare_with_paper
from daam_bench.analysis.paper.ours import OURS
from daam_bench.analysis.paper.printed import ANY
from daam_bench.analysis.paper.settings import SETTINGS
from daam_bench.analysis.studies.frames import derived_of
from daam_bench.analysis.tables.base import Keys, Results, Run, Table
from daam_bench.analysis.tables.sheet import Sheet
from daam_bench.studies.names import Pick

# What is ours in a row; all else is the paper's.
_OURS = ("variant", "optimistic", "ours", "low", "high", "interval", "runs", "verdict", "reason")


def _frame(results: Results) -> pd.DataFrame:
    ablated = [
        Ablated(Pick.parse(run.study.subject), run.record)
        for run in results.derived
        if run.study and run.study.kind == "layers"
    ]
    return compare_with_paper(results.records, ablated)


def _readable(frame: pd.DataFrame) -> Sheet:
    """Return one row a cell that was run; what was not run in one row a dataset, encoder and reason."""
    left_out = frame[frame["verdict"] == NOT_RUN]
    keys = ["source", "paper_dataset", "paper_encoder", "reason"]
    counts = left_out.groupby(keys, sort=False).size()
    kept = frame[frame["verdict"] != NOT_RUN]
    rows = pd.concat([kept, left_out.drop_duplicates(keys)])
    lines = [_line(row, int(counts.get(tuple(row[key] for key in keys), 1))) for _, row in rows.iterrows()]
    sheet = Sheet(rows.index)
    for heading in lines[0] if lines else ():
        sheet.words(heading, [line[heading] for line in lines])
    sheet.numbers("Printed", "printed", [line["Printed"] for line in lines])
    sheet.numbers("Ours", "ours", [line["Ours"] for line in lines])
    return sheet


def _line(row: pd.Series, cells: int) -> dict[str, str]:
    left_out = row["verdict"] == NOT_RUN
    quantity = row["quantity"] + (f" ({row['unit']})" if row["unit"] else "")
    (variant,) = marked([title_of(row["variant"])], [row["optimistic"]])
    return {
        "Paper's dataset": row["paper_dataset"],
        "Encoder": row["paper_encoder"],
        "Variant": "" if left_out else variant,
        "Source": row["source"].removeprefix("arXiv 2401.11143, "),
        "Quantity": "" if left_out else quantity,
        "Cell": f"{cells} cell{'s' if cells > 1 else ''}" if left_out else row["cell"],
        "Printed": "" if left_out else _span(row["printed"], row["printed_high"], "g"),
        "Ours": _ours(row),
        "Interval of": row["interval"],
        "Verdict": row["verdict"],
        "Why": row["reason"],
    }


def _span(low: float, high: float, style: str) -> str:
    return f"{low:{style}}" if low == high else f"{low:{style}} to {high:{style}}"


def _ours(row: pd.Series) -> str:
    if pd.isna(row["ours"]):
        return ""
    style = f".{ {'': 3, '%': 2 if row['quantity'] == 'spread' else 1, 'million': 6}[row['unit']] }f"
    exact = pd.isna(row["low"]) or row["low"] == row["high"]
    return f"{row['ours']:{style}}" + ("" if exact else f" ({_span(row['low'], row['high'], style)})")


def _sources(keys: Keys, column: str, results: Results) -> list[Run]:
    """The runs that our side is computed from; none are behind what the paper prints or what was not run."""
    mine = _candidates(keys, results) if column in _OURS and keys["dataset"] else []
    if not mine:
        return []
    setting = next(
        s for s in SETTINGS if s.is_of(mine[0].record) and keys["paper_dataset"] in (ANY, s.dataset)
    )
    ours = OURS[keys["quantity"]]([run.record for run in mine], keys["cell"], setting.units)
    wanted = () if ours is None else ours.runs
    return [run for run in mine if (run.record.fold, run.record.seed) in wanted]


def _candidates(keys: Keys, results: Results) -> list[Run]:
    """Return the runs of a row's variant; of the layer ablation those on the layers that it is of."""
    if keys["quantity"] != ABLATED:
        return results.of(keys["dataset"], keys["encoder"], keys["variant"])
    cell = AblationCell.parse(keys["cell"])
    every = derived_of(keys, results, "layers")
    return [run for run, study in every if cell.is_of(Pick.parse(study.subject))]


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
    section="paper",
    keys=("paper_dataset", "paper_variant", "quantity", "cell", "dataset", "encoder", "variant"),
    number="ours",
    frame=_frame,
    readable=_readable,
    sources=_sources,
)
