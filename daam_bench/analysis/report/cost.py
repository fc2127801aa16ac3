"""What the runs cost, and how fast the encoders were."""

from collections.abc import Callable, Mapping, Sequence
from itertools import groupby
from typing import Any

import pandas as pd

from daam_bench.analysis.aggregate import title_of
from daam_bench.records import RunRecord


def _largest(values: list[float]) -> float:
    return max(values)


def _mean(values: list[float]) -> float:
    return sum(values) / len(values)


# Heading -> the number of a run in the unit of the heading (None if it is not known), how runs are taken
# together. Operations of a sample are those of one: the sum over runs would be of nothing.
_COSTS: dict[str, tuple[Callable[[RunRecord], float | None], Callable[[list[float]], float]]] = {
    "Wall time (s), all runs": (lambda run: run.wall_seconds, sum),
    "CPU time (s), all runs": (lambda run: run.cpu_seconds, sum),
    "Forward (GFLOP per sample)": (lambda run: _in(1e9, run.flops_forward), _mean),
    "Forward and backward (GFLOP per sample)": (lambda run: _in(1e9, run.flops_training), _mean),
    "Training (TFLOP), all runs": (lambda run: _in(1e12, training_flops(run)), sum),
    "Peak memory (MiB), largest run": (lambda run: _in(2**20, run.peak_memory_bytes), _largest),
    "Energy (kJ), all runs": (lambda run: _in(1e3, run.energy_joules), sum),
}


def cost_frame(records: Sequence[RunRecord]) -> pd.DataFrame:
    """Return one row a variant: dataset, encoder, variant, number of runs, and every cost that is known.

    Times, the operations of the whole training and energy are sums over the runs, operations of a sample are
    their mean, memory is the largest of any run. A cost that no record knows has no column; where only some
    runs of a variant know it, the sum is of those and says so.
    """
    rows = []
    for place, group in groupby(records, key=lambda r: (r.dataset, r.encoder, r.variant)):
        runs = list(group)
        row: dict[str, Any] = {"Dataset": place[0], "Encoder": place[1], "Variant": title_of(place[2])}
        row["Runs"] = str(len(runs))
        for heading, (value_of, combine) in _COSTS.items():
            known = [value for run in runs if (value := value_of(run)) is not None]
            partly = f" ({len(known)} of {len(runs)} runs)" if len(known) < len(runs) else ""
            row[heading] = f"{_number(combine(known))}{partly}" if known else None
        rows.append(row)
    return pd.DataFrame(rows, dtype=object).dropna(axis=1, how="all").fillna("")


def training_flops(run: RunRecord) -> float | None:
    """Return the floating point operations of all training steps of a run; scoring is not counted.

    They are `flops_training` x fitted samples x epochs. Held-out samples are not fitted, and a record counts
    them among its training samples; what its steps saw is its rate times its time.
    """
    if run.flops_training is None or run.samples_per_second is None:
        return None
    return run.flops_training * round(run.samples_per_second * run.wall_seconds)


def _in(unit: float, value: float | None) -> float | None:
    return None if value is None else value / unit


def _number(value: float) -> str:
    """Return three significant digits, more where the whole part has more."""
    return f"{value:,.1f}" if abs(value) >= 100 else f"{value:.3g}"


def rate_frame(manifests: Sequence[Mapping[str, Any]]) -> pd.DataFrame:
    """Return one row a cache: samples, seconds and rates of its extraction, as far as it was measured."""
    rows = []
    for manifest in manifests:
        measured, identity = manifest["measurements"], manifest["identity"]
        unit = measured.get("unit")
        rows.append(
            {
                "Dataset": identity["dataset"],
                "Encoder": identity["encoder"]["name"],
                "Samples": f"{manifest['shape'][0]:,}",
                "Computed": _known(measured, "computed_samples", ",.0f"),
                "Reused": _known(measured, "reused_samples", ",.0f"),
                "Seconds": _known(measured, "seconds", ",.1f"),
                "Samples/s": _known(measured, "samples_per_second", ",.1f"),
                "Units/s": f"{measured['units_per_second']:,.4g} {unit}/s" if unit else "",
            }
        )
    return pd.DataFrame(rows)


def _known(measured: Mapping[str, Any], name: str, style: str) -> str:
    return format(measured[name], style) if name in measured else ""
