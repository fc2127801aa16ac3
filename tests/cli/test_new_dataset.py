"""What `daam-bench new dataset` makes of tables, and what it says of its choices."""

import re
import shutil
from pathlib import Path

import pandas as pd
import pytest
from cli.layouts import reviews

from daam_bench.config.merge import load_merged
from daam_bench.plan import make_plan

ROOT = Path(__file__).parents[2]


def test_the_report_is_headed_by_the_dataset_and_nothing_else_is_fetched(here, block):
    shutil.copy(ROOT / "config.yaml", here)
    reviews().to_csv("t.csv", index=False)
    _, draft, text = block("t.csv")
    config = load_merged(Path("config.yaml"), [Path("config/mine.yaml")])
    assert config.title == "mine with minilm-l6"
    assert not any("VADER" in note or "snippets" in note for note in config.notes)
    assert any("decoder channels 32 instead of 512" in note for note in config.notes)
    assert any("learning rate 0.001 instead of 0.0001" in note for note in config.notes)
    assert any(note.startswith("Folds: 5 parts") for note in config.notes)
    assert make_plan(config).assets == ["minilm-l6"]
    assert make_plan(config).caches == [("mine", "minilm-l6")]
    assert "# label: column label (--label" in text and "first sample" in draft["choices"]


def test_few_samples_get_as_many_steps_as_the_default_makes(here, block):
    shutil.copy(ROOT / "config.yaml", here)
    reviews(80, 2).to_csv("t.csv", index=False)
    _, draft, _ = block("t.csv")
    assert draft["overlay"]["experiments"][0]["training"] == {"epochs": 50}  # 3 batches of 32: 150 steps
    assert not any("epochs 4" in note for note in draft["overlay"]["notes"])
    reviews(2000, 2).to_csv("t.csv", index=False)
    _, draft, _ = block("t.csv", "--force")
    assert "training" not in draft["overlay"]["experiments"][0]


@pytest.mark.parametrize("ending", ["csv", "CSV", "tsv", "txt"])
@pytest.mark.parametrize("separator", [",", ";", "\t", "|"])
def test_the_separator_is_found(here, block, ending, separator):
    reviews().to_csv(f"t.{ending}", index=False, sep=separator, lineterminator="\r\n")
    found, draft, _ = block(f"t.{ending}")
    assert found["columns"] == {"content": "text", "label": "label"}
    assert draft["classes"] == {"0": 20, "1": 20, "2": 20}


@pytest.mark.parametrize(
    ("encoding", "said"), [("utf-8-sig", None), ("latin-1", "cp1252"), ("utf-16", "utf-16"), ("utf-8", None)]
)
def test_the_encoding_is_found_and_written_down(here, block, encoding, said):
    reviews().to_csv("t.csv", index=False, encoding=encoding)
    found, draft, _ = block("t.csv")
    assert found.get("encoding") == said
    assert "lines é" in draft["choices"]["first sample"]


@pytest.mark.parametrize(
    ("names", "words", "content", "label"),
    [
        (("Class Index", "Title", "Description"), (), ["Title", "Description"], "Class Index"),
        (("label", "title", "text"), ("--content", "text"), "text", "label"),
        (("stars", "a", "b"), ("--content", "a", "--content", "b"), ["a", "b"], "stars"),
    ],
)
def test_texts_that_belong_together_are_joined(here, block, names, words, content, label):
    rows = [(1 + i % 4, f"heading {i}", f"a longer text of number {i}") for i in range(40)]
    pd.DataFrame(rows, columns=names).to_csv("t.csv", index=False)
    found, _, text = block("t.csv", *words)
    assert found["columns"] == {"content": content, "label": label}
    assert "first sample: 'heading 0" in text or words[-1] == "text"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("3,a title,some text\n" * 8, "first row seems to be data"),
        ("a review,good\n" + "".join(f"r{i},{('good', 'bad')[i % 2]}\n" for i in range(8)), "line of names"),
        ("text,label\n" + "so, well,1\nno, well,0\n" * 4, "more fields than.*double quotes"),
        ("text,label\na,1\nb,0\nso, well,1\n", "saw 3.*double quotes"),
        (
            "file,label\n" + "".join(f"x/{i}.wav,{i % 2}\n" for i in range(8)),
            "none of its files is there.*--content",
        ),
        ("text,label,label \n" + "a,b,c\n" * 9, "two columns have one name.*'label'.*Rename"),
    ],
)
def test_a_table_that_cannot_be_is_said_in_a_line_with_a_remedy(here, call, text, said):
    Path("t.csv").write_text(text)
    code, _, err = call("new", "dataset", "mine", "t.csv")
    assert code == 3 and len(err.splitlines()) == 1
    assert re.search(said, err), err


def test_rows_without_a_label_and_classes_of_one_are_left_out_by_name(here, block):
    frame = reviews().astype({"label": "Int64"})
    frame.loc[:3, "label"] = pd.NA
    frame.loc[4, "label"] = 7
    frame.loc[5, "text"] = " "
    frame.to_parquet("t.parquet")
    found, draft, _ = block("t.parquet")
    assert found["labels"] == {"0": "0", "1": "1", "2": "2"}
    assert draft["samples"] == 54
    assert any("without a label" in note for note in draft["notes"])
    assert any("single sample" in note and note.endswith(": 7") for note in draft["notes"])
    assert any(note.startswith("1 texts are empty") for note in draft["notes"])
    assert any("without a label" in note for note in draft["overlay"]["notes"])


@pytest.mark.parametrize("names", [("train ", " Test"), ("train", "holdout"), ("train", "")])
def test_a_column_of_splits_is_used_or_said_to_be_unused(here, block, names):
    frame = reviews()
    frame.assign(split=[names[row % 5 == 0] for row in range(len(frame))]).to_csv("t.csv", index=False)
    found, draft, _ = block("t.csv")
    unused = [note for note in draft["notes"] if "column split is not used" in note]
    if names[1] == " Test":
        assert found["splits"] == {"train": "train", "Test": "validation"}
        assert found["folds"] == {"rule": "split_column"} and not unused
    else:
        assert "split" not in found["columns"]
        assert f"'train': 48 rows, {names[1]!r}: 12 rows" in unused[0] and "`splits`" in unused[0]


def test_a_group_that_tells_the_class_is_no_group(here, block):
    frame = reviews().assign(source=lambda d: "site " + d["label"].astype(str))
    frame.to_csv("t.csv", index=False)
    found, draft, _ = block("t.csv")
    assert "group" not in found["columns"] and found["folds"]["rule"] == "stratified"
    assert "--group source" in draft["choices"]["group"]
    found, _, _ = block("t.csv", "--group", "source", "--force")
    assert found["columns"]["group"] == "source"


def groups_of_one_class_but_one():
    return reviews(56, 2).assign(user=[i % 4 // 2 + i % 4 // 3 for i in range(56)], label=[0, 1, 1, 1] * 14)


def groups_that_share_a_text():
    frame = reviews(56, 2).assign(user=[i // 2 % 2 for i in range(56)])
    frame.loc[2, "text"] = frame.loc[0, "text"]
    return frame


@pytest.mark.parametrize(
    ("make", "why", "insisted"),
    [
        (groups_of_one_class_but_one, "cannot be kept apart: fold '0'", "trained on one class alone"),
        (groups_that_share_a_text, "share contents (2 samples)", "2 samples would be trained on and scored"),
    ],
)
def test_a_guessed_group_that_spoils_the_folds_is_dropped(here, call, block, make, why, insisted):
    make().to_csv("t.csv", index=False)
    found, draft, text = block("t.csv")
    assert "group" not in found["columns"] and found["folds"]["rule"] == "stratified"
    assert f"# group: none; column user holds groups that {why}" in text
    assert not any("trained on and scored on" in note for note in draft["notes"])
    assert insisted in "".join(call("new", "dataset", "mine", "t.csv", "--group", "user", "--force")[1:])


def test_a_user_can_say_that_there_are_no_groups(here, call, block):
    reviews(60, 2).assign(source=[i // 2 % 3 for i in range(60)]).to_csv("t.csv", index=False)
    assert block("t.csv")[0]["columns"]["group"] == "source"
    found, draft, _ = block("t.csv", "--no-group", "--force")
    assert "group" not in found["columns"] and found["folds"]["rule"] == "stratified"
    assert draft["choices"]["group"].startswith("none") and draft["groups"] == {}
    code, _, err = call("new", "dataset", "mine", "t.csv", "--no-group", "--group", "source", "--force")
    assert code == 2 and "--group source" in err and len(err.splitlines()) == 1


@pytest.mark.parametrize(
    ("count", "classes", "training", "protocol"),
    [(90, 30, None, {"select": "last"}), (6, 2, {"inner_fraction": 0.3}, None), (60, 3, None, None)],
)
def test_small_classes_can_be_trained_on(here, block, count, classes, training, protocol):
    reviews(count, classes).to_csv("t.csv", index=False)
    _, draft, _ = block("t.csv")
    assert draft["overlay"]["experiments"][0].get("training") == training
    assert draft["overlay"].get("protocol") == protocol


def test_a_folder_with_a_table_for_each_split(here, block):
    Path("d").mkdir()
    reviews(40).to_csv("d/train.csv", index=False)
    reviews(60).tail(20).to_csv("d/test.csv", index=False)
    found, draft, _ = block("d")
    assert found["kind"] == "huggingface"
    assert draft["splits"] == {"train": 40, "validation": 20}


@pytest.mark.parametrize(
    ("count", "classes", "twins"), [(12, 2, 1), (30, 3, 1), (800, 100, 1), (24, 8, 2), (9, 3, 1)]
)
def test_a_duplicate_among_few_samples_is_no_trouble(here, block, count, classes, twins):
    frame = reviews(count, classes)
    pd.concat([frame, frame.head(twins)]).to_csv("t.csv", index=False)
    found, draft, _ = block("t.csv")
    assert found["folds"]["rule"] == "stratified"
    assert draft["samples"] == count + twins


def test_addresses_of_images_are_no_files(here, block):
    reviews().assign(image_url=lambda d: [f"https://x.org/{i}.jpg" for i in range(len(d))]).to_csv(
        "t.csv", index=False
    )
    assert block("t.csv")[0]["columns"]["content"] == "text"


@pytest.mark.parametrize("blank", ["crosses", "blanks"])
def test_a_column_that_cannot_be_a_group_is_not_guessed(here, block, blank):
    frame = reviews().assign(source=["x", "y", "z", "w", ""] * 12, split=["train", "test", "train"] * 20)
    if blank == "crosses":
        frame["source"] = frame["source"].replace("", "v")
    frame["label"] = [i // 6 % 2 for i in range(60)]
    frame.to_csv("t.csv", index=False)
    found, draft, _ = block("t.csv")
    assert "group" not in found["columns"] and found["folds"] == {"rule": "split_column"}
    assert not any("trained on and scored on" in note for note in draft["notes"])


@pytest.mark.parametrize(("separator", "encoding"), [(",", "utf-8"), (";", "cp1252")])
def test_tables_of_splits_are_read_as_single_ones_are(here, block, separator, encoding):
    Path("d").mkdir()
    for name, count in (("train", 40), ("test", 20)):
        frame = reviews(count, 2).assign(id=range(count))
        frame["label"] = frame["label"].map({0: "NA", 1: "good "})
        frame["text"] = name + frame["text"]
        frame.to_csv(f"d/{name}.csv", index=False, sep=separator, encoding=encoding)
    found, draft, _ = block("d")
    assert "sample_id" not in found["columns"]
    assert draft["classes"] == {"NA": 30, "good": 30}
    assert draft["splits"] == {"train": 40, "validation": 20}


@pytest.mark.parametrize("blank", [True, False])
def test_a_table_of_a_split_without_labels_is_not_used(here, block, blank):
    Path("d").mkdir()
    reviews(40).to_csv("d/train.csv", index=False)
    test = reviews(20).assign(text=lambda d: "test " + d["text"])
    (test.assign(label="") if blank else test.drop(columns="label")).to_csv("d/test.csv", index=False)
    found, draft, _ = block("d")
    assert found["splits"] == {"train": "train"} and found["folds"]["rule"] == "stratified"
    assert draft["samples"] == 40
    assert any(note.startswith("test: no labels") for note in draft["notes"])


def test_an_encoder_of_the_hub_needs_a_commit(here, call, block):
    reviews().to_csv("t.csv", index=False)
    code, _, err = call("new", "dataset", "mine", "t.csv", "--model", "owner/_Name")
    assert code == 2 and "--model-revision" in err
    _, draft, _ = block("t.csv", "--model", "owner/_Name", "--model-revision", "a" * 40)
    assert draft["overlay"]["encoders"]["name"]["revision"] == "a" * 40


@pytest.mark.parametrize(
    ("name", "path", "words", "said"),
    [
        ("My Pets", "t.csv", (), "Did you mean 'my_pets'"),
        ("vader", "t.csv", (), "has a dataset of this name"),
        ("mine", "t.cvs", (), "Did you mean 't.csv'"),
        ("mine", "owner/name", (), "--revision"),
        ("mine", "owner/name", ("--revision", "main"), "revision"),
        ("mine", "t.csv", ("--score-on", "tset"), "unknown split 'tset'"),
        ("mine", "t.csv", ("--encoding", "nonsense"), "unknown encoding"),
    ],
)
def test_mistakes_are_answered_in_one_line(here, call, name, path, words, said):
    shutil.copy(ROOT / "config.yaml", here)
    reviews().to_csv("t.csv", index=False)
    code, _, err = call("new", "dataset", name, path, *words)
    assert code in (2, 3) and said in err and len(err.splitlines()) == 1
    assert "Traceback" not in err
