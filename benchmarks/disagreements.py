"""Write each switch's measured effect into its page: `disagreements.py results docs/disagreements.md`."""

import sys
from pathlib import Path

import pandas as pd
from page import replace_figures

from daam_bench.analysis.studies.switch_effects import TOGETHER, readable_switch_effects
from daam_bench.records import RunRecord

_VERSIONS = ("python", "torch", "transformers", "daam-bench")


def table_of(results: Path) -> str:
    """Return the effects on all touched variants together, or on the only one, as Markdown."""
    frame = pd.read_csv(results / "tables/switch_effects.csv")
    keys = ["dataset", "encoder", "switch", "value"]
    alone = frame.groupby(keys, dropna=False)["variant"].transform("size") == 1
    kept = frame[((frame["variant"] == TOGETHER) | alone) & frame["value"].notna()]
    shown = readable_switch_effects(kept)[
        ["Row", "Switch", "Change", "Variant", "Effect (points)", "Runs unchanged", "Dataset"]
    ]
    return f"{shown.to_markdown(index=False, disable_numparse=True)}\n\n{_origin(results)}"


def _origin(results: Path) -> str:
    file = next(results.glob("runs/*/*/*/fold*.json"))
    record = RunRecord.model_validate_json(file.read_bytes())
    found = record.environment
    versions = ", ".join(f"{name} {found[name]}" for name in _VERSIONS if name in found)
    # Of the table, not of today: the page can be made again later.
    return f"Made by `make studies` on {found.get('processor', 'an unknown processor')}; {versions}."


def main() -> None:
    """Replace what stands between the marks of the page."""
    replace_figures(Path(sys.argv[2]), "make studies", table_of(Path(sys.argv[1])))


if __name__ == "__main__":
    main()
