"""What is fuzzed: every parser has a seed that it reads, and the page shows what a whole run found."""

import json
import runpy
import sys
from pathlib import Path

import pytest

from benchmarks.torture.fuzz import PARSERS, SEEDS
from daam_bench.errors import DaamBenchError

RELIABILITY = Path(__file__).parents[2] / "benchmarks" / "reliability.py"
# Their seeds are good but for what they lie beside.
REFUSED = {"config", "record", "finished", "made_of", "iemocap", "inert_pickle", "manifest"}


@pytest.mark.parametrize("name", PARSERS)
def test_a_parser_reads_its_seed(name):
    try:
        PARSERS[name](SEEDS[name])
    except DaamBenchError as error:
        assert name in REFUSED and len(str(error)) > 10


def write_page(folder, monkeypatch, seconds):
    environment = {"processor": "a processor", "python": "3.11"}
    found = {"parsers": {"ledger": {"runs": 1234567, "crashed": False}}, "seconds": seconds, "seed": 3}
    (folder / "results" / "benchmarks").mkdir(parents=True)
    file = folder / "results" / "benchmarks" / "fuzz.json"
    file.write_text(json.dumps(found | {"date": "2026-01-02", "environment": environment}))
    page = folder / "page.md"
    page.write_text(
        "a\n<!-- figures: made by `make fuzz`, not by hand -->\nold\n<!-- end of figures -->\nb\n"
    )
    monkeypatch.chdir(folder)
    monkeypatch.setattr(sys, "argv", ["reliability.py", "fuzz", str(page)])
    monkeypatch.syspath_prepend(str(RELIABILITY.parent))
    runpy.run_path(str(RELIABILITY), run_name="__main__")
    return page.read_text()


def test_figures_of_a_whole_run_are_on_the_page(tmp_path, monkeypatch):
    page = write_page(tmp_path, monkeypatch, 60)
    assert "| `ledger` | 1,234,567 | 0 |" in page and "old" not in page
    assert "(seed 3) on 2026-01-02, 60 s of each parser. a processor; python 3.11." in page


def test_figures_of_a_shorter_run_are_not(tmp_path, monkeypatch):
    assert "old" in write_page(tmp_path, monkeypatch, 5)
