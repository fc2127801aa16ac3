"""Write figures into the page on reliability: `reliability.py torture page.md`; or `load`, or `fuzz`."""

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
_LEAST_SECONDS = 60  # of fuzzing each parser
_VERSIONS = ("python", "torch", "zarr", "h5py", "snakemake", "numpy")


def table_of(results: Mapping[str, Any]) -> str:
    """Return the figures as Markdown, with date, machine and versions."""
    rows = [
        f"| `{kind}` | {title} | {results[kind]['tried']:,} | {results[kind]['failed']:,} |"
        for kind, title in TITLES.items()
        if kind in results
    ]
    said = (
        f"Made by `make torture TORTURE_SCALE={results['scale']:g}` (seed {results['seed']}) on "
        f"{results['date']}; its kinds took {results['seconds']:.0f} s in all. {_machine(results)}"
    )
    return "\n".join(["| | what | tried | failed |", "|---|---|---:|---:|", *rows, "", said])


def load_table_of(results: Mapping[str, Any]) -> str:
    """Return the figures of a large cache as Markdown, with date, machine and versions."""
    rows = []
    for name, facts in results["steps"].items():
        rate = f"{facts['gigabytes_per_second']:.3f}" if "gigabytes_per_second" in facts else ""
        rows.append(f"| {name} | {facts['seconds']:.0f} | {rate} | {facts['peak_private_mebibytes']:,.0f} |")
    said = (
        f"{results['samples']:,} of AG News' {results['samples_of_ag_news']:,} samples x 40 x 5120 in "
        f"float16, {results['cache_bytes'] / 1e9:.1f} GB, every step held to "
        f"{results['limit_gibibytes']:g} GiB; a decoder of {results['decoder_channels']} channels. "
        f"Made by `make load` on {results['date']}. {_machine(results)}"
    )
    header = ["| step | seconds | GB/s | private memory, MiB |", "|---|---:|---:|---:|"]
    return "\n".join([*header, *rows, "", said])


def fuzz_table_of(results: Mapping[str, Any]) -> str:
    """Return the figures of fuzzed parsers as Markdown, with date, machine and versions."""
    rows = [
        f"| `{name}` | {facts['runs']:,} | {int(facts['crashed'])} |"
        for name, facts in results["parsers"].items()
    ]
    said = (
        f"Made by `make fuzz` (seed {results['seed']}) on {results['date']}, {results['seconds']} s of each "
        f"parser. {_machine(results)}"
    )
    return "\n".join(["| parser | inputs | crashed |", "|---|---:|---:|", *rows, "", said])


def _is_whole(name: str, results: Mapping[str, Any]) -> bool:
    """Return whether results are of a run at full size, of all that there is."""
    if name == "fuzz":
        return bool(results["seconds"] >= _LEAST_SECONDS)
    return results.get("scale", 1) >= 1 and (name != "torture" or TITLES.keys() <= results.keys())


def _machine(results: Mapping[str, Any]) -> str:
    environment = results["environment"]
    versions = ", ".join(f"{name} {environment[name]}" for name in _VERSIONS if name in environment)
    machine = environment.get("processor") or environment.get("cpu") or environment.get("machine", "")
    return f"{machine}; {versions}."


def main() -> None:
    """Replace what stands between the marks of the page."""
    name, page = sys.argv[1], Path(sys.argv[2])
    results = json.loads(Path(f"results/benchmarks/{name}.json").read_bytes())
    if not _is_whole(name, results):
        print(f"{page} shows whole runs at full size only: it stays as it is")
        return
    table = {"torture": table_of, "load": load_table_of, "fuzz": fuzz_table_of}[name](results)
    replace_figures(page, f"make {name}", table)


if __name__ == "__main__":
    main()
