"""Every code block of the README and of the documentation does what it says, in a folder with a small run."""

import os
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import get_args

import numpy as np
import pandas as pd
import pytest
import yaml
from markdown_it import MarkdownIt
from PIL import Image

from daam_bench.config import Modality
from daam_bench.config.merge import load_merged, merge_configs
from daam_bench.datasets.registry import dataset_kind

ROOT = Path(__file__).parents[2]
BIN = Path(sys.executable).parent
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
NOT_EXECUTED = re.compile(r"<!-- not executed: (.+?) -->")
TITLE = re.compile(r'title="([^"]+)"')


@dataclass(frozen=True)
class Block:
    """A fenced block, and why it is not executed, if it is not."""

    page: str
    line: int
    language: str
    info: str
    text: str
    reason: str | None

    def __str__(self) -> str:
        return f"{self.page}:{self.line}"


def blocks_of(page: Path) -> list[Block]:
    """Return the blocks of a page; a comment right above one says why it is not executed."""
    found, above = [], ""
    for token in MarkdownIt("commonmark").parse(page.read_text(encoding="utf-8")):
        if token.type in ("fence", "code_block"):
            reason = NOT_EXECUTED.fullmatch(above.strip())
            name = page.relative_to(ROOT).as_posix()
            words = token.info.split() or [""]
            line = token.map[0] + 1 if token.map else 0
            found.append(Block(name, line, words[0], token.info, token.content, reason and reason.group(1)))
        above = token.content if token.type == "html_block" else ""
    return found


ALL = [block for page in PAGES for block in blocks_of(page)]


@pytest.fixture(scope="session")
def finished_run(tmp_path_factory, real_resources):
    """Return a working folder in which the default, made small, has run, and a user's own data lie."""
    folder = tmp_path_factory.mktemp("documented")
    for name in ("Snakefile", "workflow"):
        (folder / name).symlink_to(ROOT / name)
    for name in ("profiles", "config"):
        shutil.copytree(ROOT / name, folder / name)
    (folder / "resources").symlink_to(real_resources)
    small = merge_configs(ROOT / "config.yaml", [ROOT / "config/smoke.yaml"])
    small["experiments"][0] |= {"variants": ["mha", "daam_v1"]}
    (folder / "config.yaml").write_text(yaml.safe_dump(small, sort_keys=False))
    random = np.random.default_rng(0)
    for animal in ("cat", "dog"):
        (folder / "data/pets" / animal).mkdir(parents=True)
        for number in range(10):
            picture = Image.fromarray(random.integers(0, 255, (31, 37, 3), dtype="uint8"))
            picture.save(folder / f"data/pets/{animal}/{number}.png")
    reviews = {
        "title": [f"Review {n}" for n in range(30)],
        "body": [f"It was {'good' if n % 2 else 'bad'}, {n} times." for n in range(30)],
        "stars": [(1, 5, 2, 4)[n % 4] for n in range(30)],
        "shop": [f"shop {n % 3}" for n in range(30)],
    }
    pd.DataFrame(reviews).to_csv(folder / "data/reviews.csv", index=False)
    done = run(["snakemake", "tables", "figures", "report"], folder)
    assert done.returncode == 0, done.stdout + done.stderr
    return folder


def run(command: list[str], folder: Path) -> subprocess.CompletedProcess[str]:
    environment = os.environ | {"PATH": f"{BIN}{os.pathsep}{os.environ['PATH']}", "PYTHONPATH": str(ROOT)}
    return subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, check=False, timeout=300
    )


def test_blocks_are_found_in_every_form():
    assert len(ALL) > 25
    assert {block.language for block in ALL} == {"bash", "python", "yaml"}, [
        str(block) for block in ALL if block.language not in ("bash", "python", "yaml")
    ]


@pytest.mark.parametrize("page", sorted({block.page for block in ALL if block.reason is None}))
def test_the_blocks_of_a_page_run(page, finished_run, tmp_path):
    folder = tmp_path / "work"
    shutil.copytree(finished_run, folder, symlinks=True)
    above = ""
    for block in ALL:
        if block.page != page or block.reason is not None:
            continue
        if block.language == "yaml":
            title = TITLE.search(block.info)
            file = folder / (title.group(1) if title else "config/block.yaml")
            file.write_text(block.text)
            config = load_merged(folder / "config.yaml", [file])
            for name, dataset in config.datasets.items():
                assert dataset_kind(dataset.kind).modality_of(dataset, name) in get_args(Modality)
            continue
        if block.language == "python":
            above += block.text
            done = run([sys.executable, "-c", above], folder)
        else:
            done = run(["bash", "-euo", "pipefail", "-c", block.text], folder)
        assert done.returncode == 0, f"{block}\n{done.stdout[-3000:]}\n{done.stderr[-3000:]}"


@pytest.mark.parametrize("block", [b for b in ALL if b.reason is not None], ids=str)
def test_a_block_that_is_not_executed_says_why(block):
    pytest.skip(f"{block}: {block.reason}")


def test_a_block_that_fails_is_noticed(tmp_path):
    page = ROOT / "docs/tutorial.md"
    assert [block.reason is None for block in blocks_of(page)].count(True) >= 5
    assert run(["bash", "-euo", "pipefail", "-c", "daam-bench cache info nowhere"], tmp_path).returncode == 5
