import hashlib

import pytest

from daam_bench.config import DatasetConfig
from daam_bench.datasets.openmoji import OPENMOJI, read_openmoji
from daam_bench.errors import DataError


@pytest.fixture
def folder(tmp_path):
    """Return a folder with one, two, ... pictures in the groups."""
    for number, group in enumerate(OPENMOJI.classes):
        (tmp_path / group).mkdir()
        for i in range(number + 1):
            (tmp_path / group / f"1F{i:03d}.png").write_bytes(b"%d" % i)
    return tmp_path


def test_folders_are_the_classes(folder):
    (folder / "flags" / "notes.txt").write_text("no picture")
    frame = read_openmoji(DatasetConfig(kind="openmoji", path=str(folder)))
    assert frame["label"].value_counts().to_dict() == {label: label + 1 for label in range(9)}
    row = frame.iloc[2]
    assert OPENMOJI.classes[row["label"]] == "animals-nature"
    assert (row["sample_id"], row["file"]) == ("animals-nature/1F001", "animals-nature/1F001.png")
    assert frame["sample_id"].is_unique
    assert (folder / row["file"]).read_bytes() == b"1"


def test_empty_group_is_named_with_the_remedy(folder):
    for file in (folder / "flags").iterdir():
        file.unlink()
    with pytest.raises(DataError, match=r"flags: a group has no pictures.*snakemake assets"):
        read_openmoji(DatasetConfig(kind="openmoji", path=str(folder)))


def test_real_pictures_are_as_many_as_declared_and_all_different(real_asset):
    folder = real_asset("openmoji")
    frame = read_openmoji(DatasetConfig(kind="openmoji", path=str(folder)))
    assert len(frame) == sum(OPENMOJI.counts.values()) == 1864
    found = {OPENMOJI.classes[label]: n for label, n in frame["label"].value_counts().items()}
    assert found == {
        **{"activities": 85, "animals-nature": 153, "flags": 262, "food-drink": 135, "objects": 262},
        **{"people-body": 358, "smileys-emotion": 168, "symbols": 223, "travel-places": 218},
    }
    assert frame.loc[frame["sample_id"] == "smileys-emotion/1F600", "label"].tolist() == [6]
    hashes = {hashlib.sha256((folder / file).read_bytes()).hexdigest() for file in frame["file"]}
    assert len(hashes) == len(frame)
