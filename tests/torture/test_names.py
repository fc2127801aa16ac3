"""Names of samples, classes, groups and splits of a dataset are texts: no file is called by one of them."""

import re
from pathlib import Path

import pandas as pd
import pytest
from cli.conftest import call
from encoders.conftest import model_folder
from rich.progress import Progress

from daam_bench.analysis.figures import write_figures
from daam_bench.analysis.report import write_report
from daam_bench.analysis.tables import write_tables
from daam_bench.cache import drawing
from daam_bench.cache.reader import open_cache
from daam_bench.config import parse_config
from daam_bench.direct import run_cell
from daam_bench.errors import DaamBenchError
from daam_bench.plan import make_plan
from daam_bench.records import read_records

__all__ = ["call", "model_folder"]  # fixtures
QUIET = Progress(disable=True)
RESULTS = Path("results")
CACHE = RESULTS / "embeddings/mine/tiny"
VARIANTS = ("majority", "daam_v1")


@pytest.fixture
def deep(tmp_path, monkeypatch):
    """Return the folder of work: what leaves it by a few levels is still seen."""
    folder = tmp_path / "a/b/c/work"
    folder.mkdir(parents=True)
    monkeypatch.chdir(folder)
    return folder


def write_samples(names):
    rows = [
        {"text": f"w{row} w{row % 7} w{row % 2}", "label": names[row % 2], "speaker": names[row // 2 % 2]}
        | {"part": names[row % 2], "id": f"{names[row % 2]}{'/..' * row}"}
        for row in range(32)
    ]
    pd.DataFrame(rows).to_parquet("table.parquet")


def configuration(names, model, form):
    columns = {"group": "speaker", "split": "part", "sample_id": "id"}
    dataset = {"kind": "table", "path": "table.parquet", "modality": "text", "columns": columns}
    return parse_config(
        {
            "datasets": {"mine": dataset | {"splits": dict.fromkeys(names, "train")}},
            "encoders": {"tiny": {"modality": "text", "model": str(model)}},
            "experiments": [{"dataset": "mine", "encoder": "tiny", "variants": ["daam_v1"], "seeds": [0]}],
            "training": {"epochs": 1, "decoder_channels": 4, "batch_size": 4},
            "cache": {"format": form},
        }
    )


def make_all(config, call):
    """Make everything that a folder of results has, and what the commands of a cache write."""
    for variant in VARIANTS:
        run_cell(config, make_plan(config), ("mine", "tiny", variant), None, None, RESULTS, RESULTS, QUIET)
    folders = [RESULTS / "runs/mine/tiny" / variant for variant in VARIANTS]
    write_tables(folders, RESULTS / "tables")
    write_figures(folders, RESULTS / "figures")
    write_report(folders, RESULTS / "figures", [CACHE / "manifest.json"], RESULTS / "report.html", "t", [])
    for words in (
        ("info", CACHE),
        ("verify", CACHE),
        ("plot", CACHE, "--output", "results/cache.png"),
        *(("export", CACHE, f"results/cache.{ending}") for ending in ("csv", "parquet", "npz")),
    ):
        code, _, err = call("cache", *words)
        assert (code, "Traceback" in err) == (0, False), err


def files_beside(folder, tmp_path):
    return {path for path in tmp_path.rglob("*") if not path.is_relative_to(folder / "results")}


@pytest.mark.filterwarnings("ignore:Glyph")  # of what no font has, a picture shows a box
@pytest.mark.parametrize(
    ("form", "names"),
    [
        ("zarr", ("../x", "/etc/daam_x")),
        ("hdf5", ("a\nb", "\"'`$(touch x)`; {label} %s \\")),
        ("hdf5", ("..", "~/" + "y" * 300)),
        ("zarr", ("a\u2028b", "C:\\x\u202e<script>")),
        ("hdf5", ("a\0b", "CON")),
    ],
    ids=["paths", "quotes", "long", "odd characters", "no text of HDF5"],
)
def test_names_of_a_dataset_name_no_file(form, names, deep, tmp_path, model_folder, call):
    model = model_folder("text", "bert")
    write_samples(names)
    before = files_beside(deep, tmp_path)
    try:
        make_all(configuration(names, model, form), call)
    except DaamBenchError as error:
        assert "\0" in names[0] and len(str(error).splitlines()) == 1
        assert "holds a NUL character" in str(error)
    else:
        assert {record.fold_name for record in read_records(RESULTS / "runs/mine/tiny/daam_v1")} == set(names)
        assert set(open_cache(CACHE).class_names) == set(names)
        assert set(pd.read_csv("results/cache.csv")["group"]) == set(names)
    assert files_beside(deep, tmp_path) == before
    assert not list(Path("/etc").glob("daam_x*"))
    for path in RESULTS.rglob("*"):
        assert re.fullmatch(r"[\w.-]+", path.name)


def test_a_long_name_is_broken_at_once(monkeypatch):
    measured, plain = [], drawing.width_of
    monkeypatch.setattr(
        drawing, "width_of", lambda line, points: measured.append(line) or plain(line, points)
    )
    lines = drawing.fitted("y" * 5000, 4.3).split("\n")
    assert "".join(lines) == "y" * 5000
    assert max(plain(line) for line in lines) <= 4.3
    assert sum(map(len, measured)) < 100_000
