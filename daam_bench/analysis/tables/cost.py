"""What training cost: operations, time, memory and energy of the runs of a variant together."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from daam_bench.analysis.aggregate import CACHE
from daam_bench.analysis.tables.base import Results, Table
from daam_bench.analysis.tables.cells import names, numbers
from daam_bench.analysis.tables.sheet import Sheet
from daam_bench.records import RunRecord


def _largest(values: list[float]) -> float:
    return max(values)


def _mean(values: list[float]) -> float:
    return sum(values) / len(values)


@dataclass(frozen=True)
class _Cost:
    """One cost.

    Attributes:
        heading: with the unit that a person reads.
        unit: that of the heading, in units of the frame.
        of_run: what a run cost; None if it is not known.
        together: how runs are taken together. Operations of a sample are those of one: a sum over runs would
            be of nothing.
        measured: whether a clock or a meter gave it, so that another run gives another number.
    """

    heading: str
    unit: float
    of_run: Callable[[RunRecord], float | None]
    together: Callable[[list[float]], float]
    measured: bool


def training_flop(run: RunRecord) -> float | None:
    """Return the floating point operations of all training steps of a run; scoring is not counted.

    They are `flops_training` x fitted samples x epochs. Held-out samples are not fitted, and a record counts
    them among its training samples; what its steps saw is its rate times its time.
    """
    if run.flops_training is None or run.samples_per_second is None:
        return None
    return run.flops_training * round(run.samples_per_second * run.wall_seconds)


_COSTS = {
    "wall_seconds": _Cost("Wall time (s), all runs", 1, lambda run: run.wall_seconds, sum, True),
    "cpu_seconds": _Cost("CPU time (s), all runs", 1, lambda run: run.cpu_seconds, sum, True),
    "forward_flop": _Cost(
        "Forward (GFLOP per sample)", 1e9, lambda run: run.flops_forward, _mean, measured=False
    ),
    "forward_and_backward_flop": _Cost(
        "Forward and backward (GFLOP per sample)", 1e9, lambda run: run.flops_training, _mean, measured=False
    ),
    "training_flop": _Cost("Training (TFLOP), all runs", 1e12, training_flop, sum, measured=False),
    "peak_memory_bytes": _Cost(
        "Peak memory (MiB), largest run", 2**20, lambda run: run.peak_memory_bytes, _largest, measured=True
    ),
    "energy_joules": _Cost("Energy (kJ), all runs", 1e3, lambda run: run.energy_joules, sum, measured=True),
}
_KEYS = (*CACHE, "variant")
COLUMNS = (
    *_KEYS,
    "runs",
    "epochs",
    "parameters",
    *(column for name in _COSTS for column in (name, f"{name}_runs")),
)


def _frame(results: Results) -> pd.DataFrame:
    """Return one row a variant (`COLUMNS`): every cost, and of how many runs it is known.

    `epochs` are those that a run trained, `parameters` all that are trained; both nan for baselines.
    """
    rows = [
        dict(zip(_KEYS, place, strict=True)) | _row([run.record for run in runs])
        for place, runs in results.by_place.items()
    ]
    whole = dict.fromkeys(("epochs", "parameters"), "Int64") | dict.fromkeys(_COSTS, "float64")
    return pd.DataFrame(rows, columns=[*COLUMNS]).astype(whole)


def _row(runs: Sequence[RunRecord]) -> dict[str, Any]:
    row: dict[str, Any] = {"runs": len(runs), "epochs": max(len(run.epochs) for run in runs) or None}
    row["parameters"] = runs[0].parameters_with_classifier if runs[0].kind != "baseline" else None
    for name, cost in _COSTS.items():
        known = [value for run in runs if (value := cost.of_run(run)) is not None]
        row |= {name: cost.together(known) if known else None, f"{name}_runs": len(known)}
    return row


def _readable(frame: pd.DataFrame) -> Sheet:
    sheet = names(frame)
    sheet.numbers("Runs", "runs", numbers(frame["runs"], ".0f"))
    sheet.numbers("Epochs of a run", "epochs", numbers(frame["epochs"], ".0f"))
    sheet.numbers("Parameters", "parameters", numbers(frame["parameters"], ",.0f"))
    for name, cost in _COSTS.items():
        if frame[name].notna().any():
            cells = zip(frame[name] / cost.unit, frame[f"{name}_runs"], frame["runs"], strict=True)
            sheet.numbers(cost.heading, name, [_text(*cell) for cell in cells])
    return sheet


def _text(value: float, known: int, runs: int) -> str:
    """Return three significant digits, more where the whole part has more, and of how many runs they are."""
    if not known:
        return ""
    partly = f" ({known} of {runs} runs)" if known < runs else ""
    return (f"{value:,.1f}" if abs(value) >= 100 else f"{value:.3g}") + partly


TABLE = Table(
    title="Cost of training",
    caption="The runs of a variant together; operations of one sample are a mean over runs, memory is the "
    "largest of any run. Parameters: all that are trained, the classifier among them. Operations are those "
    "of matrix products and convolutions: work done number by number, such as the density of density "
    "attention, counts as none. Times, memory and energy were measured: another run gives others.",
    section="cost",
    keys=_KEYS,
    number="wall_seconds",
    frame=_frame,
    readable=_readable,
    measured=frozenset(name for name, cost in _COSTS.items() if cost.measured),
)
