import json
import os

import pytest

from daam_bench.errors import RecordError
from daam_bench.records import FINISHED, read_records, remove_temporaries, write_atomically


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
    "listing", ["{", "[]", "{}", '{"records": 3, "keys": []}', '{"records": [], "keys": ["another"]}']
)
def test_a_damaged_list_is_named(listing, tmp_path):
    (tmp_path / FINISHED).write_text(listing)
    with pytest.raises(RecordError, match=FINISHED):
        read_records(tmp_path)


def test_a_list_of_no_records_is_none(tmp_path):
    (tmp_path / FINISHED).write_text(json.dumps({"records": [], "keys": []}))
    assert read_records(tmp_path) == []
