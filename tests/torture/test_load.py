"""A small version of `make load`: every step ends under its limit of memory, and says its rate."""

import json
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
GIB = 2**30


def test_a_cache_goes_through_every_step_under_a_limit(tmp_path):
    size = 0.08
    done = subprocess.run(
        [
            sys.executable,
            ROOT / "benchmarks" / "load.py",
            "--gib",
            str(size),
            "--folder",
            tmp_path / "scratch",
        ],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    found = json.loads((tmp_path / "results" / "benchmarks" / "load.json").read_bytes())
    steps = found["steps"]
    assert 0.9 * size * GIB < found["cache_bytes"] <= size * GIB
    assert steps["write"]["chunks"] > 2  # so that shuffling and streaming have several to deal with
    assert steps["verify"]["bad_chunks"] == 0
    assert steps["statistics"]["layers"] == 40
    assert steps["tables"]["tables"] > 0
    for variant in ("daam_v1", "daam_v2"):
        assert steps[variant]["samples"] == found["samples"]
    for step in steps.values():
        assert 0 < step["peak_private_mebibytes"] < found["limit_gibibytes"] * 1024
    assert not any((tmp_path / "scratch").iterdir())
