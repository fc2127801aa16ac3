"""Bad inputs: what counts as tried, what is found, and a few of each that hypothesis draws."""

import random
import signal
import time
from pathlib import Path

import numpy as np
import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks.torture import bad, inputs
from benchmarks.torture.inputs import KINDS, Kind
from benchmarks.torture.tally import Budget
from daam_bench.config import DatasetConfig
from daam_bench.config.merge import load_merged
from daam_bench.datasets.listing import list_samples
from daam_bench.encoders.media import read_audio, read_image
from daam_bench.encoders.text import text_problem
from daam_bench.errors import DaamBenchError, DataError
from daam_bench.plan import make_plan

SURE = bad.Way("surely bad", bad.bad_name)
PERHAPS = bad.Way("perhaps bad", bad.bad_name, refuse=False)


def fed(folder, monkeypatch, attempt, count=10):
    monkeypatch.setattr(inputs, "KINDS", {"a kind": Kind(attempt, (SURE, PERHAPS), 100)})
    return inputs.feed(folder / "fed", count, 0, Budget(60))


def test_only_what_is_surely_bad_counts_as_tried(tmp_path, monkeypatch):
    def attempt(folder, random_, count):
        for number in range(count):
            inputs._count(SURE if number % 2 else PERHAPS, refused=number % 4 != 0)
        return []

    found = fed(tmp_path, monkeypatch, attempt).summary(0.0)
    perhaps = found["perhaps_bad"]
    assert 10 <= found["tried"] <= 12 and not found["failed"]
    assert perhaps["tried"] == perhaps["refused"] + perhaps["accepted"]
    assert perhaps["accepted"] == found["by_kind"]["a kind"]["perhaps bad"]["accepted"] > 0


def test_each_wrong_input_is_a_failure(tmp_path, monkeypatch):
    def attempt(folder, random_, count):
        for _ in range(count):
            inputs._count(SURE, refused=False)
        return ["wrong\nin two lines"] * 3

    found = fed(tmp_path, monkeypatch, attempt)
    assert found.tried == 20
    assert [failure.partition(": ")[2] for failure in found.failures] == ["wrong\nin two lines"] * 3


def test_after_a_crash_only_what_was_reached_counts(tmp_path, monkeypatch):
    def attempt(folder, random_, count):
        inputs._count(SURE, refused=True)
        with inputs._watched("the second"):
            raise ZeroDivisionError

    found = fed(tmp_path, monkeypatch, attempt)
    assert found.tried == 2
    (failure,) = found.failures
    assert "ZeroDivisionError" in failure and 'at "the second"' in failure


@pytest.mark.parametrize("nested", [True, False])
def test_an_input_that_hangs_is_found_by_its_alarm(tmp_path, monkeypatch, nested):
    def attempt(folder, random_, count):
        with inputs._watched("the first"):
            if nested:
                with inputs._watched("a part"):
                    pass
            time.sleep(30)

    monkeypatch.setattr(inputs, "_SECONDS_FOR_ONE", 0.2)
    start = time.monotonic()
    found = fed(tmp_path, monkeypatch, attempt, 1)
    assert time.monotonic() - start < 10
    assert [("no end after 0.2 s" in failure) for failure in found.failures] == [True]
    assert signal.getitimer(signal.ITIMER_REAL)[0] == 0


@pytest.mark.parametrize("name", KINDS)
def test_some_of_each_kind(name, tmp_path, capsys):
    assert KINDS[name].attempt(tmp_path, random.Random(2), 12) == []
    said = capsys.readouterr().out.splitlines()
    names = {line.partition(": ")[2] for line in said if line.startswith(("refused: ", "accepted: "))}
    assert names and names <= {way.name for way in KINDS[name].ways}


@pytest.mark.parametrize("name", KINDS)
def test_names_of_ways_say_whether_they_must_be_refused(name):
    sure, perhaps = ({w.name for w in KINDS[name].ways if w.refuse == refuse} for refuse in (True, False))
    assert not sure & perhaps


@pytest.mark.parametrize(("modality", "name"), [("vision", "read_image"), ("speech", "read_audio")])
def test_good_rows_beside_a_bad_path_are_compared_with_a_clean_run(tmp_path, monkeypatch, modality, name):
    read, calls = getattr(inputs, name), []

    def changed(*words):
        calls.append(0)
        found = np.asarray(read(*words))
        return found if len(calls) <= 5 else found[::-1]

    monkeypatch.setattr(bad, "PATHS", (bad.Way("a text", lambda _: "text.png"),))
    monkeypatch.setattr(inputs, name, changed)
    problems = inputs.try_paths(tmp_path, random.Random(1), 2)
    assert problems == [f"a text, {modality}: good rows differ from a clean run: 'text.png'"]


def test_a_path_that_takes_the_good_rows_with_it_is_found(tmp_path, monkeypatch):
    def fail(*_):
        raise DataError("unknown column")

    monkeypatch.setattr(inputs, "list_samples", fail)
    problems = inputs.try_paths(tmp_path, random.Random(1), 2)
    assert len(problems) == 2 and all("took the good rows with it" in problem for problem in problems)


def test_what_bad_tables_and_configurations_are_made_of_is_good(tmp_path):
    (tmp_path / "t.csv").write_text("\n".join(bad._rows(random.Random(1))))
    (tmp_path / "t.parquet").write_bytes(bad._parquet([0, 1, 0, 1]))
    for name in ("t.csv", "t.parquet"):
        assert len(list_samples("d", DatasetConfig(kind="table", path=str(tmp_path / name), modality="text")))
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(bad._CONFIGURATION))
    assert make_plan(load_merged(tmp_path / "config.yaml"))


# Quick: the many are in `make torture`.
FEW = settings(max_examples=25, deadline=None)
SEEDS = st.integers(0, 2**32).map(random.Random)


def ways(which):
    return st.sampled_from([way for way in which if way.name != "too long"])


@FEW
@given(st.one_of(st.text(), st.text(st.characters(categories=("Cs", "Zs", "Cc", "Cf")))))
def test_any_text_is_encoded_or_has_a_reason(text):
    problem = text_problem(text)
    if problem is None:
        assert text.strip() and text.encode()
    else:
        assert len(problem) > 5


@FEW
@given(ways(bad.TEXT), SEEDS)
def test_bad_texts_have_a_reason(way, random_):
    assert text_problem(way.make(random_)) or not way.refuse


def heard(content):
    return read_audio({"content": content}, Path(), bad.RATE, bad.LONGEST)


def seen(content):
    return read_image({"content": content}, Path())


MEDIA = {heard: bad.SPEECH, seen: bad.VISION}
HEADS = st.sampled_from([b"", b"RIFF\0\0\0\0WAVE", b"OggS\0", b"\x89PNG\r\n\x1a\n", b"ID3"])
SCALARS = st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=9))
FIELDS = st.sampled_from([*bad._CONFIGURATION, "variants", "studies", "notes"])


def pairs(parts):
    return st.dictionaries(st.text(max_size=5), parts, max_size=3)


@FEW
@given(st.sampled_from(list(MEDIA)).flatmap(lambda read: st.tuples(st.just(read), ways(MEDIA[read]))), SEEDS)
def test_bad_recordings_and_images_are_refused(case, random_):
    read, way = case
    try:
        read(way.make(random_))
    except DataError as error:
        assert len(str(error)) > 10
    else:
        assert not way.refuse


@FEW
@given(st.binary(max_size=300), HEADS)
def test_any_bytes_are_no_crash(content, head):
    for read in (heard, seen):
        with pytest.raises(DataError, match=".{10}"):
            read(head + content)


@FEW
@given(FIELDS, st.recursive(SCALARS, lambda p: st.lists(p, max_size=3) | pairs(p), max_leaves=6))
def test_any_value_of_a_field_is_read_or_refused(tmp_path_factory, field, value):
    file = tmp_path_factory.getbasetemp() / "config.yaml"
    file.write_text(yaml.safe_dump(bad._CONFIGURATION | {field: value}, allow_unicode=False))
    try:
        make_plan(load_merged(file))
    except DaamBenchError as error:
        assert len(str(error)) > 10


@FEW
@given(ways(bad.CONFIGURATIONS), SEEDS)
def test_bad_configurations_are_refused(tmp_path_factory, way, random_):
    file = tmp_path_factory.getbasetemp() / "config.yaml"
    file.write_bytes(way.make(random_))
    try:
        make_plan(load_merged(file))
    except DaamBenchError as error:
        assert len(str(error)) > 10
    else:
        assert not way.refuse
