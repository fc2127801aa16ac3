"""The torture itself: what it must not overlook."""

import json
import os
import random
import subprocess
import sys
import textwrap
from argparse import Namespace
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from benchmarks.torture import __main__ as torture
from benchmarks.torture import bad, changes, damages, faults, inputs, kills, races
from benchmarks.torture.shim import build
from benchmarks.torture.tally import Budget, Tally
from benchmarks.torture.work import Work
from daam_bench.cache import repair
from daam_bench.errors import CacheError, DataError

ROOT = Path(__file__).parents[2]
CALLS = """
    import os, shutil, sys
    from pathlib import Path
    from benchmarks.torture.shim import How, Watch

    below, watch = Path(sys.argv[1], "below"), Watch()
    shutil.copytree(Path(sys.argv[1]), below, ignore=lambda *_: ["below"])
    beside = below.with_name("below2")
    handle = os.open(below, os.O_RDONLY)
    watch.arm(below)
    beside.mkdir()
    os.mkdir("made", dir_fd=handle)
    os.close(os.open("made/file", os.O_CREAT | os.O_WRONLY, dir_fd=handle))
    os.rename("made/file", "file", src_dir_fd=handle, dst_dir_fd=handle)
    os.link("file", "linked", src_dir_fd=handle, dst_dir_fd=handle)
    os.symlink("file", below / "there")
    os.truncate(below / "file", 3)
    os.chmod(below / "file", 0o600)
    os.utime(below / "file")
    os.chdir(below)
    shutil.copyfile("file", "copied")
    shutil.rmtree("made")
    for kind, path in watch.made():
        print(kind, path)
    watch.clear()
    watch.arm(below, 2, How.FAIL_ONCE, 28)
    try:
        shutil.rmtree(below)
    except OSError as error:
        print(error.strerror)
    print(watch.calls)
"""


def test_calls_relative_to_a_descriptor_are_counted_and_can_fail(tmp_path):
    library = str(build(tmp_path))
    (tmp_path / "in").mkdir()
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(CALLS), tmp_path / "in"],
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": str(ROOT), "DAAM_TORTURE_SHIM": library, "LD_PRELOAD": library},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.splitlines() == [
        "mkdir made",
        "open made/file",
        "rename file",
        "link linked",
        "link there",
        "truncate file",
        "chmod file",
        "times file",
        "open copied",
        "write copied",
        "write copied",  # of nothing: the end
        "remove made",
        "No space left on device",
        "2",
    ]


class StubbedWatch:
    """A library that is not loaded: it sees as many calls as it is told to."""

    calls = 1

    def arm(self, *_):
        pass

    clear = arm


def injected(tmp_path, monkeypatch, run, scale=0.5):
    monkeypatch.setattr(faults, "works", lambda world: {"a job": Work(run)})
    monkeypatch.setattr(faults, "_undisturbed", lambda *_: ({"result": b"right"}, 1))
    monkeypatch.setattr(faults, "Watch", StubbedWatch)
    monkeypatch.setattr(faults, "_READ_ONLY", ())
    return faults.inject(Namespace(folder=tmp_path), scale, 0, Budget(60))


def test_a_fault_that_a_job_swallows_is_found(tmp_path, monkeypatch):
    """Of two runs the first leaves something else, and ends as if all were well."""

    def run(folder):
        place = folder / "result"
        place.write_text("right" if place.exists() else "wrong")

    tally = injected(tmp_path, monkeypatch, run)
    assert (tmp_path / "fault" / "result").read_text() == "right"
    assert [f.rpartition(": ")[2] for f in tally.failures] == ["exit 0, but it differs in result"]


@pytest.mark.parametrize(("scale", "calls", "failed"), [(1.0, 1, 0), (1.0, 0, 1), (0.5, 0, 0)])
def test_at_full_size_every_call_must_be_reached(tmp_path, monkeypatch, scale, calls, failed):
    monkeypatch.setattr(StubbedWatch, "calls", calls)
    tally = injected(tmp_path, monkeypatch, lambda f: (f / "result").write_text("right"), scale)
    assert tally.tried == (5 if scale == 1 else 1)
    assert tally.failures == ["a job: writing call 1 was not reached"] * failed


def test_at_full_size_every_call_meets_every_fault_and_a_kill():
    trials = list(faults._trials({"a": 7, "b": 2}, 1.0, 0))
    met = Counter((trial.job, trial.nth, trial.label) for trial in trials)
    labels = ("ENOSPC", "EIO", "EACCES", "EROFS", "kill")
    assert met == {
        (job, n, label): 1 for job, m in {"a": 7, "b": 2}.items() for n in range(1, m + 1) for label in labels
    }
    assert {trial.how for trial in trials if trial.label == "kill"} == {*faults._KILLS}


def test_a_small_job_meets_another_fault_at_another_call_with_another_seed():
    drawn = [trial for seed in range(40) for trial in faults._trials({"a": 4}, 0.01, seed)]
    assert len(drawn) == 40
    assert {trial.nth for trial in drawn} == {1, 2, 3, 4}
    assert {trial.label for trial in drawn} == {"ENOSPC", "EIO", "EACCES", "EROFS", "kill"}


def test_a_job_that_ends_well_in_a_read_only_folder_is_found(tmp_path):
    folder = tmp_path / "world" / "fault"
    folder.parent.mkdir()
    assert "exit 0" in faults._read_only(Work(lambda folder: None), folder, {})


def test_reports_of_parts_are_added():
    parts = [
        {"tried": n, "failed": 0, "seconds": 1.5, "writing_calls": {"a": 4}, "failures": [n]} for n in (2, 3)
    ]
    whole = {"tried": 5, "failed": 0, "seconds": 3.0, "writing_calls": {"a": 4}, "failures": [2, 3]}
    assert torture._together(parts) == whole


@pytest.mark.parametrize(
    "kept", [{"epochs": [{}], "pending": None}, {"epochs": [], "pending": [1, 0.1, 0.7]}]
)
@pytest.mark.parametrize(("begun", "lost"), [(1, None), (2, None), (3, "2 epochs lost by one kill")])
def test_more_than_one_epoch_lost_by_a_kill_is_found(tmp_path, begun, lost, kept):
    """Before the kill there was nothing; after it there are a checkpoint of an epoch and no record."""
    text = json.dumps({"facts": json.dumps(kept)})
    (tmp_path / "fold0_seed0.checkpoint.json").write_text(text)
    tally, job = Tally(), Namespace(folder=tmp_path, epochs=6)
    assert kills._count_lost_epochs(job, 0, begun, tally) == lost
    assert tally.facts["epochs_lost"] == {str(begun - 1): 1}
    (tmp_path / "fold0_seed0.json").write_text("{}")  # the record counts in its place
    assert kills._trained(tmp_path) == 2


class NeverKilled:
    """A job whose kills all land in writing its store."""

    def __init__(self, *_):
        self.name, self.seconds, self.made, self.goals = "job", 0.0, [], {("store", "rename")}


@pytest.mark.parametrize("full", [True, False])
def test_at_full_size_a_phase_without_a_kill_is_found(tmp_path, monkeypatch, full):
    monkeypatch.setattr(kills, "_Job", NeverKilled)
    monkeypatch.setattr(kills, "_torture", lambda job, random_, tally, *_: tally.note("", None))
    monkeypatch.setattr(kills, "warm", lambda work: None)
    tally = kills._kill({"job": Work(print)}, Namespace(folder=tmp_path), 2, 0, Budget(9), full)
    assert tally.facts["not_landed_in"] == ["job, store, rename"]
    assert tally.failures == ["no kill landed in job, store, rename"] * full


@pytest.mark.parametrize("kept", [True, False])
def test_a_repair_that_refuses_though_the_manifest_is_whole_is_found(tmp_path, monkeypatch, kept):
    def refuse(*_):
        raise CacheError("no")

    monkeypatch.setattr(repair, "repair_cache", refuse)
    for name, text in {"whole": "a", "damaged": "a" if kept else "b"}.items():
        (tmp_path / name).mkdir()
        (tmp_path / name / "manifest.json").write_text(text)

    def extract(folder, kind):
        (folder / "manifest.json").write_text(json.dumps({"measurements": {"last_run_computed_samples": 3}}))

    world = Namespace(extract=extract)
    found = damages.mend(world, "zarr", tmp_path / "damaged", tmp_path / "whole", {})
    if kept:
        assert found[0] is not None and "repair refuses" in found[0]
    else:
        assert found[1:] == (3, "extracted_again_as_the_remedy_says")


def test_a_writer_that_does_not_wait_is_found():
    assert races._too_much((47, 12), (47, 12)) is None
    assert races._too_much((94, 12), (47, 12)) == "94 rows computed, 47 one after the other"


def of_folders(folder, capsys):
    problems = inputs.try_folders(folder, random.Random(1), 60)
    return problems, capsys.readouterr().out.splitlines()


def test_every_file_of_a_folder_is_looked_at(tmp_path, capsys):
    problems, said = of_folders(tmp_path, capsys)
    assert problems == []
    assert {"accepted: a good picture", "refused: a link", "refused: a name that is no Unicode"} <= {*said}


@pytest.mark.parametrize(
    ("name", "fault", "found"),
    [
        ("read_image", lambda *_: np.ones(1), "was accepted"),
        ("read_image", lambda *_: np.random.default_rng().random(9), "other values than alone"),
        ("list_samples", lambda *_: (_ for _ in ()).throw(DataError("no")), "took their whole folder"),
    ],
)
def test_what_is_wrong_with_files_of_a_folder_is_found(tmp_path, capsys, monkeypatch, name, fault, found):
    monkeypatch.setattr(inputs, name, fault)
    problems, _ = of_folders(tmp_path, capsys)
    assert any(found in problem for problem in problems)


def test_a_file_of_a_folder_that_is_left_out_is_found(tmp_path, capsys, monkeypatch):
    listed = inputs.list_samples
    monkeypatch.setattr(inputs, "list_samples", lambda *words: listed(*words).iloc[1:])
    problems, _ = of_folders(tmp_path, capsys)
    assert any("is not listed" in problem for problem in problems)


@pytest.mark.parametrize("way", bad.CONFIGURATIONS, ids=lambda way: way.name)
def test_configurations_are_tried_as_a_run_reads_them(tmp_path, monkeypatch, way):
    monkeypatch.setattr(bad, "CONFIGURATIONS", (way,))
    assert inputs.try_configurations(tmp_path, random.Random(1), 5) == []


class AtRest:
    """A working folder in which every change computes one thing."""

    def __init__(self, path):
        (path / "own").mkdir()

    def planned(self):
        return frozenset({"train_variant texts bert mha"})


@pytest.mark.parametrize(
    ("expected", "problem"),
    [
        ({"train_variant texts bert mha"}, None),
        (set(), "needless: ['train_variant texts bert mha']"),
        ({"train_variant texts bert mha", "write_tables"}, "stale: ['write_tables']"),
    ],
)
def test_a_change_that_computes_too_much_or_too_little_is_found(tmp_path, monkeypatch, expected, problem):
    monkeypatch.setattr(changes, "Folder", AtRest)
    made = {"a change": (lambda _: None, frozenset(expected))}
    tally = changes.try_changes(tmp_path / "folder", made, 9, 0, Budget(60))
    assert tally.tried == 1
    assert len(tally.failures) == (problem is not None)
    assert all(problem in failure for failure in tally.failures)


@pytest.mark.parametrize(("real", "short"), [(39, True), (40, False)])
def test_too_few_changes_fall_short(real, short, capsys):
    given = Namespace(scale=1.0, minutes=60)
    assert torture._fell_short(given, {"real_changes": {"tried": real}}) == short
    assert ("real_changes" in capsys.readouterr().out) == short
    assert not torture._fell_short(Namespace(scale=0.005, minutes=60), {"cosmetic_changes": {"tried": 6}})


@pytest.mark.parametrize("file", ["benchmarks/torture/bad.py", "workflow/rules/a.smk", "Snakefile"])
def test_figures_of_another_torture_or_workflow_are_not_kept(tmp_path, monkeypatch, file):
    for name in ("benchmarks/torture/bad.py", "workflow/rules/a.smk", "Snakefile"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("x")
    monkeypatch.setattr(torture, "_ROOT", tmp_path)
    before = torture.code_fingerprint()
    assert torture.code_fingerprint() == before
    (tmp_path / file).write_text("y")
    assert torture.code_fingerprint() != before
