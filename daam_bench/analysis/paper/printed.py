"""Every cell that the paper prints, in one long form."""

from importlib.resources import files
from typing import Any

import pandas as pd

from daam_bench.analysis.paper.ablation import QUANTITY as ABLATED
from daam_bench.analysis.paper.ablation import AblationCell

# Cached LoRA is another method than the paper's: its rows are to be compared with encoder LoRA.
LORA_ROWS = ("lora_r4", "lora_r8", "lora_plus_r4", "lora_plus_r8")
_MECHANISMS = {
    "gqdaam": ("gqdaam",),
    "gqa": ("gqa",),
    "lora": ("lora_r4", "lora_r8"),
    "lora_plus": ("lora_plus_r4", "lora_plus_r8"),
    "daam_v1": ("daam_v1",),
    "daam_v2": ("daam_v2",),
    "mixture": ("mixture",),
}
# What the paper's whole table is of: the smallest count is of one dataset, the largest of another.
ANY = "any"
COLUMNS = (
    "source",
    "paper_dataset",
    "paper_encoder",
    "paper_variant",
    "quantity",
    "cell",
    "unit",
    "printed",
    "printed_high",
)


def printed_cells() -> pd.DataFrame:
    """Return one row a printed cell (`COLUMNS`).

    `quantity` is accuracy, mean accuracy, spread, parameters (of attention and convolutions), attention
    parameters, a density parameter, or ablated accuracy. `printed_high` is the upper end where the paper
    prints a range, otherwise equal to `printed`. `paper_dataset` is `any` for the ranges of parameter counts.
    """
    rows = [*_accuracies(), *_summaries(), *_parameters(), *_ranges(), *_ablations()]
    frame = pd.DataFrame(rows, columns=[*COLUMNS])
    return frame.assign(printed_high=frame["printed_high"].fillna(frame["printed"]))


def _read(name: str) -> list[dict[Any, Any]]:
    with (files("daam_bench.analysis.paper") / f"{name}.csv").open(encoding="utf-8") as handle:
        records: list[dict[Any, Any]] = pd.read_csv(handle).to_dict("records")
    return records


def _row(record: dict[Any, Any], **values: Any) -> dict[str, Any]:
    encoders = {"iemocap": "wavlm-large", "ag_news": "llama2-13b", "cifar100": "beit-large"}
    dataset = record.get("dataset", ANY)
    place = {"paper_dataset": dataset, "paper_encoder": encoders.get(dataset, ANY)}
    return {"source": record["source"], "paper_variant": record.get("variant", "")} | place | values


def _accuracies() -> list[dict[str, Any]]:
    return [
        _row(r, quantity="accuracy", cell=r["run"], unit="%", printed=r["accuracy_percent"])
        for r in _read("accuracy")
    ]


def _summaries() -> list[dict[str, Any]]:
    quantities = {"mean accuracy": "mean_percent", "spread": "std_percent"}
    return [
        _row(r, quantity=quantity, cell="all", unit="%", printed=r[column])
        for r in _read("accuracy_summary_as_printed")
        for quantity, column in quantities.items()
    ]


def _parameters() -> list[dict[str, Any]]:
    countings = {"parameters": "", "attention parameters": "attention_only_"}
    return [
        _row(r, paper_variant=variant, quantity=quantity, cell=r["heads"], unit="million")
        | {"printed": r[f"{prefix}min_millions"], "printed_high": r[f"{prefix}max_millions"]}
        for r in _read("parameters_as_printed")
        for variant in _MECHANISMS[r["mechanism"]]
        for quantity, prefix in countings.items()
        if not pd.isna(r[f"{prefix}min_millions"])
    ]


def _ranges() -> list[dict[str, Any]]:
    return [
        _row(r, paper_variant="daam_v1", quantity=f"{name.replace('_', ' ')}", cell=end, unit="")
        | {"printed": r[f"{name}_{end}"]}
        for r in _read("gaussian_parameter_ranges")
        for name in ("mean_offset", "scaled_variance")
        for end in ("min", "max")
    ]


def _ablations() -> list[dict[str, Any]]:
    found = []
    for r in _read("layer_ablation"):
        first, _, last = str(r["layers"]).partition("-")
        fold = "" if pd.isna(r["run"]) else r["run"]
        cell = AblationCell(r["importance"], int(first), int(last or first), fold).name
        row = _row(r, paper_variant="daam_v1", quantity=ABLATED, cell=cell, unit="%")
        found.append(row | {"printed": r["accuracy_percent"]})
    return found
