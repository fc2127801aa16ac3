"""What the pages and overlays say is true: links and commands exist, settings are valid."""

import re
from pathlib import Path

import pytest
import yaml
from typer.main import get_command

from daam_bench.cli import app
from daam_bench.config import parse_config

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_to_files(page):
    for target in re.findall(r"\]\(([^)#]+)\)", page.read_text()):
        assert target.startswith("https://") or (page.parent / target).exists(), target


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_commands_exist(page):
    program = get_command(app)
    for words in re.findall(r"daam-bench ((?:[a-z]+ ?)+)", page.read_text()):
        command = program
        for word in words.split():
            known = getattr(command, "commands", None)
            if not known:
                break
            assert word in known, f"daam-bench {words}"
            command = known[word]


@pytest.mark.parametrize("overlay", sorted((ROOT / "config").glob("*.yaml")), ids=lambda path: path.stem)
def test_every_overlay_is_valid(overlay):
    base = yaml.safe_load((ROOT / "config.yaml").read_text())
    data = yaml.safe_load(overlay.read_text())
    merged = {**base, **data, "datasets": base["datasets"] | data.get("datasets", {})}
    merged["encoders"] = base["encoders"] | data.get("encoders", {})
    merged["datasets"] = {
        name: {**base["datasets"].get(name, {}), **settings} for name, settings in merged["datasets"].items()
    }
    assert parse_config(merged).experiments
