"""A whole run of the workflow: real model, real data, few samples, an own module among the variants."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml
from warm import program

from daam_bench.scaffold.variant import write_variant

ROOT = Path(__file__).parents[2]
BIN = Path(sys.executable).parent
Which = Callable[[str], str]
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


def real(name: str) -> str:
    """Return the path of an installed program."""
    return str(BIN / name)


def command(target: str, *options: str, which: Which = program) -> list[str]:
    """Return the command that makes a target with the overlay, by a warm Snakemake or by the `real` one."""
    start = [which("snakemake"), "--snakefile", str(ROOT / "Snakefile"), "--cores", "2"]
    return [*start, *options, "--configfile", "tiny.yaml", "--", target]


def run(folder: Path, target: str, *options: str, which: Which = program) -> subprocess.CompletedProcess[str]:
    """Run that command in a folder to its end."""
    words = command(target, *options, which=which)
    return subprocess.run(words, cwd=folder, capture_output=True, text=True, check=False, timeout=400)
