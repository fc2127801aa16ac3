"""A small version of `make torture`: every kind is tried, and nothing fails."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
LEAST = {
    "kills_extraction": 10,
    "kills_training": 3,
    "damages_zarr": 22,
    "damages_hdf5": 22,
    "real_changes": 4,
    "cosmetic_changes": 4,
    "bad_inputs": 500,
    "write_faults": 10,
    "writer_races": 7,
}


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    output = tmp_path_factory.mktemp("torture") / "torture.json"
    command = [sys.executable, "-m", "benchmarks.torture", "--scale", "0.005", "--output", str(output)]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False, timeout=500
    )
    assert output.exists(), done.stderr
    return json.loads(output.read_bytes())


@pytest.mark.parametrize("kind", LEAST)
def test_nothing_fails(results, kind):
    assert results[kind]["tried"] >= LEAST[kind]
    assert not results[kind]["failures"]
    assert results[kind]["failed"] == 0


def test_only_what_is_forged_and_never_read_is_not_found(results):
    for kind in ("damages_zarr", "damages_hdf5"):
        forged = {"edit_json", "edit_ledger", "rewrite_array", "rewrite_attribute"}
        assert results[kind].get("not_found_by_verify", {}).keys() <= forged
        assert results[kind]["rows_extracted_again"] > 0


@pytest.mark.parametrize("kind", ["kills_extraction", "kills_training"])
def test_of_every_kill_it_is_counted_how_far_the_run_had_come(results, kind):
    assert sum(results[kind]["landed"].values()) == results[kind]["tried"]
