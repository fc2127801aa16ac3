"""The benchmark on a GPU: its code, tried with small models."""

import json
import os
import subprocess
import sys
from pathlib import Path

import torch

SCRIPT = Path(__file__).parents[2] / "benchmarks" / "gpu.py"


def run(folder, *options):
    environment = os.environ | {"PYTHONPATH": str(SCRIPT.parents[1])}
    command = [sys.executable, str(SCRIPT), *options]
    return subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, check=False, timeout=500
    )


def test_it_measures_both_models(tmp_path):
    done = run(tmp_path, "--tiny", "--samples", "7")
    assert done.returncode == 0, done.stderr
    found = json.loads((tmp_path / "results/benchmarks/gpu_tiny.json").read_bytes())
    for name in ("beit_large", "wavlm_large"):
        rates = [found[f"{name}_samples_per_second_{way}"] for way in ("bare", "extraction")]
        assert min(rates) > 0
        assert found[f"{name}_extraction_over_bare_forward"] > 0
        assert len(found["raw"][name]["seconds"]["bare"]) == 5


def test_nothing_is_run_without_a_gpu(tmp_path):
    if not torch.cuda.is_available():
        done = run(tmp_path)
        assert (done.returncode, done.stdout) == (0, "no GPU here: not run\n")
