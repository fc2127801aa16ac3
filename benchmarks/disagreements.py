"""Write each switch's measured effect, and every protocol's, into their page.

Usage: disagreements.py results docs/disagreements.md
"""

import sys
from pathlib import Path

import pandas as pd
from page import origin_of, replace_figures

from daam_bench.analysis.tables.protocols import TABLE as PROTOCOLS
from daam_bench.analysis.tables.switch_effects import TABLE, TOGETHER


def table_of(results: Path) -> str:
    """Return the effects of switches and of whole protocols as Markdown."""
    origin = origin_of(results, "make studies")
    return (
        f"{_switches(results)}\n\nWhole protocols, variant by variant:\n\n{_protocols(results)}\n\n{origin}"
    )


def _protocols(results: Path) -> str:
    frame = pd.read_csv(results / "tables/protocols.csv")
    shown = PROTOCOLS.readable(frame).plain().drop(columns=["Dataset", "Encoder"])
    return shown.to_markdown(index=False, disable_numparse=True)


def _switches(results: Path) -> str:
    """Return the effects on all touched variants together, or on the only one."""
    frame = pd.read_csv(results / "tables/switch_effects.csv").fillna({"label": ""})
    keys = ["dataset", "encoder", "switch", "value"]
    alone = frame.groupby(keys, dropna=False)["variant"].transform("size") == 1
    kept = frame[((frame["variant"] == TOGETHER) | alone) & frame["value"].notna()]
    shown = TABLE.readable(kept).plain()[
        ["Row", "Switch", "Change", "Variant", "Effect (points)", "Runs unchanged", "Dataset"]
    ]
    return shown.to_markdown(index=False, disable_numparse=True)


def main() -> None:
    """Replace what stands between the marks of the page."""
    replace_figures(Path(sys.argv[2]), "make studies", table_of(Path(sys.argv[1])))


if __name__ == "__main__":
    main()
