import json
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from daam_bench.cli import app
from daam_bench.heads.presets import VARIANTS

RUN = CliRunner()
PROGRAM = str(Path(sys.executable).parent / "daam-bench")


def output_of(*words):
    result = RUN.invoke(app, words)
    assert result.exit_code == 0, result.output
    return result.output


@pytest.mark.parametrize(
    ("sizes", "variant", "expected"),
    [
        ((24, 1024, 4), "daam_v1", (16384, 238104, 336412)),
        ((24, 1024, 4), "gqdaam", (1001472, 1223192, 1272348)),
        ((40, 5120, 4), "daam_v2", (10240, 379432, 1198636)),
        ((24, 1024, 100), "mha_bn", (4198448, 4420168, 6877868)),
        ((24, 1024, 4), "mixture", (64, 64 + 221720, 64 + 221720 + 98308)),
    ],
)
def test_parameters_are_the_published_ones(sizes, variant, expected):
    layers, features, classes = map(str, sizes)
    text = output_of(
        "parameters", "--layers", layers, "--features", features, "--classes", classes, "--format", "json"
    )
    rows = {row["variant"]: row for row in json.loads(text)}
    assert list(rows) == list(VARIANTS)
    found = rows[variant]
    assert (found["attention"], found["with_decoder"], found["with_classifier"]) == expected


def test_heads_that_do_not_divide_the_layers_are_refused():
    words = ["parameters", "--layers", "24", "--features", "1024", "--classes", "4", "--density-heads", "7"]
    done = subprocess.run([PROGRAM, *words], capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "7" in done.stderr
    assert "24" in done.stderr


def test_lists_name_every_variant_and_kind():
    assert all(name in output_of("variants") for name in VARIANTS)
    assert "vader" in output_of("datasets")


def test_a_mistake_is_one_message_with_a_remedy_and_an_exit_code(tmp_path):
    command = [PROGRAM, "cache", "info", str(tmp_path / "nothing")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 5
    assert done.stderr.startswith("error: ")
    assert "snakemake cache" in done.stderr
    assert "Traceback" not in done.stderr


def test_help_loads_none_of_the_heavy_libraries():
    done = subprocess.run(
        [sys.executable, "-X", "importtime", PROGRAM, "--help"], capture_output=True, text=True, check=True
    )
    loaded = {line.rsplit("|", 1)[-1].strip().split(".")[0] for line in done.stderr.splitlines()}
    assert "typer" in loaded
    assert not loaded & {"torch", "transformers", "pandas", "numpy", "zarr", "h5py", "pydantic", "sklearn"}
