"""IEMOCAP, AG News and CIFAR-100 from small trees of files in their true layouts."""

import io
import os
import pickle
import shutil
import tarfile

import numpy as np
import pandas as pd
import pytest
import soundfile
from datasets import ClassLabel, Dataset, DatasetDict, Features, Value
from PIL import Image

from daam_bench.config import DatasetConfig
from daam_bench.datasets import cifar100
from daam_bench.datasets.ag_news import read_ag_news
from daam_bench.datasets.cifar100 import CIFAR100, read_cifar100
from daam_bench.datasets.iemocap import IEMOCAP, read_iemocap
from daam_bench.datasets.inert_pickle import read_inert
from daam_bench.datasets.listing import list_samples
from daam_bench.encoders.media import read_image
from daam_bench.errors import DataError


def config(kind, path):
    return DatasetConfig(kind=kind, path=str(path))


EVALUATION = """% [START_TIME - END_TIME] TURN_NAME EMOTION [V, A, D]

[6.2901 - 8.2357]\tSes0{n}F_impro01_F000\tneu\t[2.5000, 2.5000, 2.5000]
C-E2:\tNeutral;\t()
A-E3:\tval 3; act 2; dom  2;\t()

[10.0100 - 11.3925]\tSes0{n}F_impro01_M000\texc\t[2.5000, 2.5000, 2.5000]
[14.8872 - 18.0175]\tSes0{n}F_impro01_F002\tfru\t[2.5000, 2.5000, 2.5000]
[19.2900 - 20.7875]\tSes0{n}F_impro01_F003\txxx\t[2.5000, 3.0000, 3.0000]
[21.3257 - 24.7400]\tSes0{n}F_impro01_M004\thap\t[2.5000, 3.0000, 3.0000]
[25.0000 - 26.0000]\tSes0{n}F_impro01_F005\tang\t[2.5000, 3.0000, 3.0000]
[27.0000 - 28.0000]\tSes0{n}F_impro01_F006\tsad\t[2.5000, 3.0000, 3.0000]
"""


@pytest.fixture
def iemocap(tmp_path):
    for number in range(1, 6):
        folder = tmp_path / f"Session{number}" / "dialog" / "EmoEvaluation"
        (folder / "Attribute").mkdir(parents=True)
        (folder / f"Ses0{number}F_impro01.txt").write_text(EVALUATION.format(n=number))
        (folder / f"._Ses0{number}F_impro01.txt").write_bytes(b"\x00\x05\x16\x07")
        recordings = tmp_path / f"Session{number}" / "sentences" / "wav" / f"Ses0{number}F_impro01"
        recordings.mkdir(parents=True)
        for turn in ("F000", "M000", "M004", "F005", "F006"):
            (recordings / f"Ses0{number}F_impro01_{turn}.wav").write_bytes(b"RIFF")
    return tmp_path


def test_iemocap_merges_excited_into_happy_and_drops_other_emotions(iemocap):
    found = read_iemocap(config("iemocap", iemocap))
    assert len(found) == 25
    first = found[found["group"] == "Session1"]
    assert [IEMOCAP.classes[label] for label in first["label"]] == [
        "neutral",
        "happy",
        "happy",
        "anger",
        "sadness",
    ]
    assert first["file"].iloc[1] == "Session1/sentences/wav/Ses01F_impro01/Ses01F_impro01_M000.wav"
    assert first["sample_id"].iloc[1] == "Ses01F_impro01_M000"


def test_iemocap_counts_are_published_and_checked(iemocap):
    assert sum(IEMOCAP.counts.values()) == sum(IEMOCAP.class_counts[""].values()) == 5531
    with pytest.raises(DataError, match=r"per group.*'Session1': 1085.*'Session1': 5"):
        list_samples("iemocap", config("iemocap", iemocap))


def test_iemocap_of_the_published_size_is_cut_into_clips_of_five_seconds(tmp_path):
    codes = ["neu"] * 1708 + ["exc"] * 1041 + ["hap"] * 595 + ["ang"] * 1103 + ["sad"] * 1084
    recording = io.BytesIO()
    soundfile.write(recording, np.full(1300, 0.1), 100, format="WAV")  # 13 s: two clips and a remainder
    for session, count in IEMOCAP.counts.items():
        name = f"Ses0{session[-1]}F_impro01"
        turns = [f"{name}_F{number:04}\t{code}" for number, code in enumerate(codes[:count])]
        codes = codes[count:]
        wavs = tmp_path / session / "sentences" / "wav" / name
        evaluations = tmp_path / session / "dialog" / "EmoEvaluation"
        wavs.mkdir(parents=True)
        evaluations.mkdir(parents=True)
        (evaluations / f"{name}.txt").write_text("".join(f"[0.1 - 9.9]\t{turn}\t[2.5]\n" for turn in turns))
        for turn in turns:
            (wavs / f"{turn.split()[0]}.wav").write_bytes(recording.getvalue())
    found = list_samples("i", DatasetConfig(kind="iemocap", path=str(tmp_path), clip_seconds=5))
    assert len(found) == 3 * 5531
    assert found[["start_second", "stop_second"]].head(3).to_numpy().tolist() == [[0, 5], [5, 10], [10, 15]]
    assert found["group"].value_counts().to_dict() == {k: 3 * n for k, n in IEMOCAP.counts.items()}


def test_iemocap_without_a_session_says_where_it_should_be(iemocap):
    (iemocap / "Session3").rename(iemocap / "elsewhere")
    with pytest.raises(DataError, match="Session3/dialog/EmoEvaluation"):
        read_iemocap(config("iemocap", iemocap))


def test_iemocap_that_is_half_unpacked_is_refused(iemocap):
    shutil.rmtree(iemocap / "Session4" / "sentences")
    with pytest.raises(DataError, match=r"5 of 25 recordings.*no Session4/sentences/wav/Ses04F"):
        read_iemocap(config("iemocap", iemocap))


def test_ag_news_from_its_csv_files(tmp_path):
    (tmp_path / "train.csv").write_text('"3","Oil, up","It \'rose\' ""again"""\n"1","Talks","Held"\n')
    (tmp_path / "test.csv").write_text('"4","Chip","Small"\n"4","None","NA"\n')
    found = read_ag_news(config("ag_news", tmp_path))
    assert found["text"].tolist() == ["Oil, up It 'rose' \"again\"", "Talks Held", "Chip Small", "None NA"]
    assert found["label"].tolist() == [2, 0, 3, 3]
    assert found["split"].tolist() == ["train", "train", "validation", "validation"]


def test_ag_news_of_the_published_size_is_taken(tmp_path):
    for name, count in (("train", 30_000), ("test", 1900)):
        rows = (f'"{label}","Title {row}","Text {name}"\n' for row in range(count) for label in range(1, 5))
        (tmp_path / f"{name}.csv").write_text("".join(rows))
    found = list_samples("ag_news", config("ag_news", tmp_path))
    assert len(found) == 127_600
    assert found["split"].value_counts().to_dict() == {"train": 120_000, "validation": 7600}


def test_ag_news_as_the_hub_has_it(tmp_path):
    names = ClassLabel(names=["World", "Sports", "Business", "Sci/Tech"])
    features = Features({"text": Value("string"), "label": names})
    parts = {"train": {"text": ["a b"], "label": [3]}, "test": {"text": ["c"], "label": [1]}}
    DatasetDict({k: Dataset.from_dict(v, features=features) for k, v in parts.items()}).save_to_disk(tmp_path)
    found = read_ag_news(config("ag_news", tmp_path))
    assert found[["text", "label", "split"]].to_numpy().tolist() == [
        ["a b", 3, "train"],
        ["c", 1, "validation"],
    ]
    with pytest.raises(DataError, match=r"per class of split train.*30000"):
        list_samples("ag_news", config("ag_news", tmp_path))


@pytest.fixture
def archive(tmp_path):
    pixels = np.random.default_rng(3).integers(0, 256, (5, 3072), dtype=np.uint8)
    for name in ("train", "test"):
        # Keys as Python 2 wrote them: bytes.
        content = {b"data": pixels, b"fine_labels": [0, 99, 7, 7, 50], b"coarse_labels": [1] * 5}
        (tmp_path / name).write_bytes(pickle.dumps(content, protocol=2))
    return tmp_path, pixels


def test_cifar_archive_gives_the_pixels_as_png(archive):
    folder, pixels = archive
    found = read_cifar100(config("cifar100", folder))
    assert len(found) == 10
    assert [CIFAR100.classes[label] for label in found["label"][:3]] == ["apple", "worm", "beetle"]
    image = np.asarray(read_image({"content": found["content"][2]}, folder))
    assert image.shape == (32, 32, 3)
    assert image[4, 9].tolist() == [pixels[2, channel * 1024 + 4 * 32 + 9] for channel in range(3)]


def packed(folder, names, prefix="cifar-100-python/"):
    path = folder / "cifar-100-python.tar.gz"
    with tarfile.open(path, "w:gz") as archive:
        for name in names:
            archive.add(folder / name, prefix + name)
    return path


def test_cifar_is_read_from_the_packed_archive_and_nothing_is_unpacked(archive):
    folder, _ = archive
    path = packed(folder, ["train", "test"])
    assert read_cifar100(config("cifar100", path)).equals(read_cifar100(config("cifar100", folder)))
    assert sorted(entry.name for entry in folder.iterdir()) == ["cifar-100-python.tar.gz", "test", "train"]


def test_an_archive_that_is_not_cifar_is_refused(archive):
    folder, _ = archive
    with pytest.raises(DataError, match="the archive lacks test"):
        read_cifar100(config("cifar100", packed(folder, ["train"], "../../")))
    (folder / "cut.tar.gz").write_bytes(packed(folder, ["train", "test"]).read_bytes()[:900])
    (folder / "none.tar.gz").write_bytes(b"not an archive")
    for name in ("cut.tar.gz", "none.tar.gz"):
        with pytest.raises(DataError, match="cannot be read as an archive"):
            read_cifar100(config("cifar100", folder / name))
    (folder / "test").unlink()
    (folder / "test").symlink_to("/etc/passwd")
    with pytest.raises(DataError, match="the archive lacks test"):
        read_cifar100(config("cifar100", packed(folder, ["train", "test"])))


def test_cifar_with_fewer_labels_than_pictures_is_refused(archive):
    folder, pixels = archive
    for labels in ([1, 2], [1, 2, 3, 4, "5"]):
        (folder / "train").write_bytes(pickle.dumps({b"data": pixels, b"fine_labels": labels}, protocol=2))
        with pytest.raises(DataError, match="no class number for each picture"):
            read_cifar100(config("cifar100", folder))


def test_what_was_saved_from_the_hub_in_parts_is_explained(tmp_path):
    features = Features({"text": Value("string"), "label": ClassLabel(names=["World", "Cookery"])})
    data = Dataset.from_dict({"text": ["a", "b"], "label": [0, 1]}, features=features)
    DatasetDict({"train": data}).save_to_disk(tmp_path / "one")
    with pytest.raises(DataError, match="1 labels are no class.*'Cookery' in row 1"):
        read_ag_news(config("ag_news", tmp_path / "one"))
    good = data.filter(lambda row: row["label"] == 0)
    DatasetDict({"train": good}).save_to_disk(tmp_path / "two")
    with pytest.raises(DataError, match="a split is missing.*expected test; found train"):
        read_ag_news(config("ag_news", tmp_path / "two"))
    DatasetDict({"train": good.remove_columns("text")}).save_to_disk(tmp_path / "three")
    with pytest.raises(DataError, match="a column is missing in split train.*expected text"):
        read_ag_news(config("ag_news", tmp_path / "three"))
    DatasetDict({"train": good}).save_to_disk(tmp_path / "four")
    with pytest.raises(DataError, match="a column is missing.*fine_label, img"):
        read_cifar100(config("cifar100", tmp_path / "four"))


def test_cifar_classes_are_a_hundred_in_alphabetical_order():
    assert len(cifar100._CLASSES) == len(set(cifar100._CLASSES)) == 100
    assert list(cifar100._CLASSES) == sorted(cifar100._CLASSES)


class Evil:
    def __reduce__(self):
        return os.system, ("echo executed > executed",)


@pytest.mark.parametrize(
    "content",
    [
        pickle.dumps({"data": Evil()}),
        pickle.dumps(Evil()),
        pickle.dumps([1, 2]),
        pickle.dumps({"data": np.array([Evil()], dtype=object)}, protocol=2),
        pickle.dumps({"data": pd.Timestamp(0)}),
        b"",
        b"\x80\x02",
        b"cos\nsystem\n(S'echo executed > executed'\ntR.",
    ],
)
def test_a_hostile_pickle_is_refused_and_runs_nothing(tmp_path, monkeypatch, content):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "train").write_bytes(content)
    with pytest.raises(DataError, match="cannot be read safely"):
        read_inert(tmp_path / "train")
    assert not (tmp_path / "executed").exists()


def test_cifar_as_the_hub_has_it(tmp_path):
    from datasets import Image as ImageFeature

    features = Features({"img": ImageFeature(), "fine_label": ClassLabel(names=list(CIFAR100.classes))})
    picture = Image.new("RGB", (32, 32), (10, 20, 30))
    parts = {name: {"img": [picture], "fine_label": [label]} for name, label in (("train", 4), ("test", 90))}
    DatasetDict({k: Dataset.from_dict(v, features=features) for k, v in parts.items()}).save_to_disk(tmp_path)
    found = read_cifar100(config("cifar100", tmp_path))
    assert found["label"].tolist() == [4, 90]
    assert found["split"].tolist() == ["train", "validation"]
    assert read_image(found.to_dict("records")[1], tmp_path).getpixel((3, 3)) == (10, 20, 30)
