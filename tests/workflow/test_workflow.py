"""The workflow itself: dry runs, kills, wrong configurations. Real model, real data, few samples."""

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[2]
BIN = Path(sys.executable).parent
TINY = {
    "datasets": {"vader": {"samples_per_group": 40}},
    "experiments": [
        {"dataset": "vader", "encoder": "minilm-l6", "variants": ["daam_v2", "mixture"], "seeds": [0, 1]}
    ],
    "training": {"epochs": 2, "decoder_channels": 8},
    "cache": {"chunk_mebibytes": 0.1},
}


@pytest.fixture
def folder(tmp_path, real_resources):
    """Return a working folder with the workflow's configuration and the fetched files."""
    for name in ("config.yaml", "profiles"):
        (tmp_path / name).symlink_to(ROOT / name)
    (tmp_path / "resources").symlink_to(real_resources)
    (tmp_path / "tiny.yaml").write_text(yaml.safe_dump(TINY))
    return tmp_path


def command(target: str, *options: str) -> list[str]:
    program = [str(BIN / "snakemake"), "--snakefile", str(ROOT / "Snakefile"), "--cores", "2"]
    return [*program, *options, "--configfile", "tiny.yaml", "--", target]


def run(folder: Path, target: str, *options: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command(target, *options), cwd=folder, capture_output=True, text=True, check=False, timeout=400
    )


def tables(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted((folder / "results/tables").iterdir())}


def wait_for(condition: Callable[[], bool], process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + 200
    while not condition():
        assert process.poll() is None, "the run ended before the moment came"
        assert time.monotonic() < deadline, "the moment did not come"
        time.sleep(0.005)


def write_overlay(folder: Path, **changes: object) -> None:
    (folder / "tiny.yaml").write_text(yaml.safe_dump(TINY | changes))


def test_killed_in_both_stages_the_same_command_ends_with_the_same_tables(folder, tmp_path_factory):
    ledgers = folder / "results/embeddings/vader/minilm-l6"
    records = folder / "results/runs/vader/minilm-l6"
    moments = [
        lambda: any(p.read_bytes().count(b"\n") >= 2 for p in ledgers.glob("*.ledger.jsonl")),
        lambda: len(list(records.glob("*/fold*_seed*.json"))) >= 1,
    ]
    for moment in moments:
        process = subprocess.Popen(
            command("tables"), cwd=folder, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        wait_for(moment, process)
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
        subprocess.run([str(BIN / "daam-bench"), "unlock"], cwd=folder, check=True)
    # The second kill left jobs behind: this run's jobs wait for them, then take up what is there.
    after_kills = run(folder, "tables")
    assert after_kills.returncode == 0, after_kills.stderr
    whole = tmp_path_factory.mktemp("whole")
    for path in folder.iterdir():
        if path.name not in {"results", ".snakemake"}:
            (whole / path.name).symlink_to(path)
    uninterrupted = run(whole, "tables")
    assert uninterrupted.returncode == 0, uninterrupted.stderr
    assert tables(folder) == tables(whole)
    stores = [next((f / "results/embeddings/vader/minilm-l6").glob("*.zarr")) for f in (folder, whole)]
    contents = [{p.relative_to(s): p.read_bytes() for p in s.rglob("*") if p.is_file()} for s in stores]
    assert contents[0] == contents[1]
    again = run(folder, "tables")
    assert "Nothing to be done" in again.stdout + again.stderr
    cosmetic = "# a comment\n" + yaml.safe_dump(dict(reversed(TINY.items())), sort_keys=False)
    (folder / "tiny.yaml").write_text(cosmetic)
    assert "Nothing to be done" in (text := run(folder, "tables", "-n")).stdout + text.stderr
    write_overlay(folder, training={"epochs": 3, "decoder_channels": 8})
    planned = run(folder, "tables", "-n")
    assert "train_variant" in planned.stdout
    assert "extract_embeddings" not in planned.stdout


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"trainng": {}}, r"trainng.*Did you mean 'training'"),
        ({"experiments": [{"dataset": "vader", "encoder": "minilm-l6", "variants": ["daam1"]}]}, "'daam_v1'"),
        (
            {"datasets": {"vader": {"path": "nowhere/vader"}}},
            r"datasets\.vader: path does not exist.*nowhere",
        ),
    ],
    ids=["unknown key", "unknown variant", "missing file"],
)
def test_mistakes_stop_before_any_job(folder, changes, expected):
    write_overlay(folder, **changes)
    done = run(folder, "tables")
    assert done.returncode != 0
    assert re.search(expected, done.stderr, re.DOTALL), done.stderr
    assert "Traceback" not in done.stderr
    assert not (folder / "results").exists()


def test_dry_run_and_target_rules(folder):
    for target in ("tables", "figures", "report", "cache", "assets"):
        done = run(folder, target, "-n")
        assert done.returncode == 0, done.stderr


def test_unlock_refuses_while_a_run_is_alive(folder):
    process = subprocess.Popen(
        command("tables"), cwd=folder, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        wait_for(lambda: any((folder / ".snakemake/locks").glob("*.lock")), process)
        refused = subprocess.run(
            [str(BIN / "daam-bench"), "unlock"], cwd=folder, capture_output=True, text=True, check=False
        )
        assert refused.returncode == 1
        assert f"process {process.pid}" in refused.stderr
    finally:
        process.terminate()
        process.wait()
