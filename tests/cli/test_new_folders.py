"""What `daam-bench new dataset` makes of folders of images and recordings, and of tables that list them."""

import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import soundfile
import yaml
from cli.layouts import in_classes, write_images
from PIL import Image

from daam_bench.config import DatasetConfig, FoldRule
from daam_bench.datasets.listing import list_samples
from daam_bench.training.folds import deal_folds


@pytest.mark.parametrize(
    ("splits", "words", "uses"),
    [
        (("train", "val", "test"), (), {"train": "train", "test": "validation"}),
        (("train", "val", "test"), ("--score-on", "val"), {"train": "train", "val": "validation"}),
        (("training", "testing"), (), {"training": "train", "testing": "validation"}),
        (("Train", "Test"), (), {"Train": "train", "Test": "validation"}),
        (("train", "valid"), (), {"train": "train", "valid": "validation"}),
    ],
)
def test_folders_of_splits(here, block, splits, words, uses):
    write_images("d", *in_classes(*splits))
    write_images("d", "__MACOSX/a.png", ".thumbnails/b.png")
    found, draft, text = block("d", *words)
    assert found["splits"] == uses
    assert found["folds"] == {"rule": "split_column"}
    assert draft["classes"] == {"cat": 3 * len(uses), "dog": 3 * len(uses)}
    assert draft["splits"] == {"train": 6, "validation": 6}
    assert ("val not used (--score-on val" in text) == (len(splits) == 3 and not words)


def test_a_folder_that_holds_nothing_but_a_folder_is_stepped_into(here, block):
    write_images("d/PetImages", *in_classes(".", count=5))
    (here / "d/PetImages/bird").mkdir()
    found, draft, _ = block("d")
    assert found["path"] == "d/PetImages"
    assert any("no classes: bird" in note for note in draft["notes"])


def test_files_whose_names_say_the_class(here, block, call):
    write_images("d", *(f"{label}_{i}.png" for label in ("cat", "dog") for i in range(5)))
    code, _, err = call("new", "dataset", "mine", "d")
    assert code == 3 and "--label-pattern" in err and "cat_0.png" in err
    found, draft, _ = block("d", "--label-pattern", "^([a-z]+)_")
    assert found["label_pattern"] == "^([a-z]+)_"
    assert draft["classes"] == {"cat": 5, "dog": 5}
    pd.DataFrame({"file": ["cat_0.png"], "label": ["cat"]}).to_csv("d/list.csv", index=False)
    assert "d/list.csv" in call("new", "dataset", "other", "d")[2]


def test_long_recordings_are_cut_and_stay_on_one_side(here, block):
    for label in ("a", "b"):
        Path("d", label).mkdir(parents=True)
        for number in range(2):
            soundfile.write(f"d/{label}/{number}.wav", np.zeros(100 * (3100 + number)), 100)
    Path("d/a/broken.wav").write_bytes(b"no audio")
    found, draft, _ = block("d")
    assert found["clip_seconds"] == 30 and "group_pattern" not in found
    assert found["folds"] == {"rule": "stratified", "count": 2}
    samples = list_samples("mine", DatasetConfig.model_validate(found))
    usable = samples[~samples["sample_id"].str.contains("broken")]
    arguments = (usable[name].tolist() for name in ("group", "split", "content_key"))
    for fold in deal_folds(usable["label"].to_numpy(), *arguments, FoldRule(**found["folds"])):
        sides = [set(usable["file"].iloc[rows]) for rows in (fold.train, fold.validation)]
        assert not sides[0] & sides[1]
    assert any("1 of 5 files cannot be used" in note for note in draft["notes"])


def test_unusable_samples_count_for_no_fold(here, block):
    write_images("d", *in_classes(".", count=4))
    Path("d/cat/3.png").write_bytes(b"no image")
    found, draft, _ = block("d")
    assert found["folds"] == {"rule": "stratified", "count": 3}
    assert draft["classes"] == {"cat": 3, "dog": 4}


def test_an_image_too_large_to_open_is_left_out(here, block, monkeypatch):
    write_images("d", *in_classes("."))
    Image.new("1", (90, 90)).save("d/cat/large.png")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 2000)
    _, draft, _ = block("d")
    assert any("1 of 7 files cannot be used" in note for note in draft["notes"])


def test_a_further_folder_beside_splits_is_not_used(here, block):
    write_images("d", *in_classes("train", "test"), "pred/1.png", "pred/2.png")
    found, draft, text = block("d")
    assert found["splits"] == {"train": "train", "test": "validation"}
    assert draft["classes"] == {"cat": 6, "dog": 6}
    assert "pred not used" in text


@pytest.mark.parametrize(
    ("names", "table", "said"),
    [
        (in_classes("seg_train/seg_train", "seg_test/seg_test"), None, "seem to be splits, not classes"),
        (["train_images/1.png", "test_images/2.png"], "train.csv", r"d/train\.csv"),
        (["train_images/1.png", "test_images/2.png"], None, "seem to be splits"),
        (["images/1.png", "images/2.png"], "labels.csv", r"d/labels\.csv"),
        (["train/1.png", "test/2.png"], "labels.csv", r"d/labels\.csv"),
    ],
)
def test_folders_that_are_no_classes_are_refused(here, call, names, table, said):
    write_images("d", *names)
    if table:
        pd.DataFrame({"id": ["1", "2"], "label": ["a", "b"]}).to_csv(f"d/{table}", index=False)
    code, _, err = call("new", "dataset", "mine", "d")
    assert code == 3 and re.search(said, err), err


def test_a_test_split_without_classes_is_said_not_to_be_used(here, block):
    write_images("d", *in_classes("train", count=6), "test/1.png")
    found, draft, _ = block("d")
    assert found["folds"]["rule"] == "stratified"
    assert "splits" not in draft["choices"]
    assert any(note.startswith("test: no samples with a label") for note in draft["notes"])
    assert not any("scored on test" in note for note in draft["overlay"]["notes"])


def test_links_to_folders_are_said_not_to_be_followed(here, block):
    write_images("d", *in_classes("."))
    write_images("elsewhere", "1.png")
    Path("d/bird").symlink_to(here / "elsewhere")
    _, draft, _ = block("d")
    assert any("links to folders are not followed: bird" in note for note in draft["notes"])


def test_what_is_no_class_by_its_name_is_left_out_with_a_note(here, block):
    write_images("d", *in_classes("."), "_background_/1.png")
    Path("d/testing_list.txt").write_text("cat/0.png\ndog/1.png\n")
    Path("d/LICENSE.txt").write_text("Do as you like.")
    found, draft, _ = block("d")
    assert found["labels"] == {"cat": "cat", "dog": "dog"}
    assert draft["classes"] == {"cat": 3, "dog": 3}
    assert any("no classes: _background_" in note for note in draft["notes"])
    (said,) = [note for note in draft["notes"] if "lists of files, not used" in note]
    assert said.startswith("testing_list.txt: ")


@pytest.mark.parametrize(
    ("folders", "doubted"),
    [
        (("fold1", "fold2"), True),
        (("Actor_01", "Actor_02"), True),
        (("cat", "dog"), False),
        (("class1", "class2"), False),
        (("0", "1"), False),
        (("speaker1", "noise"), False),
    ],
)
def test_folders_that_are_numbered_alike_are_doubted(here, block, folders, doubted):
    write_images("d", *(f"{folder}/{i}.png" for folder in folders for i in range(3)))
    _, draft, _ = block("d")
    assert any("numbered alike" in note and "--label-pattern" in note for note in draft["notes"]) is doubted


def test_the_written_file_is_yaml_whatever_names_hold(here, block):
    write_images("d", *(f"it's: #{label}\u2028é/{i} \U0001f600.png" for label in "ab" for i in range(3)))
    _, draft, text = block("d")
    assert yaml.safe_load(text)["datasets"] == draft["overlay"]["datasets"]
