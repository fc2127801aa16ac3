"""What `daam-bench new dataset` makes of tables whose files lie elsewhere, and of names of labels."""

import re
from pathlib import Path

import pandas as pd
import pytest
from cli.layouts import in_classes, reviews, write_images

from daam_bench.config import DatasetConfig
from daam_bench.datasets.listing import list_samples


def write_table(place, rows):
    Path(place).parent.mkdir(parents=True, exist_ok=True)
    pd.DataFrame(rows).to_csv(place, index=False)


def esc50():
    names = [f"{1 + i % 5}-{i}-A-{i % 2}.png" for i in range(20)]
    write_images("d", *(f"audio/{name}" for name in names))
    kinds = [{"target": i % 2, "category": ("dog", "rain")[i % 2]} for i in range(20)]
    rows = [{"filename": name, "fold": name[0], **kind} for name, kind in zip(names, kinds, strict=True)]
    write_table("d/meta/esc50.csv", rows)


def urban_sound():
    rows = [
        {"slice_file_name": f"{i}.png", "fsID": i, "fold": 1 + i // 4 % 2, "classID": i % 2}
        for i in range(16)
    ]
    rows = [row | {"class": ("siren", "drilling")[row["classID"]]} for row in rows]
    write_images("d", *(f"audio/fold{row['fold']}/{row['slice_file_name']}" for row in rows))
    write_table("d/metadata/UrbanSound8K.csv", rows)


def beside():
    write_images("d", *(f"images/{i}.png" for i in range(8)))
    write_table("d/labels.csv", [{"file": f"{i}.png", "label": i // 2 % 2} for i in range(8)])


def without_ending():
    write_images("d", *(f"train/{i:03}.png" for i in range(8)), *(f"test/{i:03}.png" for i in range(8, 30)))
    write_table("d/train.csv", [{"id": f"{i:03}", "breed": "ab"[i % 2]} for i in range(8)])
    write_table("d/sample_submission.csv", [{"id": f"{i:03}", "label": "ab"[i % 2]} for i in range(8, 30)])


def flat():
    write_images("d", *(f"{i:03}.png" for i in range(8)))
    write_table("d/list.csv", [{"image": f"{i:03}", "grade": i % 2} for i in range(8)])


LAYOUTS = [
    (esc50, "d/meta/esc50.csv", "filename", "category", "../audio"),
    (urban_sound, "d/metadata/UrbanSound8K.csv", "slice_file_name", "class", "../audio/fold{fold}"),
    (beside, "d/labels.csv", "file", "label", "images"),
    (without_ending, "d/train.csv", "id", "breed", "train/{content}.png"),
    (flat, "d/list.csv", "image", "grade", "{content}.png"),
]


@pytest.mark.parametrize(("make", "table", "content", "label", "files"), LAYOUTS)
def test_a_folder_with_a_table_and_files_elsewhere_is_understood(
    here, block, make, table, content, label, files
):
    make()
    found, draft, text = block("d")
    assert (found["kind"], found["modality"], found["path"]) == ("table", "vision", table)
    assert (found["columns"]["content"], found["columns"]["label"]) == (content, label)
    assert found["files"] == files
    assert "--kind class_folders" in text
    samples = list_samples("mine", DatasetConfig.model_validate(found))
    assert not samples["content_key"].str.startswith("none-").any()
    assert draft["samples"] == len(samples) == len(pd.read_csv(table))


@pytest.mark.parametrize(("make", "table", "content", "label", "files"), LAYOUTS[2:])
def test_a_table_finds_its_files_below_its_folder(here, block, make, table, content, label, files):
    make()
    found, _, _ = block(table)
    assert (found["columns"]["content"], found["columns"]["label"], found["files"]) == (content, label, files)
    assert found == block("d", "--force")[0]


def test_the_folds_of_a_table_are_its_groups(here, block):
    urban_sound()
    found, _, _ = block("d")
    assert found["columns"]["group"] == "fold" and found["folds"] == {"rule": "leave_one_group_out"}


def test_class_folders_are_taken_where_the_user_says_so_or_no_table_has_labels(here, block):
    urban_sound()
    assert block("d", "--kind", "class_folders")[0]["kind"] == "class_folders"
    write_images("e", *in_classes(".", count=4))
    write_table(
        "e/sizes.csv", [{"file": name[2:], "width": 5 + i % 2} for i, name in enumerate(in_classes("."))]
    )
    assert block("e", "--force")[0]["kind"] == "class_folders"


def test_files_in_several_folders_that_no_column_tells_apart_are_refused(here, call):
    write_images("d", *(f"part_{'ab'[i % 2]}/{i:03}.png" for i in range(8)))
    write_table("d/list.csv", [{"id": f"{i:03}", "label": i // 2 % 2} for i in range(8)])
    code, _, err = call("new", "dataset", "mine", "d/list.csv")
    assert code == 3 and re.search(r"several folders.*50% of them.*Move them into one folder", err), err
    assert len(err.splitlines()) == 1


def test_a_folder_without_a_table_of_its_files_is_refused(here, call):
    write_images("d", *in_classes("."))
    reviews().to_csv("d/texts.csv", index=False)
    code, _, err = call("new", "dataset", "mine", "d", "--kind", "table")
    assert code == 3 and "Give the table itself: d/texts.csv" in err


def test_rows_without_a_file_are_said_to_be_left_out(here, block):
    beside()
    Path("d/images/7.png").unlink()
    _, draft, _ = block("d")
    assert draft["samples"] == 7
    assert any(note.startswith("1 of 8 rows have no file there") for note in draft["notes"])


@pytest.mark.parametrize(
    ("names", "label"),
    [
        (("airline", "airline_sentiment"), "airline_sentiment"),
        (("airline_sentiment_confidence", "sentiment_of_text"), "sentiment_of_text"),
        (("target_url", "review_label"), "review_label"),
        (("classID", "class"), "class"),
        (("verdict", "site"), "verdict"),
    ],
)
def test_a_usual_name_makes_a_label_before_few_values_do(here, block, names, label):
    table = reviews(60, 2).rename(columns={"label": names[0]})
    table[names[1]] = [i // 2 % 3 for i in range(60)]
    table.to_csv("t.csv", index=False)
    found, draft, _ = block("t.csv")
    assert found["columns"]["label"] == label
    guessed = any("fewest different values" in note for note in draft["notes"])
    assert guessed is (label == "verdict")
