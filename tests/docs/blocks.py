"""Code blocks of the pages, and how each kind is executed."""

import os
import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from markdown_it import MarkdownIt
from warm import program

from daam_bench.config import Config
from daam_bench.config.merge import load_merged
from daam_bench.datasets.registry import dataset_kind
from daam_bench.plan import make_plan

_REASON = re.compile(r"<!-- not executed: (.+) -->")
_TITLE = re.compile(r'title="([^"]+)"')


@dataclass(frozen=True)
class Block:
    """A code block.

    Attributes:
        language: python, bash or yaml; empty for an indented block.
        line: of the page, where its first line of code is, counted from 1.
        file: what the block is the content of, if its title says so.
        reason: why it is not executed, from the comment before it.
    """

    language: str
    code: str
    line: int
    file: str | None = None
    reason: str | None = None


def blocks_of(text: str) -> list[Block]:
    """Return the code blocks of a page of Markdown, those in lists and quotes too."""
    found, before = [], None
    for token in MarkdownIt("commonmark").parse(text):
        if token.type in {"fence", "code_block"}:
            assert token.map is not None
            language, _, rest = token.info.partition(" ")
            title = _TITLE.search(rest)
            line = token.map[0] + (2 if token.type == "fence" else 1)
            reason = _REASON.search(before.content) if before and before.type == "html_block" else None
            file, why = (match.group(1) if match else None for match in (title, reason))
            found.append(Block(language, token.content, line, file, why))
        before = token
    return found


def execute(block: Block, page: Path, names: dict[str, Any]) -> None:
    """Execute a block in the current folder; it fails by raising.

    Args:
        block: code in one of the languages.
        page: where it stands, for messages.
        names: names that earlier python blocks of the page made; this one's are added.
    """
    where = f"{page.name}:{block.line}"
    runs = {"python": _python, "bash": _bash, "yaml": _yaml}
    if block.language not in runs:
        raise AssertionError(
            f"{where}: a block of {block.language or 'no language'}; fence it as {', '.join(runs)}, or say "
            "before it <!-- not executed: REASON -->"
        )
    runs[block.language](block, where, names)


def _python(block: Block, where: str, names: dict[str, Any]) -> None:
    # Empty lines in front, so that a traceback has the line of the page.
    exec(compile("\n" * (block.line - 1) + block.code, where.rpartition(":")[0], "exec"), names)


def _bash(block: Block, where: str, _: dict[str, Any]) -> None:
    folders = [
        *(str(Path(name).parent) for name in (program("daam-bench"), sys.executable)),
        os.environ["PATH"],
    ]
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", block.code],
        env=os.environ | {"PATH": os.pathsep.join(folders)},
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    assert done.returncode == 0, (
        f"{where}: status {done.returncode}\n{block.code}\n{done.stdout}\n{done.stderr}"
    )


def _yaml(block: Block, where: str, _: dict[str, Any]) -> None:
    """Lay the block over the configuration and plan it; a title says where later blocks find it."""
    overlay = Path(block.file or "block.yaml")
    overlay.write_text(block.code, encoding="utf-8")
    config = load_merged(Path("config.yaml"), [overlay])
    assert make_plan(config), where
    _check_modalities(config, set(yaml.safe_load(block.code).get("datasets", {})))


def _check_modalities(config: Config, named: set[str]) -> None:
    for name in named:
        dataset = config.datasets[name]
        found = dataset_kind(dataset.kind).modality_of(dataset, name)
        assert dataset.modality in {None, found}, f"{name} is {found}"
