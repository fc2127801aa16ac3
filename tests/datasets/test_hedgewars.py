import pytest

from daam_bench.config import DatasetConfig
from daam_bench.datasets.hedgewars import HEDGEWARS, PHRASES, read_hedgewars
from daam_bench.errors import DataError


@pytest.fixture
def folder(tmp_path):
    """Return a folder with two phrases of each voice; Classic repeats one of Default's recordings."""
    for voice in HEDGEWARS.files:
        (tmp_path / voice).mkdir()
        for phrase in ("Amazing", "Ow1", "Jump1"):
            (tmp_path / voice / f"{phrase}.ogg").write_bytes(f"{voice} {phrase}".encode())
    (tmp_path / "Classic" / "Ow1.ogg").write_bytes(b"Default Ow1")
    return tmp_path


def test_phrase_gives_the_class_and_voice_the_group(folder):
    frame = read_hedgewars(DatasetConfig(kind="hedgewars", path=str(folder)))
    pirate = frame[frame["group"] == "Pirate"]
    found = dict(zip(pirate["sample_id"], pirate["label"].map(HEDGEWARS.classes.__getitem__), strict=True))
    assert found == {"Pirate/Amazing": "praise", "Pirate/Ow1": "pain"}
    assert (folder / pirate["file"].iloc[0]).is_file()
    assert frame["sample_id"].is_unique


def test_voices_that_share_actors_are_one_group_without_copies(folder):
    frame = read_hedgewars(DatasetConfig(kind="hedgewars", path=str(folder)))
    assert frame.loc[frame["group"] == "Default", "sample_id"].tolist() == [
        "Classic/Amazing",
        "Default/Ow1",
        "Default/Amazing",
    ]
    assert set(frame["group"]) == set(HEDGEWARS.groups)


def test_voice_without_phrases_is_named_with_the_remedy(folder):
    for file in (folder / "Robot").iterdir():
        file.unlink()
    with pytest.raises(DataError, match=r"Robot: a voice has no phrases.*snakemake assets"):
        read_hedgewars(DatasetConfig(kind="hedgewars", path=str(folder)))


def test_each_phrase_is_in_one_class():
    phrases = [phrase for members in PHRASES.values() for phrase in members]
    assert len(phrases) == len(set(phrases)) == 47


def test_real_voices_have_the_declared_counts_and_no_recording_twice(real_asset):
    folder = real_asset("hedgewars-voices")
    frame = read_hedgewars(DatasetConfig(kind="hedgewars", path=str(folder)))
    assert frame["group"].value_counts().to_dict() == dict(HEDGEWARS.counts)
    assert len(frame) == 434
    found = {HEDGEWARS.classes[label]: n for label, n in frame["label"].value_counts().items()}
    assert found == {"alarm": 75, "dismay": 72, "pain": 71, "praise": 66, "reproach": 87, "threat": 63}
    contents = [(folder / file).read_bytes() for file in frame["file"]]
    assert len(set(contents)) == len(contents)


def test_real_phrases_are_spoken_by_most_voices(real_asset):
    folder = real_asset("hedgewars-voices")
    for members in PHRASES.values():
        for phrase in members:
            assert len(list(folder.glob(f"*/{phrase}.ogg"))) >= 8, phrase
