"""A whole run of the workflow: real model, real data, few samples, an own module among the variants."""

import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from daam_bench.scaffold.variant import write_variant

ROOT = Path(__file__).parents[2]
BIN = Path(sys.executable).parent
TINY = {
    "datasets": {"vader": {"samples_per_group": 24}},
    "experiments": [{"dataset": "vader", "encoder": "minilm-l6", "variants": ["daam_v1"], "seeds": [0, 1]}],
    "training": {"epochs": 1, "decoder_channels": 8},
    "cache": {"chunk_mebibytes": 0.1},
    "studies": [],
}
OWN = "own_gate"
VARIANTS = ["daam_v1", OWN]


def prepare(folder: Path, resources: Path) -> Path:
    """Fill a folder with the workflow's configuration, a small overlay and the fetched files."""
    for name in ("config.yaml", "profiles"):
        (folder / name).symlink_to(ROOT / name)
    (folder / "resources").symlink_to(resources)
    (folder / "tiny.yaml").write_text(yaml.safe_dump(TINY))
    return folder


def add_own_module(folder: Path) -> None:
    """Write an own module, and have the overlay train it beside another."""
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        _, _, overlay = write_variant(OWN, Path())
    experiment = TINY["experiments"][0] | {"variants": VARIANTS}
    changes = yaml.safe_load((folder / overlay).read_text()) | {"experiments": [experiment]}
    (folder / "tiny.yaml").write_text(yaml.safe_dump(TINY | changes))


def make_whole(folder: Path, resources: Path) -> None:
    """Make everything in an empty folder, without a disturbance."""
    add_own_module(prepare(folder, resources))
    made = run(folder, "all")
    assert made.returncode == 0, made.stderr


def command(target: str, *options: str) -> list[str]:
    """Return the command that makes a target with the overlay."""
    program = [str(BIN / "snakemake"), "--snakefile", str(ROOT / "Snakefile"), "--cores", "2"]
    return [*program, *options, "--configfile", "tiny.yaml", "--", target]


def run(folder: Path, target: str, *options: str) -> subprocess.CompletedProcess[str]:
    """Run that command in a folder to its end."""
    return subprocess.run(
        command(target, *options), cwd=folder, capture_output=True, text=True, check=False, timeout=400
    )
