import pytest
import soundfile

from daam_bench.config import DatasetConfig
from daam_bench.datasets.asterisk import ASTERISK, read_asterisk
from daam_bench.errors import DataError

FILES = {
    "conf-muted.wav": "conference",
    "confbridge-muted.wav": "conference",
    "digits/1.wav": "digits",
    "digits/h-1.wav": "digits",
    "letters/a.wav": "letters",
    "phonetic/a_p.wav": "phonetic",
    "vm-intro.wav": "voicemail",
}
NO_FAMILY = ("hello.wav", "silence/1.wav", "dictate/vm-x.wav", "confused.wav")


@pytest.fixture
def folder(tmp_path):
    for name in (*FILES, *NO_FAMILY):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"")
    return tmp_path


def test_families_come_from_folders_and_names(folder):
    frame = read_asterisk(DatasetConfig(kind="asterisk", path=str(folder)))
    found = dict(zip(frame["file"], frame["label"].map(ASTERISK.classes.__getitem__), strict=True))
    assert found == FILES
    assert frame["sample_id"].tolist() == [name.removesuffix(".wav") for name in FILES]
    assert set(frame["group"]) == set(frame["split"]) == {""}


def test_missing_family_is_named_with_the_remedy(folder):
    (folder / "vm-intro.wav").unlink()
    with pytest.raises(DataError, match=r"no prompts; expected files of voicemail.*snakemake assets"):
        read_asterisk(DatasetConfig(kind="asterisk", path=str(folder)))


def test_real_prompts_are_as_many_as_declared(real_asset):
    folder = real_asset("asterisk-prompts")
    frame = read_asterisk(DatasetConfig(kind="asterisk", path=str(folder)))
    assert len(frame) == sum(ASTERISK.counts.values()) == 383
    found = {ASTERISK.classes[label]: n for label, n in frame["label"].value_counts().items()}
    assert found == {"conference": 87, "digits": 94, "letters": 61, "phonetic": 27, "voicemail": 114}
    assert frame["sample_id"].is_unique
    contents = [(folder / file).read_bytes() for file in frame["file"]]
    assert len(set(contents)) == len(contents)
    assert {soundfile.info(folder / file).samplerate for file in frame["file"]} == {8000}
