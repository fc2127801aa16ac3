"""What the runs cost, and how fast the encoders were."""

from collections.abc import Callable, Mapping, Sequence
from itertools import groupby
from typing import Any

import pandas as pd

from daam_bench.analysis.aggregate import title_of
from daam_bench.records import RunRecord

# Fields of a record that are costs, by the beginning of their name: how runs are taken together.
_COSTS: dict[str, Callable[[list[float]], float]] = {
    "wall_seconds": sum,
    "cpu_seconds": sum,
    "flops": sum,
    "energy": sum,
    "peak_memory": max,
}


def cost_frame(records: Sequence[RunRecord]) -> pd.DataFrame:
    """Return one row a variant: replicas, and every cost that its records know.

    Times, operations and energy are sums over runs, memory is the largest of any run. A cost that no record
    knows has no column.
    """
    fields = {
        name: combine
        for name in RunRecord.model_fields
        for beginning, combine in _COSTS.items()
        if name.startswith(beginning)
    }
    rows = []
    for place, group in groupby(records, key=lambda r: (r.dataset, r.encoder, r.variant)):
        runs = list(group)
        row: dict[str, Any] = {"Dataset": place[0], "Encoder": place[1], "Variant": title_of(place[2])}
        row["Runs"] = str(len(runs))
        for name, combine in fields.items():
            values = [value for run in runs if isinstance(value := getattr(run, name), int | float)]
            row[_heading(name, combine is max)] = _number(combine(values)) if values else None
        rows.append(row)
    return pd.DataFrame(rows, dtype=object).dropna(axis=1, how="all").fillna("")


def _heading(name: str, largest: bool) -> str:
    words = {"wall_seconds": "wall time (s)", "cpu_seconds": "CPU time (s)"}.get(name, name.replace("_", " "))
    return f"{words[0].upper()}{words[1:]}" + (", largest" if largest else "")


def _number(value: float) -> str:
    return f"{value:,.1f}" if abs(value) < 1e6 else f"{value:.3g}"


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
