"""Files that a table names and that lie elsewhere: the setting `files` says where."""

from pathlib import Path

import pandas as pd
import pytest
from PIL import Image

from daam_bench.config import DatasetConfig
from daam_bench.contents import contents_fingerprint
from daam_bench.datasets.file_pattern import files_folder
from daam_bench.datasets.listing import list_samples
from daam_bench.datasets.named import named_files
from daam_bench.encoders.media import read_image
from daam_bench.errors import ConfigError, DataError

PATHS = ("pictures/part0/0.png", "pictures/part1/1.png", "pictures/part0/2.png", "pictures/part1/3.png")


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for shade, name in enumerate(PATHS):
        place = Path("data", name)
        place.parent.mkdir(parents=True, exist_ok=True)
        Image.new("L", (5, 3), 10 + shade).save(place)
    Path("data/meta").mkdir()
    names = [Path(name) for name in PATHS]
    table = pd.DataFrame(
        {
            "image": [f"{name.parent.name}/{name.name}" for name in names],
            "name": [name.name for name in names],
            "stem": [name.stem for name in names],
            "part": [int(name.parent.name[-1]) for name in names],
            "label": list("aabb"),
        }
    )
    table.to_csv("data/meta/t.csv", index=False)
    table.to_parquet("data/meta/t.parquet")


def declared(files, content, path="data/meta/t.csv"):
    columns = {"content": content}
    return DatasetConfig(kind="table", modality="vision", path=path, columns=columns, files=files)


@pytest.mark.parametrize("path", ["data/meta/t.csv", "data/meta/t.parquet"])
@pytest.mark.parametrize(
    ("files", "content", "folder"),
    [
        ("../pictures", "image", "data/pictures"),
        ("../pictures/", "image", "data/pictures"),
        ("../pictures/{content}", "image", "data/pictures"),
        ("../pictures/part{part}", "name", "data/pictures"),
        ("../pictures/part{part}/{content}.png", "stem", "data/pictures"),
        ("../pictures/part{part}/{stem}.png", "stem", "data/pictures"),
    ],
)
def test_every_usual_layout_is_read(here, path, files, content, folder):
    config = declared(files, content, path)
    found = list_samples("mine", config)
    assert found.attrs["folder"] == folder
    assert str(named_files(config)[0]).startswith("data/pictures/part0/")
    shades = [read_image(row, Path(folder)).getpixel((0, 0))[0] for row in found.to_dict("records")]
    assert shades == [10, 11, 12, 13]


def test_an_absolute_folder_may_be_named_by_the_setting(here):
    files = f"{Path.cwd()}/data/pictures"
    assert files_folder(declared(files, "image")) == Path(files)
    assert not list_samples("mine", declared(files, "image"))["content_key"].str.startswith("none-").any()


@pytest.mark.parametrize(
    ("files", "column", "value"),
    [
        ("../pictures", "image", "../secret.png"),
        ("../pictures/part{part}", "part", "0/../../../secret.png/.."),
    ],
)
def test_no_row_leads_out_of_the_folder_that_the_setting_names(here, files, column, value):
    Image.new("L", (5, 3)).save("data/secret.png")
    table = pd.read_csv("data/meta/t.csv", dtype=str)
    table.loc[0, [column, "name"]] = [value, "secret.png"]
    table.to_csv("data/meta/t.csv", index=False)
    keys = list_samples("mine", declared(files, "image" if column == "image" else "name"))["content_key"]
    assert keys.str.startswith("none-").tolist() == [True, False, False, False]


def test_files_elsewhere_are_watched(here, tmp_path):
    config = declared("../pictures", "image")

    def fingerprint():
        return contents_fingerprint(Path(config.path), tmp_path / "known.json", named=named_files(config))

    first = fingerprint()
    assert fingerprint() == first
    Image.new("L", (5, 3), 99).save(Path("data", PATHS[2]))
    assert fingerprint() != first


def test_mistakes_are_answered_with_the_remedy(here):
    with pytest.raises(ConfigError, match=r"files.*unknown column 'parts'.*Did you mean 'part'"):
        list_samples("mine", declared("../pictures/part{parts}", "name"))
    with pytest.raises(DataError, match=r"none of the samples.*files below data/pics.*`files` says where"):
        list_samples("mine", declared("../pics", "image"))
    texts = declared("../pictures", "image").model_copy(update={"modality": "text"})
    with pytest.raises(ConfigError, match="texts lie in the table itself"):
        list_samples("mine", texts)
    folders = DatasetConfig(kind="class_folders", modality="vision", path="data", files="x")
    with pytest.raises(ConfigError, match="does not read files"):
        list_samples("mine", folders)
    booleans = declared("../pictures", "image").model_copy(update={"labels": {"True": "x", "a": "y"}})
    with pytest.raises(DataError, match=r"labels that never occur.*put quotes around them"):
        list_samples("mine", booleans)
