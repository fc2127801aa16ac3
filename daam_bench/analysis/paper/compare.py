"""Each printed cell beside our value, with a verdict and its reason."""

from collections.abc import Sequence
from itertools import groupby
from typing import Any

import pandas as pd

from daam_bench.adapters.presets import KIND
from daam_bench.analysis.paper.ablation import QUANTITY as ABLATED
from daam_bench.analysis.paper.ablation import Ablated, missing, other_layers, runs_of
from daam_bench.analysis.paper.ours import NAN, OURS, Ours
from daam_bench.analysis.paper.printed import ANY, LORA_ROWS, printed_cells
from daam_bench.analysis.paper.settings import DECODER_CHANNELS, SETTINGS, Setting, departures
from daam_bench.records import RunRecord

INSIDE, ABOVE, BELOW = "inside", "above", "below"
NOT_COMPARABLE, NOT_RUN = "not comparable", "not run"
COLUMNS = ("dataset", "encoder", "variant", "ours", "low", "high", "interval", "runs", "verdict", "reason")
_SCORES = ("accuracy", "mean accuracy", "spread", ABLATED)
# Half of the last printed digit: what rounding can have hidden.
ROUNDING = {
    "accuracy": 0.05,
    ABLATED: 0.05,
    "mean accuracy": 0.05,
    "spread": 0.005,
    "parameters": 0.005,
    "attention parameters": 0.0005,
    "mean offset": 0.005,
    "scaled variance": 0.005,
}


def compare_with_paper(records: Sequence[RunRecord], ablated: Sequence[Ablated] = ()) -> pd.DataFrame:
    """Return one row a printed cell and cache of ours that is of its dataset and encoder.

    Columns are those of `printed_cells` and `COLUMNS`. `verdict` is where our whole interval lies, the
    printed value rounded as printed: inside (it holds the value), above, below; `not comparable` with its
    reason where something differs that is not chance; `not run`. A range of parameter counts, which spans
    the paper's encoders, is compared with every cache on one of them. A cell of the layer ablation is
    compared with the layers of highest, or lowest, importance in our run; `reason` names them where they
    are others than the paper's.

    Args:
        records: of ordinary runs.
        ablated: of runs on some layers of the same caches.
    """
    caches = [list(runs) for _, runs in groupby(sorted(records, key=_place), key=_place)]
    known = [(setting, runs) for runs in caches for setting in SETTINGS if setting.is_of(runs[0])]
    rows = []
    for cell in printed_cells().to_dict("records"):
        matching = [(s, runs) for s, runs in known if cell["paper_dataset"] in (ANY, s.dataset)]
        rows += [cell | _beside(cell, s, runs, ablated) for s, runs in matching] or [cell | _not_run(cell)]
    return pd.DataFrame(rows, columns=[*printed_cells().columns, *COLUMNS])


def _place(record: RunRecord) -> tuple[str, str]:
    return record.dataset, record.encoder


def _nothing(verdict: str, reason: str) -> dict[str, Any]:
    return (
        dict.fromkeys(COLUMNS, "")
        | dict.fromkeys(("ours", "low", "high"), NAN)
        | {
            "runs": 0,
            "verdict": verdict,
            "reason": reason,
        }
    )


def _not_run(cell: dict[Any, Any]) -> dict[str, Any]:
    if cell["paper_dataset"] == ANY:
        return _nothing(NOT_RUN, "none of the paper's encoders was run")
    return _nothing(NOT_RUN, "this dataset with this encoder was not run")


def _beside(
    cell: dict[Any, Any], setting: Setting, runs: list[RunRecord], ablated: Sequence[Ablated]
) -> dict[str, Any]:
    """Return our side of a cell on one cache."""
    variant = cell["paper_variant"]
    ours_name = f"encoder_{variant}" if variant in LORA_ROWS else variant
    place = {"dataset": runs[0].dataset, "encoder": runs[0].encoder, "variant": ours_name}
    mine, absent = [r for r in runs if r.variant == ours_name], "this variant"
    if not mine and variant in LORA_ROWS and any(r.variant == variant for r in runs):
        reason = "cached LoRA adapts the attention over the layers, the paper's adapts the encoder"
        return _nothing(NOT_COMPARABLE, reason) | place | {"variant": variant}
    if cell["quantity"] == ABLATED:
        here = [a for a in ablated if _place(a.record) == _place(runs[0])]
        mine, absent = runs_of(cell["cell"], ours_name, here), missing(cell["cell"])
    ours = OURS[cell["quantity"]](mine, cell["cell"], setting.units) if mine else None
    if ours is None:
        return _nothing(NOT_RUN, f"{'this fold' if mine else absent} was not run") | place
    verdict, reason = _verdict(cell, setting, mine, ours)
    return place | {
        "ours": ours.value,
        "low": ours.low,
        "high": ours.high,
        "interval": ours.interval,
        "runs": len(ours.runs),
        "verdict": verdict,
        "reason": reason,
    }


def _verdict(cell: dict[Any, Any], setting: Setting, mine: list[RunRecord], ours: Ours) -> tuple[str, str]:
    if reason := _obstacle(cell["quantity"], setting, mine, ours):
        return NOT_COMPARABLE, reason
    compared = [record for record in mine if (record.fold, record.seed) in ours.runs]
    remark = other_layers(cell["cell"], compared) if cell["quantity"] == ABLATED else ""
    rounding = ROUNDING[cell["quantity"]]
    if ours.low > cell["printed_high"] + rounding:
        return ABOVE, remark
    return (BELOW if ours.high < cell["printed"] - rounding else INSIDE), remark


def _obstacle(quantity: str, setting: Setting, mine: list[RunRecord], ours: Ours) -> str:
    """Return why a value of ours cannot be held against the printed one; mostly nothing."""
    if quantity == "attention parameters" or (quantity == "parameters" and mine[0].kind == KIND):
        return ""  # encoder LoRA has no decoder
    if quantity == "parameters":
        channels = mine[0].training.get("decoder_channels")
        return "" if channels == DECODER_CHANNELS else f"decoder channels {channels} instead of 512"
    found = departures(setting, mine)
    if quantity in _SCORES and mine[0].metric != "accuracy":
        found.append(f"ours is {mine[0].metric.replace('_', ' ')}")
    if not found and pd.isna(ours.low):
        found.append("one run gives no interval")
    return "; ".join(found)
