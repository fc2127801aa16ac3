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
    "write_faults": 20,
    "writer_races": 12,
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


@pytest.mark.parametrize("kind", ["kills_extraction", "kills_training"])
def test_of_every_kill_it_is_counted_in_which_call_it_landed(results, kind):
    kinds = {where.rpartition(", ")[2] for where in results[kind]["landed"]}
    assert kinds & {"write", "rename"}


def test_every_kill_of_training_is_held_against_the_checkpoints(results):
    lost = results["kills_training"]["epochs_lost"]
    assert sum(lost.values()) == results["kills_training"]["tried"]
    assert lost.keys() <= {"0", "1"}


def test_damages_are_repaired_where_the_manifest_is_whole(results):
    for kind in ("damages_zarr", "damages_hdf5"):
        ways = [results[kind][way] for way in ("repaired", "extracted_again_as_the_remedy_says")]
        assert sum(ways) == results[kind]["tried"] and ways[0] > ways[1]


def test_every_job_meets_a_fault_and_every_race_is_run(results):
    faults = results["write_faults"]
    assert faults["tried"] >= len(faults["writing_calls"]) and faults["at_full_size"] > 5000
    assert len(results["writer_races"]["races"]) == results["writer_races"]["tried"] == 12
