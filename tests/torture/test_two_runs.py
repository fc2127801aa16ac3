"""Two runs of one cell at once, in one folder: the second waits, and takes what the first one made."""

import os
import time
from concurrent.futures import ThreadPoolExecutor

from encoders.conftest import model_folder
from filelock import FileLock
from shared import exit_code
from torture.test_names import QUIET, RESULTS, configuration, write_samples
from tuning.test_tuning_run import facts_of

from daam_bench.direct import run_cell
from daam_bench.plan import make_plan
from daam_bench.records import read_records

__all__ = ["model_folder"]  # a fixture
CELL = ("mine", "tiny", "daam_v1")
FOLDER = RESULTS.joinpath("runs", *CELL)


def run_in(folder, model):
    os.chdir(folder)
    config = configuration(("a", "b"), model, "zarr")
    run_cell(config, make_plan(config), CELL, None, None, RESULTS, RESULTS, QUIET)


def files_of(folder):
    """Return name, content and time of the files of a variant."""
    return {path: (path.read_bytes(), path.stat().st_mtime_ns) for path in folder.glob("fold*")}


def test_two_runs_of_a_cell_give_what_one_gives(tmp_path, monkeypatch, model_folder):
    model = model_folder("text", "bert")
    for name in ("both", "alone"):
        (tmp_path / name).mkdir()
        monkeypatch.chdir(tmp_path / name)
        write_samples(("a", "b"))
    run_in(tmp_path / "alone", model)
    with ThreadPoolExecutor(2) as pool:
        codes = list(pool.map(lambda _: exit_code(run_in, tmp_path / "both", model), range(2)))
    assert codes == [0, 0]
    found, expected = (read_records(tmp_path / name / FOLDER) for name in ("both", "alone"))
    assert facts_of(found) == facts_of(expected)
    names = [
        {path.relative_to(tmp_path / name) for path in (tmp_path / name).rglob("*")}
        for name in ("both", "alone")
    ]
    assert names[0] == names[1]


def test_a_run_waits_for_the_one_that_has_its_folder_and_says_so(tmp_path, monkeypatch, model_folder, caplog):
    monkeypatch.chdir(tmp_path)
    write_samples(("a", "b"))
    model = model_folder("text", "bert")
    run_in(tmp_path, model)
    before = files_of(FOLDER)
    with ThreadPoolExecutor(1) as pool:
        with FileLock(FOLDER / ".lock"):
            second = pool.submit(run_in, tmp_path, model)
            deadline = time.monotonic() + 60
            while f"another process writes {FOLDER}" not in caplog.text:
                assert not second.done()
                assert time.monotonic() < deadline
                time.sleep(0.01)
        second.result(timeout=60)
    assert files_of(FOLDER) == before
