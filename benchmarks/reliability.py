"""Write the figures of a torture run into the page on reliability: `reliability.py torture.json page.md`."""

import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from page import replace_figures

TITLES = {
    "kills_extraction": "kills of an extraction, at random moments and random writing calls",
    "kills_training": "kills of a training job, likewise",
    "damages_zarr": "damages to a Zarr cache",
    "damages_hdf5": "damages to an HDF5 cache",
    "real_changes": "changes of one field, each recomputes exactly what depends on it",
    "cosmetic_changes": "cosmetic changes, none recomputes anything",
    "bad_inputs": "bad inputs, each quarantined or refused",
    "write_faults": "faults at writing calls, each ended clearly, then taken up",
    "writer_races": "writers at once, and jumping clocks",
}
_VERSIONS = ("python", "torch", "zarr", "h5py", "snakemake", "numpy")


def table_of(results: Mapping[str, Any]) -> str:
    """Return the figures as Markdown, with date, machine and versions."""
    rows = [
        f"| `{kind}` | {title} | {results[kind]['tried']:,} | {results[kind]['failed']:,} |"
        for kind, title in TITLES.items()
        if kind in results
    ]
    environment = results["environment"]
    versions = ", ".join(f"{name} {environment[name]}" for name in _VERSIONS if name in environment)
    machine = environment.get("processor") or environment.get("cpu") or environment.get("machine", "")
    said = (
        f"Made by `make torture TORTURE_SCALE={results['scale']:g}` (seed {results['seed']}) on "
        f"{results['date']}; its kinds took {results['seconds']:.0f} s in all. {machine}; {versions}."
    )
    return "\n".join(["| | what | tried | failed |", "|---|---|---:|---:|", *rows, "", said])


def main() -> None:
    """Replace what stands between the marks of the page."""
    results, page = json.loads(Path(sys.argv[1]).read_bytes()), Path(sys.argv[2])
    replace_figures(page, "make torture", table_of(results))


if __name__ == "__main__":
    main()
