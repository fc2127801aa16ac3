"""Measure the two switches that change the extraction, D10 and D12, and write their effects into a page.

Each is a run of `config/modalities.yaml` on one dataset with one field changed, of a few variants, on the
same folds and with the same seeds as the run that it is compared with. Usage:
extraction_switches.py results docs/disagreements.md
"""

import sys
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
import yaml
from page import origin_of, replace_figures

from daam_bench.analysis.aggregate import replica_frame, title_of
from daam_bench.analysis.tables.cells import differences
from daam_bench.analysis.tables.effects import paired_effect
from daam_bench.config.merge import load_merged
from daam_bench.direct import run_cell
from daam_bench.plan import make_plan
from daam_bench.records import RunRecord
from daam_bench.steps import progress_bar

VARIANTS = ("daam_v2", "mha", "softmax_sum")
SEEDS = (0, 1)
FOLDER = "extraction_switches"
_EFFECT = ("effect_percent", "low_percent", "high_percent")


@dataclass(frozen=True)
class Switch:
    """A switch of the extraction: what it is called, what changes, and on which cache it is tried."""

    row: str
    change: str
    dataset: str
    encoder: str
    overlay: dict[str, object]


SWITCHES = (
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
    """Train with and without each switch, below `results/extraction_switches`."""
    for switch in SWITCHES:
        for name, changes in (("base", {}), ("changed", switch.overlay)):
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
            rows.append(
                {
                    "Row": "" if variant else switch.row,
                    "Change": "" if variant else switch.change,
                    "Dataset": "" if variant else f"{switch.dataset} x {switch.encoder}",
                    "Variant": title_of(variant) if variant else "all three",
                    "Effect (points)": differences(effect, *_EFFECT)[0],
                    "Runs": len(pair[0]),
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
    replace_figures(page, "make studies, D10 and D12", table_of(results))


if __name__ == "__main__":
    main()
