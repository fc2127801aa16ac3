"""Datasets by declaration: table, class folders, Hugging Face."""

import bz2
import gzip
import io
import lzma
import os

import numpy as np
import pandas as pd
import pytest
import soundfile
from datasets import ClassLabel, Dataset, DatasetDict, Features, Image, Value
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image as PillowImage

from daam_bench.config import DatasetConfig, parse_config
from daam_bench.datasets.declaration import label_classes, use_of_splits
from daam_bench.datasets.listing import list_samples
from daam_bench.errors import ConfigError, DataError, MachineError


def png(shade):
    buffer = io.BytesIO()
    PillowImage.fromarray(np.full((5, 7, 3), shade, dtype=np.uint8)).save(buffer, "PNG")
    return buffer.getvalue()


def listed(**settings):
    return list_samples("mine", DatasetConfig(**settings))


@pytest.fixture
def table(tmp_path):
    frame = pd.DataFrame(
        {
            "title": ["a", "b, with comma", "", "d\u00e9"],
            "body": ["1", "2", "3", "4"],
            "stars": ["01", "5", "5", "3"],
            "shop": ["x", "x", "y", "y"],
            "part": ["train", "train", "test", "test"],
        }
    )
    return frame, tmp_path


def test_equal_contents_with_different_labels_are_said(tmp_path, caplog):
    words = ["x,a", "y,a", "x,b", "y,a", "z,b"]
    (tmp_path / "t.csv").write_text("\n".join(["text,label", *words]))
    settings = {"kind": "table", "path": str(tmp_path / "t.csv"), "modality": "text"}
    listed(**settings, folds={"rule": "stratified", "count": 2})
    assert "2 of 5 samples have the content of one with another label, such as 0 and 2" in caplog.text


@pytest.mark.parametrize("ending", [".csv", ".tsv", ".parquet"])
def test_a_table_with_named_columns(table, ending):
    frame, folder = table
    path = folder / f"reviews{ending}"
    if ending == ".parquet":
        frame.to_parquet(path)
    else:
        frame.to_csv(path, index=False, sep="\t" if ending == ".tsv" else ",")
    found = listed(
        kind="table",
        modality="text",
        path=str(path),
        columns={"content": ["title", "body"], "label": "stars", "group": "shop", "split": "part"},
        labels={"01": "bad", 5: "good"},
    )
    assert found.attrs["class_names"] == ["bad", "good"]
    assert found["text"].tolist() == ["a 1", "b, with comma 2", " 3"]
    assert found["label"].tolist() == [0, 1, 1]
    assert found["group"].tolist() == ["x", "x", "y"]
    assert found["split"].tolist() == ["train", "train", "validation"]
    assert found["sample_id"].tolist() == ["0", "1", "2"]


def test_a_table_of_paths_hashes_the_files(tmp_path):
    for name, shade in (("a.png", 1), ("b.png", 2), ("c.png", 1)):
        (tmp_path / name).write_bytes(png(shade))
    table = pd.DataFrame({"image": ["a.png", "b.png", "c.png", "gone.png"], "label": [10, 9, 9, 10]})
    table.to_csv(tmp_path / "t.csv", index=False)
    found = listed(kind="table", modality="vision", path=str(tmp_path / "t.csv"))
    assert found.attrs["class_names"] == ["9", "10"]
    assert found.attrs["folder"] == str(tmp_path)
    keys = found["content_key"].tolist()
    assert keys[0] == keys[2] != keys[1]
    assert len(set(keys)) == 3


def test_unknown_column_is_named_with_the_nearest(table):
    frame, folder = table
    frame.to_csv(folder / "t.csv", index=False)
    with pytest.raises(ConfigError, match=r"unknown column 'star'.*'stars'"):
        listed(
            kind="table",
            modality="text",
            path=str(folder / "t.csv"),
            columns={"content": "body", "label": "star"},
        )


@pytest.mark.parametrize("data", [b"\xff\xfe\x00bad", b"", b'"open quote\n'])
def test_what_is_no_table_is_refused(tmp_path, data):
    (tmp_path / "t.csv").write_bytes(data)
    with pytest.raises((DataError, ConfigError), match="t.csv"):
        listed(kind="table", modality="text", path=str(tmp_path / "t.csv"))


def test_class_folders_with_groups_from_names(tmp_path):
    for name in ("cat/s1_a.png", "cat/deep/s2_b.PNG", "dog/s1_c.jpg", "dog/.hidden.png", "dog/notes.txt"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(png(len(name)))
    found = listed(kind="class_folders", modality="vision", path=str(tmp_path), group_pattern=r"(s\d)_[^/]*$")
    assert found["sample_id"].tolist() == ["cat/deep/s2_b.PNG", "cat/s1_a.png", "dog/s1_c.jpg"]
    assert found["label"].tolist() == [0, 0, 1]
    assert found["group"].tolist() == ["s2", "s1", "s1"]
    with pytest.raises(ConfigError, match=r"finds no group.*s2_b"):
        listed(kind="class_folders", modality="vision", path=str(tmp_path), group_pattern=r"(s1)_")


def test_class_folders_below_split_folders(tmp_path):
    for name in ("train/a/1.wav", "train/b/2.wav", "val/a/3.wav"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        soundfile.write(tmp_path / name, np.zeros(50), 8000)
    found = listed(kind="class_folders", modality="speech", path=str(tmp_path))
    assert found.attrs["class_names"] == ["a", "b"]
    assert found["split"].tolist() == ["train", "train", "validation"]


def test_class_folders_without_files_say_what_is_expected(tmp_path):
    (tmp_path / "cat").mkdir()
    with pytest.raises(DataError, match=r"<class>/<file>.*\.png.*found cat"):
        listed(kind="class_folders", modality="vision", path=str(tmp_path))


def test_hugging_face_folder_with_class_names_and_images(tmp_path):
    features = Features({"image": Image(), "label": ClassLabel(names=["cat", "dog"]), "who": Value("string")})
    parts = {
        "train": {"image": [png(1), png(2)], "label": [1, 0], "who": ["p", "q"]},
        "test": {"image": [png(3)], "label": [1], "who": ["r"]},
    }
    rows = {
        name: {**p, "image": [{"bytes": b, "path": None} for b in p["image"]]} for name, p in parts.items()
    }
    data = DatasetDict({name: Dataset.from_dict(part, features=features) for name, part in rows.items()})
    data.save_to_disk(tmp_path / "d")
    found = listed(kind="huggingface", modality="vision", path=str(tmp_path / "d"), columns={"group": "who"})
    assert found["label"].tolist() == [1, 0, 1]
    assert found["content"].tolist() == [png(1), png(2), png(3)]
    assert found["split"].tolist() == ["train", "train", "validation"]
    assert found["group"].tolist() == ["p", "q", "r"]


def test_a_hub_id_needs_a_commit_not_a_branch():
    with pytest.raises(ConfigError, match="pinned revision"):
        listed(kind="huggingface", modality="text", path="owner/name")
    data = {"datasets": {"d": {"kind": "huggingface", "path": "owner/name", "revision": "main"}}}
    with pytest.raises(ConfigError, match=r"datasets.d.revision"):
        parse_config(data | {"encoders": {}, "experiments": []})


def test_settings_that_a_kind_does_not_read_are_refused(tmp_path):
    with pytest.raises(ConfigError, match=r"'vader' does not read labels"):
        listed(kind="vader", path=str(tmp_path), labels={"a": "b"})
    with pytest.raises(ConfigError, match=r"needs to know the modality"):
        listed(kind="table", path="t.csv")
    with pytest.raises(ConfigError, match=r"only speech can be cut"):
        listed(kind="table", modality="text", path="t.csv", clip_seconds=5)


@given(st.lists(st.integers(-50, 50), min_size=2, max_size=31).filter(lambda v: len(set(v)) > 1))
def test_every_label_is_a_class_in_order_of_value(values):
    classes, labels = label_classes(pd.Series(values), None, "d")
    assert classes == [str(value) for value in sorted(set(values))]
    assert [classes[int(label)] for label in labels] == [str(value) for value in values]


@pytest.mark.parametrize(
    ("wanted", "message"), [({"a": "x", "z": "y"}, "never occur.*found z"), ({"a": "x"}, "two classes")]
)
def test_label_maps_that_cannot_be(wanted, message):
    with pytest.raises(DataError, match=message):
        label_classes(pd.Series(["a", "b"]), wanted, "d")


@pytest.mark.parametrize(
    ("names", "wanted", "uses"),
    [
        (["train", "test"], None, {"train": "train", "test": "validation"}),
        (["train", "val"], None, {"train": "train", "val": "validation"}),
        (["Training", "DEV"], None, {"Training": "train", "DEV": "validation"}),
        (
            ["train", "training", "testing"],
            None,
            {"train": "train", "training": "train", "testing": "validation"},
        ),
        (["all"], None, {"all": "train"}),
        (["x", "y", "z"], {"x": "train", "z": "validation"}, {"x": "train", "z": "validation"}),
    ],
)
def test_use_of_splits(names, wanted, uses):
    assert use_of_splits(names, wanted, "d") == uses


def test_two_candidates_for_validation_must_be_decided():
    with pytest.raises(ConfigError, match="say which one scores"):
        use_of_splits(["train", "validation", "test"], None, "d")
    with pytest.raises(ConfigError, match="unknown split 'tset'.*'test'"):
        use_of_splits(["train", "test"], {"tset": "validation"}, "d")


def test_samples_without_a_label_are_no_class(tmp_path):
    frame = pd.DataFrame({"text": list("abcd"), "label": ["x", " ", "y", None]})
    frame.to_parquet(tmp_path / "t.parquet")
    settings = {"kind": "table", "modality": "text", "path": str(tmp_path / "t.parquet")}
    with pytest.raises(DataError, match="2 of 4 samples have no label.*`labels`"):
        listed(**settings)
    found = listed(**settings, labels={"x": "one", "y": "two"})
    assert found["text"].tolist() == ["a", "c"]


def test_an_unlabelled_hugging_face_row_is_not_of_the_last_class(tmp_path):
    features = Features({"text": Value("string"), "label": ClassLabel(names=["no", "yes"])})
    rows = {"text": ["a", None, "c"], "label": [0, 1, -1]}
    Dataset.from_dict(rows, features=features).save_to_disk(tmp_path / "d")
    settings = {"kind": "huggingface", "modality": "text", "path": str(tmp_path / "d")}
    with pytest.raises(DataError, match="1 of 3 samples have no label"):
        listed(**settings)
    assert listed(**settings, labels={"no": "no", "yes": "yes"})["text"].tolist() == ["a", ""]


@pytest.mark.parametrize("rows", ["{n},a,b\n", "{n},a\n{n},b,c,d\n", "{n},a,\n"])
def test_fields_without_a_name_never_shift_the_columns(tmp_path, rows):
    path = tmp_path / "t.csv"
    path.write_text("text,label\n" + "".join(rows.format(n=n) for n in range(4)))
    with pytest.raises(DataError, match="double quotes"):
        listed(kind="table", modality="text", path=str(path))


def test_a_table_without_quotes_keeps_every_row(tmp_path, caplog):
    rows = [f"review {i}\t{'pos' if i % 2 else 'neg'}" for i in range(7)]
    enclosed = [*rows, '"two\nlines, ""quoted"""\tpos']
    path = tmp_path / "t.tsv"
    settings = {"kind": "table", "modality": "text", "path": str(path)}
    path.write_text("\n".join(["text\tlabel", *enclosed]))
    assert listed(**settings)["text"].iloc[7] == 'two\nlines, "quoted"'
    assert "quotes" not in caplog.text
    for odd in ({2: '"Opens\tneg', 5: '"and again\tpos'}, {4: '"Opens\tneg'}):
        path.write_text("\n".join(["text\tlabel", *(odd.get(i, row) for i, row in enumerate(rows))]))
        found = listed(**settings)
        assert found["text"].tolist() == [odd.get(i, row).split("\t")[0] for i, row in enumerate(rows)]
        assert "t.tsv: its quotes do not enclose fields" in caplog.text


def test_spaces_around_splits_and_groups_are_none_of_theirs(tmp_path, caplog):
    caplog.set_level("INFO")
    uses = ["train", " train", "train ", "test", "test ", "extra"]
    rows = [f"t{i},{'ab'[i % 2]},{'anna ' if i % 3 else 'anna'},{use}" for i, use in enumerate(uses)]
    (tmp_path / "t.csv").write_text("\n".join(["text,label,who,part", *rows]))
    found = listed(
        kind="table",
        modality="text",
        path=str(tmp_path / "t.csv"),
        columns={"group": "who", "split": "part"},
    )
    assert found["split"].tolist() == ["train"] * 3 + ["validation"] * 2
    assert set(found["group"]) == {"anna"}
    assert "1 rows of split 'extra' are left out" in caplog.text


@pytest.mark.parametrize("kind", ["table", "huggingface"])
def test_values_that_are_no_text_are_refused_and_bytes_of_text_are_read(tmp_path, kind):
    def read(values, groups=("x", "y", "x", "y")):
        frame = pd.DataFrame({"text": values, "label": [b"p", b"n"] * 2, "who": groups})
        frame.to_parquet(tmp_path / "train.parquet")
        path = tmp_path / "train.parquet" if kind == "table" else tmp_path
        return listed(kind=kind, modality="text", path=str(path), columns={"group": "who"})

    good = ["h\u00e9".encode(), b"b", b"c", b"d"]
    found = read(good)
    assert found["text"].tolist() == ["h\u00e9", "b", "c", "d"]
    assert found.attrs["class_names"] == ["n", "p"]
    for values, what in (
        ([["a", "b"]] * 4, "lists"),
        ([{"en": "a"}] * 4, "mappings"),
        ([b"\x89PNG\xff"] * 4, "binary.*huggingface"),
    ):
        with pytest.raises(DataError, match=f"text: its values are {what}"):
            read(values)
        with pytest.raises(DataError, match=f"who: its values are {what}"):
            read(good, values)


def test_folders_of_splits_beside_others_are_not_taken_for_classes(tmp_path):
    for place in ("train/cat", "train/dog", "test/cat", "test/dog", "docs"):
        (tmp_path / place).mkdir(parents=True)
        (tmp_path / place / "a.png").write_bytes(png(len(place)))
    settings = {"kind": "class_folders", "modality": "vision", "path": str(tmp_path)}
    with pytest.raises(DataError, match=r"names of splits, others have not.*docs, test, train.*`splits`"):
        listed(**settings)
    found = listed(**settings, splits={"train": "train", "test": "validation"})
    assert found.attrs["class_names"] == ["cat", "dog"] and len(found) == 4
    named = listed(**settings, labels={"train": "vehicle", "docs": "paper"})
    assert named.attrs["class_names"] == ["vehicle", "paper"]


@pytest.mark.parametrize("column", ["sample_id", "group"])
def test_a_name_with_a_nul_is_refused(tmp_path, column):
    frame = pd.DataFrame({"text": list("abcd"), "label": [0, 1] * 2, "name": ["w", "x", "y\0", "z"]})
    frame.to_parquet(tmp_path / "t.parquet")
    with pytest.raises(DataError, match=rf"{column} holds a NUL character.*y.x00"):
        listed(kind="table", modality="text", path=str(tmp_path / "t.parquet"), columns={column: "name"})


def test_text_of_another_encoding_is_named_with_the_cure(tmp_path):
    path = tmp_path / "t.csv"
    path.write_bytes("text,label\ncafé,x\nthé,y\n".encode("cp1252"))
    with pytest.raises(DataError, match="is not UTF-8.*`encoding`"):
        listed(kind="table", modality="text", path=str(path))
    found = listed(kind="table", modality="text", path=str(path), encoding="cp1252")
    assert found["text"].tolist() == ["café", "thé"]


def test_labels_from_the_names_of_files_below_splits(tmp_path):
    for name in ("Train/cat_s1.png", "Train/deep/dog_s2.png", "Test/dog_s1.png"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(png(len(name)))
    settings = {"kind": "class_folders", "modality": "vision", "path": str(tmp_path)}
    found = listed(**settings, label_pattern="([a-z]+)_s", group_pattern="_(s.)")
    assert found.attrs["class_names"] == ["cat", "dog"]
    assert found["label"].tolist() == [1, 0, 1]
    assert found["group"].tolist() == ["s1", "s1", "s2"]
    assert found["split"].tolist() == ["validation", "train", "train"]
    with pytest.raises(ConfigError, match="label_pattern: finds no label"):
        listed(**settings, label_pattern="(x)")


def test_recordings_are_cut_and_the_remainder_is_a_clip(tmp_path):
    for name, seconds in (("a/long.wav", 2.35), ("a/exact.wav", 1.0), ("b/tail.wav", 1.01)):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        soundfile.write(tmp_path / name, np.zeros(round(seconds * 8000)), 8000)
    (tmp_path / "b" / "broken.wav").write_bytes(b"no audio")
    found = listed(kind="class_folders", modality="speech", path=str(tmp_path), clip_seconds=1)
    assert found["sample_id"].tolist() == [
        "a/exact.wav#0",
        *(f"a/long.wav#{k}" for k in range(3)),
        "b/broken.wav#0",
        "b/tail.wav#0",
    ]
    long = found[found["file"] == "a/long.wav"]
    assert long["start_second"].tolist() == [0, 1, 2]
    assert long["stop_second"].tolist() == [1, 2, 3]
    assert set(long["label"]) == {0}
    assert len(set(long["content_key"].str.split("@").str[0])) == 1
    assert long["content_key"].is_unique


ROWS = "text,label\n" + "".join(f"text {n},{'ab'[n % 2]}\n" for n in range(6))


@pytest.mark.parametrize("pack", [gzip, bz2, lzma])
def test_a_packed_table_is_read(tmp_path, pack):
    ending = {gzip: "gz", bz2: "bz2", lzma: "xz"}[pack]
    path = tmp_path / f"t.csv.{ending}"
    path.write_bytes(pack.compress(ROWS.replace(",", ";").encode()))
    found = listed(kind="table", modality="text", path=str(path))
    assert found["text"].tolist()[:2] == ["text 0", "text 1"]
    path.write_bytes(pack.compress(ROWS.encode())[:-5])
    with pytest.raises(DataError, match="cannot be read as a table"):
        listed(kind="table", modality="text", path=str(path))


def test_a_packed_table_that_is_far_larger_than_it_looks_is_refused(tmp_path):
    path = tmp_path / "t.csv.gz"
    path.write_bytes(gzip.compress(ROWS.encode() + b"x" * 2**22))
    with pytest.raises(DataError, match="unpacks to more than a table"):
        listed(kind="table", modality="text", path=str(path))


@pytest.mark.parametrize("ending", [".csv", ".parquet", ".csv.gz"])
@pytest.mark.parametrize("kind", ["pipe", "device"])
def test_a_table_that_is_no_file_is_refused_at_once(tmp_path, ending, kind):
    path = tmp_path / f"t{ending}"
    os.mkfifo(path) if kind == "pipe" else path.symlink_to("/dev/zero")
    with pytest.raises(DataError, match="is no regular file"):
        listed(kind="table", modality="text", path=str(path))


def test_a_table_beyond_memory_is_a_matter_of_the_machine(tmp_path, monkeypatch):
    (tmp_path / "t.csv").write_text(ROWS)

    def fail(*_, **__):
        raise MemoryError

    monkeypatch.setattr(pd, "read_csv", fail)
    with pytest.raises(MachineError, match="does not fit into memory"):
        listed(kind="table", modality="text", path=str(tmp_path / "t.csv"))
