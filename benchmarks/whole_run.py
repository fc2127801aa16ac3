"""The whole workflow through Snakemake: a first run, and runs with nothing to do."""

import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from time import perf_counter
from typing import Any

import yaml

ROOT = Path(__file__).parents[1]
AGAIN = 3  # runs with nothing to do


def measure_workflow() -> tuple[dict[str, float], dict[str, Any]]:
    """Run the default configuration through Snakemake from model and data, then with nothing to do.

    The first run takes minutes and is made once: both ratios are of it.
    """
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder)
        for name in ("Snakefile", "workflow", "config", "profiles"):
            source = ROOT / name
            shutil.copytree(source, work / name) if source.is_dir() else shutil.copy(source, work / name)
        shutil.copy(ROOT / "config.yaml", work)
        (work / "resources").symlink_to(ROOT / "resources")
        first, *again = [_run_workflow(work) for _ in range(1 + AGAIN)]
        records = [json.loads(file.read_bytes()) for file in work.glob("results/runs/*/*/*/fold*.json")]
        manifests = [
            json.loads(file.read_bytes()) for file in work.glob("results/embeddings/*/*/manifest.json")
        ]
    compute = sum(record["wall_seconds"] for record in records)
    compute += sum(facts["measurements"].get("seconds", 0.0) for facts in manifests)
    ratios = {
        "noop_run_over_first_run": statistics.median(again) / first,
        "snakemake_wall_over_compute": first / compute,
    }
    config = yaml.safe_load((ROOT / "config.yaml").read_text(encoding="utf-8"))
    facts = {"configuration": config["title"], "cores": os.cpu_count()}
    return ratios, {"first_seconds": first, "again_seconds": again, "compute_seconds": compute} | facts


def _run_workflow(folder: Path) -> float:
    """Return the seconds of a run of the workflow's tables in a folder."""
    command = [str(Path(sys.executable).with_name("snakemake")), "tables", "--cores", "all"]
    start = perf_counter()
    subprocess.run(command, cwd=folder, check=True, capture_output=True)
    return perf_counter() - start
