"""A folder of work as a user has it: a tiny configuration, its cache, records and tables, made once."""

import json
import shutil
import sys
from pathlib import Path

import pytest
import yaml
from rich.progress import Progress
from shared import made_once

from daam_bench.analysis.layer_choice import choose_layers
from daam_bench.analysis.tables import write_study_tables, write_tables
from daam_bench.cli import main
from daam_bench.config.merge import load_merged
from daam_bench.direct import run_cell
from daam_bench.plan import make_plan
from daam_bench.specs import training_spec
from daam_bench.training.run import run_job
from daam_bench.training.spec import TrainingSpec

ROOT = Path(__file__).parents[2]
TINY = {
    "datasets": {"vader": {"samples_per_group": 40}},
    "experiments": [
        {"dataset": "vader", "encoder": "minilm-l6", "variants": ["daam_v2", "mha"], "seeds": [0, 1]}
    ],
    "training": {"epochs": 2, "decoder_channels": 8},
    "cache": {"chunk_mebibytes": 0.1},
}
CELL = ("vader", "minilm-l6", "daam_v2")
PICKS = ("top-1", "bottom-1")
QUIET = Progress(disable=True)


def make_folder(folder, resources, **changes):
    """Fill a folder with the configuration and links to what was fetched."""
    shutil.copy(ROOT / "config.yaml", folder)
    (folder / "resources").symlink_to(resources)
    (folder / "tiny.yaml").write_text(yaml.safe_dump(TINY | changes))
    return folder


@pytest.fixture(scope="session")
def made(tmp_path_factory, real_resources):
    return made_once(tmp_path_factory, "work", lambda folder: make_all(folder, real_resources))


def make_all(folder, resources):
    make_folder(folder, resources)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        config = load_merged(Path("config.yaml"), [Path("tiny.yaml")])
        plan = make_plan(config)
        results = Path("results")
        for variant in ("majority", "best_single_layer", "mha", "daam_v2"):
            run_cell(config, plan, (*CELL[:2], variant), None, None, results, results, QUIET)
        runs = sorted(Path("results/runs/vader/minilm-l6").iterdir())
        studies = train_on_layers(training_spec(config, plan, *CELL), results)
        write_tables(runs, results / "tables")
        write_study_tables(runs, studies, results / "tables")


def train_on_layers(spec, results):
    """Train a variant on some layers only, as the workflow does; return the folders."""
    choices = choose_layers(results.joinpath("runs", *CELL), PICKS, [0, 1])["choices"]
    folders = [results.joinpath("studies", *CELL[:2], f"layers-{pick}", CELL[2]) for pick in PICKS]
    for pick, folder in zip(PICKS, folders, strict=True):
        job = TrainingSpec.model_validate(spec | {"layers": choices[pick]})
        run_job(job, results.joinpath("embeddings", *CELL[:2]), folder, QUIET)
    return folders


@pytest.fixture
def work(made, tmp_path, monkeypatch):
    """Return a copy of the folder that may be changed; the test runs in it."""
    shutil.copytree(made, tmp_path / "copy", symlinks=True)
    monkeypatch.chdir(tmp_path / "copy")
    return tmp_path / "copy"


@pytest.fixture
def call(monkeypatch, capsys):
    """Return what runs `daam-bench` with words in this process: exit code, output, errors."""

    def run(*words):
        monkeypatch.setattr(sys, "argv", ["daam-bench", *map(str, words)])
        with pytest.raises(SystemExit) as ended:
            main()
        out, err = capsys.readouterr()
        return ended.value.code, out, err

    return run


@pytest.fixture
def data_of(call):
    """Return what runs a command with --json and gives (exit code, data)."""

    def run(*words):
        code, out, err = call(*words, "--json")
        assert out, err
        return code, json.loads(out)

    return run


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def block(data_of):
    """Return what gives the dataset's block, the whole draft and the text of the file for a path."""

    def make(path, *words):
        code, draft = data_of("new", "dataset", "mine", path, *words)
        assert code == 0
        return draft["overlay"]["datasets"]["mine"], draft, Path("config/mine.yaml").read_text()

    return make
