"""What the commands write into README and documentation, from tables of results."""

import importlib
from pathlib import Path

import pytest
from analysis.whole import fill_with_tables

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    return fill_with_tables(tmp_path_factory.mktemp("results"))


@pytest.fixture
def page_of(results, monkeypatch):
    """Return what gives the text that a script makes of the results."""
    monkeypatch.syspath_prepend(BENCHMARKS)
    return lambda script: importlib.import_module(script).table_of(results)


def test_the_page_of_disagreements_has_the_effect_of_every_switch_that_was_tried(page_of):
    text = page_of("disagreements")
    rows = [line for line in text.splitlines() if line.startswith("| D")]
    assert any("adamw" in row and "all touched" in row for row in rows)
    assert any("weight decay" in row and "MHA" in row for row in rows)
    assert "`make studies`" in text
    (protocols,) = (line for line in text.splitlines() if line.startswith("| Variant "))
    assert "corrected, " in protocols and "released, " in protocols


def test_the_readme_has_every_variant_with_its_interval(page_of):
    text = page_of("readme")
    assert "| DAAMv1" in text and "| Majority class" in text
    assert " to " in text and "`make readme`" in text
