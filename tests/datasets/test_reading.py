"""Files that a dataset names: read with care, told apart from faults of the machine, watched for changes."""

import errno
import os
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from daam_bench import contents
from daam_bench.config import DatasetConfig
from daam_bench.contents import contents_fingerprint, read_sample, recording_of
from daam_bench.datasets.leakage import find_leakage
from daam_bench.datasets.listing import list_samples
from daam_bench.datasets.named import named_files
from daam_bench.encoders.media import read_image
from daam_bench.errors import ConfigError, DataError, MachineError


def listed(path, **settings):
    return list_samples("mine", DatasetConfig(path=str(path), **{"kind": "table", **settings}))


@pytest.fixture
def pictures(tmp_path):
    """Return a table of four pictures of two classes."""
    (tmp_path / "data").mkdir()
    for shade in range(4):
        Image.new("L", (5, 3), 10 + shade).save(tmp_path / "data" / f"{shade}.png")
    table = pd.DataFrame({"image": [f"{shade}.png" for shade in range(4)], "label": list("abab")})
    table.to_csv(tmp_path / "data" / "t.csv", index=False)
    return tmp_path / "data" / "t.csv"


def name_instead(table: Path, name: str):
    frame = pd.read_csv(table)
    frame.loc[0, "image"] = name
    frame.to_csv(table, index=False)
    return frame


def test_a_path_below_the_folder_is_read_also_if_absolute_or_a_link(tmp_path):
    (tmp_path / "data").mkdir()
    (tmp_path / "elsewhere").write_bytes(b"x")
    (tmp_path / "data" / "link").symlink_to(tmp_path / "elsewhere")
    folder = tmp_path / "data"
    for name in ("link", str(folder / "link"), "./a/../link"):
        assert read_sample(folder, name)[0] == b"x"


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("/etc/passwd", "leads out"),
        ("../secret", "leads out"),
        ("a/../../secret", "leads out"),
        ("a\0b", "not valid"),
        ("half \ud800", "not valid|No such file"),
        ("pipe.png", "no regular file"),
        ("zero.png", "no regular file"),
        (".", "no regular file"),
        ("loop.png", "symbolic links"),
        ("x" * 300, "too long"),
        ("huge.png", "too large"),
        ("gone.png", "cannot be read"),
        ("loop.png/under", "symbolic links|Not a directory"),
    ],
)
def test_what_is_no_file_of_the_dataset_is_refused_at_once(tmp_path, name, reason):
    folder = tmp_path / "data"
    folder.mkdir()
    (tmp_path / "secret").write_bytes(b"x")
    os.mkfifo(folder / "pipe.png")
    (folder / "zero.png").symlink_to("/dev/zero")
    (folder / "loop.png").symlink_to(folder / "loop.png")
    with (folder / "huge.png").open("wb") as handle:
        handle.truncate(2**40)
    with pytest.raises(DataError, match=reason):
        read_sample(folder, name)


@pytest.mark.parametrize("number", [errno.EIO, errno.ESTALE, errno.EMFILE, errno.EACCES])
def test_a_fault_of_the_machine_is_no_fault_of_the_file(pictures, monkeypatch, number):
    def fail(*_):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(contents, "_read", fail)
    with pytest.raises(MachineError, match=os.strerror(number)):
        read_image({"file": "0.png"}, pictures.parent)
    with pytest.raises(MachineError):
        listed(pictures, modality="vision")


def test_a_bad_file_is_named_at_listing_and_the_others_stay(pictures, caplog):
    os.mkfifo(pictures.parent / "0.fifo")
    name_instead(pictures, "0.fifo")
    found = listed(pictures, modality="vision")
    assert len(found) == 4
    assert found["content_key"].str.startswith("none-").tolist() == [True, False, False, False]
    assert "1 samples cannot be used, such as 0: the file is no regular file" in caplog.text


def test_a_table_whose_files_all_lie_elsewhere_is_refused_with_the_reason(pictures):
    elsewhere = pictures.parent.parent / "t.csv"
    pd.read_csv(pictures).assign(image="/etc/passwd").to_csv(elsewhere, index=False)
    with pytest.raises(DataError, match=r"none of the samples.*leads out of the dataset's folder"):
        listed(elsewhere, modality="vision")


def test_a_file_that_changed_since_it_was_listed_has_no_values(pictures):
    row = listed(pictures, modality="vision").to_dict("records")[1]
    assert read_image(row, pictures.parent).size == (5, 3)
    Image.new("L", (2, 2), 99).save(pictures.parent / "1.png")
    with pytest.raises(DataError, match="changed since it was listed"):
        read_image(row, pictures.parent)


def test_a_file_that_was_unreadable_when_listed_never_gets_values_under_its_key(pictures):
    name_instead(pictures, "later.png")
    row = listed(pictures, modality="vision").to_dict("records")[0]
    Image.new("L", (2, 2), 99).save(pictures.parent / "later.png")
    with pytest.raises(DataError, match="changed since it was listed"):
        read_image(row, pictures.parent)


def test_an_empty_file_is_called_so(pictures):
    (pictures.parent / "0.png").write_bytes(b"")
    row = listed(pictures, modality="vision").to_dict("records")[0]
    with pytest.raises(DataError, match="the file is empty"):
        read_image(row, pictures.parent)


def test_samples_without_content_are_no_twins(tmp_path):
    texts = ["", " ", "one", "", "two", "\t"]
    table = pd.DataFrame({"text": texts, "label": list("ababab"), "group": list("xxxyyy")})
    table.to_csv(tmp_path / "t.csv", index=False)
    found = listed(tmp_path / "t.csv", modality="text", columns={"group": "group"})
    assert found["content_key"].is_unique
    assert find_leakage(found, DatasetConfig(kind="table", path="").folds).empty


def test_files_that_a_table_names_are_part_of_its_content(pictures, tmp_path):
    config = DatasetConfig(kind="table", modality="vision", path=str(pictures))

    def fingerprint():
        return contents_fingerprint(pictures, tmp_path / "memory.json", named=named_files(config))

    first = fingerprint()
    assert fingerprint() == first
    Image.new("L", (5, 3), 99).save(pictures.parent / "2.png")
    second = fingerprint()
    assert second != first
    (pictures.parent / "2.png").unlink()
    assert fingerprint() not in {first, second}
    assert named_files(config.model_copy(update={"modality": "text"})) == []
    assert named_files(config.model_copy(update={"path": "gone.csv"})) == []


def test_a_revision_of_what_lies_here_is_refused(pictures):
    with pytest.raises(ConfigError, match=r"datasets.mine.*no revision.*Remove the revision"):
        listed(pictures, modality="vision", revision="a" * 40)


def test_a_draw_that_cannot_keep_class_shares_is_explained(tmp_path):
    table = pd.DataFrame({"text": [f"t{n}" for n in range(12)], "label": list("abcdefabcdef")})
    table.to_csv(tmp_path / "t.csv", index=False)
    with pytest.raises(ConfigError, match=r"samples_per_group.*class shares.*found 3 of 12"):
        listed(tmp_path / "t.csv", modality="text", samples_per_group=3)


def test_samples_without_a_label_are_named_unless_the_labels_to_keep_are_listed(tmp_path):
    table = pd.DataFrame({"text": list("vwxyz"), "label": ["a", "", "b", " ", "a"]})
    table.to_csv(tmp_path / "t.csv", index=False)
    with pytest.raises(DataError, match=r"2 of 5 samples have no label; found 1, 3\. Name the classes"):
        listed(tmp_path / "t.csv", modality="text")
    kept = listed(tmp_path / "t.csv", modality="text", labels={"a": "one", "b": "two"})
    assert kept["label"].tolist() == [0, 1, 0]


def test_the_recording_of_a_key():
    assert [recording_of(key) for key in ("ab@0-5", "ab@5-10", "ab", "@")] == ["ab", "ab", "ab", ""]
    assert np.unique([recording_of(f"x@{k}") for k in range(5)]).tolist() == ["x"]
