"""A dataset and a model by hub id and commit, from a cache of the hub as its client makes it; no network."""

import io
import os
import shutil
from pathlib import Path

import huggingface_hub.constants
import pandas as pd
import pytest
import torch
from datasets import ClassLabel, Dataset, DatasetInfo, Features, Image, Value, load_dataset
from datasets import config as datasets_config
from encoders.conftest import model_folder  # noqa: F401
from PIL import Image as PillowImage

from daam_bench.config import DatasetConfig, EncoderConfig
from daam_bench.datasets import hub
from daam_bench.datasets.hugging_face import encoded_files
from daam_bench.datasets.listing import list_samples
from daam_bench.encoders.base import load_encoder
from daam_bench.errors import ConfigError, DataError, EncoderError

OLD, NEW = "a" * 40, "b" * 40


@pytest.fixture
def hub_cache(tmp_path, monkeypatch):
    """Return what puts a folder into the hub's cache as a commit of a repository."""
    cache = tmp_path / "hub"
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(cache))
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(datasets_config, "HF_DATASETS_CACHE", tmp_path / "datasets")

    def put(kind, repository, commit, folder):
        place = cache / f"{kind}s--{repository.replace('/', '--')}"
        snapshot = place / "snapshots" / commit
        for file in (path for path in folder.rglob("*") if path.is_file()):
            blob = place / "blobs" / f"{commit}-{file.name}"
            blob.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(file, blob)
            link = snapshot / file.relative_to(folder)
            link.parent.mkdir(parents=True, exist_ok=True)
            link.symlink_to(blob)
        (place / "refs").mkdir(exist_ok=True)
        (place / "refs" / "main").write_text(NEW)

    return put


def repository(folder: Path, texts: list[str]) -> Path:
    features = Features({"text": Value("string"), "label": ClassLabel(names=["bad", "good"])})
    for split in ("train", "test"):
        data = {"text": [f"{split} {text}" for text in texts], "label": [n % 2 for n in range(len(texts))]}
        (folder / "data").mkdir(parents=True, exist_ok=True)
        name = f"{split}-00000-of-00001.parquet"
        Dataset.from_dict(data, features=features).to_parquet(folder / "data" / name)
    (folder / "README.md").write_text("# A dataset\n")
    return folder


def config(revision, **settings):
    return DatasetConfig(
        kind="huggingface", modality="text", path="owner/reviews", revision=revision, **settings
    )


def test_a_dataset_is_read_at_its_commit_not_at_the_latest(hub_cache, tmp_path):
    hub_cache("dataset", "owner/reviews", OLD, repository(tmp_path / "old", ["one", "two"]))
    hub_cache("dataset", "owner/reviews", NEW, repository(tmp_path / "new", ["three", "four", "five"]))
    found = list_samples("mine", config(OLD))
    assert found["text"].tolist() == ["train one", "train two", "test one", "test two"]
    assert found["split"].tolist() == ["train", "train", "validation", "validation"]
    assert found.attrs["class_names"] == ["bad", "good"]
    assert list_samples("mine", config(NEW))["text"].tolist()[2] == "train five"


def test_a_commit_that_is_not_here_is_no_other_commit(hub_cache, tmp_path):
    hub_cache("dataset", "owner/reviews", NEW, repository(tmp_path / "new", ["three", "four"]))
    with pytest.raises(DataError, match=r"owner/reviews: cannot be loaded"):
        list_samples("mine", config(OLD))


def test_what_datasets_has_prepared_from_another_commit_is_refused(hub_cache, tmp_path, monkeypatch):
    info = DatasetInfo(download_checksums={f"hf://datasets/owner/reviews@{NEW}/data/train.parquet": {}})
    data = Dataset.from_dict({"text": ["a", "b"], "label": ["x", "y"]}, info=info)
    monkeypatch.setattr("datasets.load_dataset", lambda *_, **__: {"train": data})
    with pytest.raises(DataError, match=f"expected {OLD}.*{NEW}.*hf download"):
        hub.load_at_commit("owner/reviews", None, OLD)
    assert hub.load_at_commit("owner/reviews", None, NEW)["train"] is data


def test_a_model_is_opened_at_its_commit(hub_cache, model_folder):  # noqa: F811
    folder = model_folder("text", "bert")
    hub_cache("model", "owner/bert", OLD, folder)
    by_id = load_encoder("e", EncoderConfig(modality="text", model="owner/bert", revision=OLD))
    local = load_encoder("e", EncoderConfig(modality="text", model=str(folder)))
    inputs = local.prepare(pd.DataFrame({"text": ["w1 w2", "w7"]}), Path()).inputs
    assert torch.equal(by_id.encode(inputs), local.encode(inputs))
    assert by_id.settings() == local.settings()
    with pytest.raises(EncoderError, match="owner/bert: transformers cannot open it"):
        load_encoder("e", EncoderConfig(modality="text", model="owner/bert", revision=NEW))


def test_a_folder_with_a_revision_is_refused(model_folder):  # noqa: F811
    settings = {"modality": "text", "model": str(model_folder("text", "bert")), "revision": OLD}
    with pytest.raises(ConfigError, match=r"encoders.e.*no revision.*Remove the revision"):
        load_encoder("e", EncoderConfig(**settings))


def test_rows_without_a_file_or_with_one_elsewhere_have_no_content(tmp_path):
    folder = tmp_path / "d"
    (folder / "cat").mkdir(parents=True)
    PillowImage.new("L", (3, 2)).save(folder / "cat" / "a.png")
    PillowImage.new("L", (3, 2)).save(tmp_path / "secret.png")
    paths = [str(folder / "cat" / "a.png"), str(tmp_path / "secret.png"), None, "/dev/zero", "gone.png"]
    rows = [None if path is None else {"bytes": None, "path": path} for path in paths]
    data = Dataset.from_dict({"image": rows}, features=Features({"image": Image(decode=False)}))
    found = encoded_files(data.cast_column("image", Image()), "image", str(folder))
    assert [bool(content) for content in found] == [True, False, False, False, False]


def test_a_folder_of_pictures_that_datasets_opens(tmp_path, monkeypatch):
    monkeypatch.setattr(datasets_config, "HF_DATASETS_CACHE", tmp_path / "datasets")
    for name in ("cat/a.png", "dog/b.png"):
        (tmp_path / "d" / "train" / name).parent.mkdir(parents=True)
        PillowImage.new("L", (3, 2), len(name)).save(tmp_path / "d" / "train" / name)
    (tmp_path / "link").symlink_to(tmp_path / "d")
    for place in ("d", "link"):
        data = load_dataset(str(tmp_path / place))["train"]
        assert all(encoded_files(data, "image", str(tmp_path / place)))


@pytest.fixture
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setattr(datasets_config, "HF_DATASETS_CACHE", tmp_path / "datasets")
    return tmp_path / "datasets"


def in_folder(folder, **settings):
    settings = {"modality": "text", "columns": {"content": "text"}} | settings
    return list_samples("mine", DatasetConfig(kind="huggingface", path=str(folder), **settings))


def test_files_replaced_by_ones_as_old_give_the_new_rows(own_cache, tmp_path):
    folder = repository(tmp_path / "d", ["one", "two"])
    assert in_folder(folder)["text"].tolist()[0] == "train one"
    file = folder / "data" / "train-00000-of-00001.parquet"
    clocks = file.stat()
    repository(folder, ["six", "ten"])
    os.utime(file, ns=(clocks.st_atime_ns, clocks.st_mtime_ns))
    assert in_folder(folder)["text"].tolist()[0] == "train six"
    assert in_folder(folder)["text"].tolist()[0] == "train six"
    assert len([place for place in (own_cache / "folders").iterdir() if place.is_dir()]) == 2


@pytest.mark.parametrize("kind", ["pipe", "device"])
def test_a_folder_with_what_is_no_file_is_refused_at_once(own_cache, tmp_path, kind):
    folder = repository(tmp_path / "d", ["one", "two"])
    odd = folder / "data" / "test.csv"
    os.mkfifo(odd) if kind == "pipe" else odd.symlink_to("/dev/zero")
    with pytest.raises(DataError, match=r"test.csv: is no regular file"):
        in_folder(folder)


def test_images_without_a_word_that_they_are_ones(own_cache, tmp_path):
    buffer = io.BytesIO()
    PillowImage.new("L", (3, 2)).save(buffer, "PNG")
    picture = buffer.getvalue()
    (tmp_path / "d").mkdir()
    for name, cell in (("image", {"bytes": picture, "path": "x.png"}), ("image", picture)):
        pd.DataFrame({name: [cell, cell], "label": ["a", "b"]}).to_parquet(tmp_path / "d" / "train.parquet")
        found = in_folder(tmp_path / "d", modality="vision", columns={"content": name})
        assert found["content"].tolist() == [picture, picture]
    pd.DataFrame({"image": [{"pixels": 1}] * 2, "label": ["a", "b"]}).to_parquet(
        tmp_path / "d" / "train.parquet"
    )
    with pytest.raises(DataError, match="no column of images or audio.*bytes"):
        in_folder(tmp_path / "d", modality="vision", columns={"content": "image"})


@pytest.mark.parametrize(
    ("labels", "reason"),
    [
        ([[1], [2], [1]], "labels are lists"),
        ([0.5, 0.25, 0.5], "labels are numbers with decimals.*found 0.5"),
    ],
)
@pytest.mark.parametrize("kind", ["huggingface", "table"])
def test_labels_that_are_no_classes_are_refused(own_cache, tmp_path, kind, labels, reason):
    file = tmp_path / "d" / "train.parquet"
    file.parent.mkdir()
    pd.DataFrame({"text": ["a", "b", "c"], "label": labels}).to_parquet(file)
    path = str(file if kind == "table" else file.parent)
    settings = {"kind": kind, "modality": "text", "path": path}
    with pytest.raises(DataError, match=f"label: {reason}.*labels"):
        list_samples("mine", DatasetConfig(**settings))
    if isinstance(labels[0], float):
        named = list_samples("mine", DatasetConfig(**settings, labels={"0.5": "half", "0.25": "quarter"}))
        assert named["label"].tolist() == [0, 1, 0]


def test_whole_numbers_are_classes_also_as_floats(own_cache, tmp_path):
    file = tmp_path / "d" / "train.parquet"
    file.parent.mkdir()
    pd.DataFrame({"text": ["a", "b"], "label": [1.0, 2.0]}).to_parquet(file)
    assert in_folder(file.parent).attrs["class_names"] == ["1.0", "2.0"]
