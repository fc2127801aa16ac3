"""Measure the switches that no study tries, and write their effects into a page.

They are D4's learning rates, which depend on the dataset, D5 where the last epoch scores (one that an inner
part chooses lies before the rate falls), and D10 and D12, which change the extraction. Each is a run of
`config/modalities.yaml` on one dataset with one field changed, of a few variants, on the same folds and with
the same seeds as the run that it is compared with. Usage:
overlay_switches.py results docs/disagreements.md
"""

import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd
import yaml
from page import origin_of, replace_figures

from daam_bench.analysis.aggregate import replica_frame, title_of
from daam_bench.analysis.marks import is_optimistic, marked
from daam_bench.analysis.tables.cells import differences
from daam_bench.analysis.tables.effects import paired_effect
from daam_bench.config.merge import load_merged
from daam_bench.direct import run_cell
from daam_bench.plan import make_plan
from daam_bench.records import RunRecord
from daam_bench.steps import progress_bar

VARIANTS = ("daam_v2", "mha", "softmax_sum")
SEEDS = (0, 1)
FOLDER = "overlay_switches"
_EFFECT = ("effect_percent", "low_percent", "high_percent")


@dataclass(frozen=True)
class Switch:
    """A switch: its name, what changes, on which cache it is tried, and the overlays of both runs."""

    row: str
    change: str
    dataset: str
    encoder: str
    changed: dict[str, Any]
    base: dict[str, Any] = field(default_factory=dict)

    @property
    def is_optimistic(self) -> bool:
        """Whether the samples that score steer the changed run."""
        return is_optimistic({"select": "inner"} | self.changed.get("protocol", {}))


def _paper_long(protocol: dict[str, str], **training: float) -> dict[str, Any]:
    """Return an overlay with the paper's number of epochs."""
    return {"training": {"epochs": 35} | training, "protocol": protocol}


SWITCHES = (
    Switch(
        "D4",
        "learning rate: 1e-4 to 1e-5, as the scripts have it on CIFAR-100",
        "digits",
        "dinov2-small-shaped",
        _paper_long({}, learning_rate=1e-5),
        _paper_long({}, learning_rate=1e-4),
    ),
    Switch(
        "D5",
        "schedule: constant to plateau, where the last epoch scores",
        "digits",
        "dinov2-small-shaped",
        _paper_long({"select": "last", "schedule": "plateau"}),
        _paper_long({"select": "last"}),
    ),
    Switch(
        "D10",
        "short clips: masked to zero_padded",
        "hedgewars",
        "whisper-tiny-en",
        {"protocol": {"short_clips": "zero_padded"}},
    ),
    Switch(
        "D12",
        "tokens: all to patches",
        "openmoji",
        "dinov2-small-shaped",
        {"encoders": {"dinov2-small-shaped": {"tokens": "patches"}}},
    ),
)


def measure(results: Path) -> None:
    """Train with and without each switch, below `results/overlay_switches`."""
    for switch in SWITCHES:
        for name, changes in (("base", switch.base), ("changed", switch.changed)):
            place = results / FOLDER / switch.row / name
            place.mkdir(parents=True, exist_ok=True)
            overlay = place / "overlay.yaml"
            overlay.write_text(yaml.safe_dump(changes), encoding="utf-8")
            config = load_merged(Path("config.yaml"), [Path("config/modalities.yaml"), overlay])
            plan = make_plan(config)
            for variant in VARIANTS:
                cell = (switch.dataset, switch.encoder, variant)
                with progress_bar("per second") as progress:
                    run_cell(config, plan, cell, None, SEEDS, place, place, progress)


def table_of(results: Path) -> str:
    """Return the effects as Markdown: of all variants together, then of each."""
    rows = []
    for switch in SWITCHES:
        base, changed = (_replicas(results / FOLDER / switch.row / name) for name in ("base", "changed"))
        for variant in (None, *VARIANTS):
            pair = [frame[frame["variant"].eq(variant or frame["variant"])] for frame in (changed, base)]
            effect = pd.DataFrame([paired_effect(*pair)])
            scores = pair[0].merge(pair[1], on=["variant", "fold", "seed"], suffixes=("", "_before"))
            same = (scores["score_percent"] == scores["score_percent_before"]).sum()
            rows.append(
                {
                    "Row": "" if variant else switch.row,
                    "Change": "" if variant else switch.change,
                    "Dataset": "" if variant else f"{switch.dataset} x {switch.encoder}",
                    "Variant": title_of(variant) if variant else "all three",
                    "Effect (points)": marked(differences(effect, *_EFFECT), [switch.is_optimistic])[0],
                    "Runs unchanged": f"{same} of {len(scores)}",
                }
            )
    table = pd.DataFrame(rows).to_markdown(index=False, disable_numparse=True)
    return f"{table}\n\n{origin_of(results / FOLDER / SWITCHES[0].row / 'base', 'make studies')}"


def _replicas(place: Path) -> pd.DataFrame:
    files = sorted(place.glob("runs/*/*/*/fold*_seed*.json"))
    return replica_frame([RunRecord.model_validate_json(file.read_bytes()) for file in files])


def main() -> None:
    """Measure, and replace what stands between the marks of the page."""
    results, page = Path(sys.argv[1]), Path(sys.argv[2])
    measure(results)
    replace_figures(page, "make studies, by overlays", table_of(results))


if __name__ == "__main__":
    main()
