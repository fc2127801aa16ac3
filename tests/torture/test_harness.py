"""The torture itself: what it must not overlook."""

import random
from argparse import Namespace

import numpy as np
import pytest

from benchmarks.torture import __main__ as torture
from benchmarks.torture import bad, faults, inputs
from benchmarks.torture.tally import Budget
from benchmarks.torture.work import Work
from daam_bench.errors import DataError


def test_a_fault_that_a_job_swallows_is_found(tmp_path, monkeypatch):
    """Of two runs the first leaves something else, and ends as if all were well."""

    def run(folder):
        place = folder / "result"
        place.write_text("right" if place.exists() else "wrong")

    folder = tmp_path / "fault"
    monkeypatch.setattr(faults, "works", lambda world: {"a job": Work(run)})
    monkeypatch.setattr(faults, "_undisturbed", lambda work, folder: ({"result": b"right"}, 1))
    monkeypatch.setattr(faults, "arm", lambda *_: None)
    monkeypatch.setattr(faults, "_read_only", lambda world: None)
    tally = faults.inject(Namespace(folder=tmp_path), 1, 0, Budget(60))
    assert (folder / "result").read_text() == "right"
    assert [f.rpartition(": ")[2] for f in tally.failures] == ["exit 0, but it differs in result"]


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
