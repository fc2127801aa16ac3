import json
import os

import pytest

from daam_bench.errors import RecordError
from daam_bench.records import FINISHED, read_record, read_records, remove_temporaries, write_atomically


def test_what_cannot_be_written_leaves_the_old_file_and_nothing_else(tmp_path, monkeypatch):
    path = tmp_path / "record.json"
    write_atomically(path, b"old")

    def full(_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space"):
        write_atomically(path, b"new")
    assert [file.name for file in tmp_path.iterdir()] == ["record.json"]
    assert path.read_bytes() == b"old"


def test_what_a_killed_writer_left_is_removed(tmp_path):
    (tmp_path / "record.json").touch()
    (tmp_path / ".record.json.123.tmp").touch()
    remove_temporaries(tmp_path)
    assert [file.name for file in tmp_path.iterdir()] == ["record.json"]


@pytest.mark.parametrize(
    "listing",
    [
        "{",
        "[]",
        "{}",
        "[" * 100_000,
        '{"records": 3, "keys": []}',
        '{"records": [], "keys": ["another"]}',
        '{"records": [5], "keys": ["x"]}',
        '{"records": ["fold0_seed0\\u0000.json"], "keys": ["x"]}',
        '{"records": ["../mha/fold0_seed0.json"], "keys": ["x"]}',
    ],
)
def test_a_damaged_list_is_named(listing, tmp_path):
    (tmp_path / FINISHED).write_text(listing)
    with pytest.raises(RecordError, match=FINISHED):
        read_records(tmp_path)


def test_a_list_of_no_records_is_none(tmp_path):
    (tmp_path / FINISHED).write_text(json.dumps({"records": [], "keys": []}))
    assert read_records(tmp_path) == []


@pytest.mark.parametrize("text", ["[" * 100_000, '{"spec": ' + '{"a": ' * 100_000, "\ud800", "nonsense"])
def test_a_record_that_is_none_is_named(tmp_path, text):
    (tmp_path / "fold0_seed0.json").write_bytes(text.encode(errors="surrogatepass"))
    with pytest.raises(RecordError, match="fold0_seed0.json: not a run record"):
        read_record(tmp_path / "fold0_seed0.json")
