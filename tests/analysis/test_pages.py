"""What the commands write into README and documentation, from tables of results."""

import importlib
from pathlib import Path

import pytest
from analysis.conftest import write_runs
from analysis.whole import fill_with_tables

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    return fill_with_tables(tmp_path_factory.mktemp("results"))


@pytest.fixture(scope="module", autouse=True)
def _switched(results):
    """Write runs before and after each switch: one variant gains 10 and 30 points."""
    for row in ("D4", "D5", "D10", "D12"):
        for name, gains in (("base", (0.0, 0.0)), ("changed", (0.1, 0.3))):
            for variant in ("daam_v2", "mha", "softmax_sum"):
                folder = results / "overlay_switches" / row / name / "runs/toy_data/tiny" / variant
                added = gains if variant == "daam_v2" else (0.0, 0.0)
                write_runs(folder, variant, [[0.4 + gain] for gain in added])


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


def test_the_effects_of_switches_by_overlay_by_hand(page_of):
    text = page_of("overlay_switches")
    switches = importlib.import_module("overlay_switches")
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in text.splitlines() if "|" in line][2:]
    assert [row[0] for row in rows if row[0]] == [switch.row for switch in switches.SWITCHES]
    # The samples that score lower the rate in D5 alone.
    assert [row[0] for row in rows if row[0] and "*" in row[4]] == ["D5"]
    # Two folds: +10 and +30 points for one variant, nothing for the others.
    effects = {row[3]: row[4] for row in rows[:4]}
    assert effects["DAAMv2"].startswith("+20.0 (")
    assert effects["all three"].startswith("+6.7 (")
    assert {row[3]: row[5] for row in rows[:4]} == {
        "all three": "4 of 6",
        "DAAMv2": "0 of 2",
        "MHA": "2 of 2",
        "Softmax sum + linear": "2 of 2",
    }


def test_the_readme_has_every_variant_with_its_interval(page_of):
    text = page_of("readme")
    assert "| DAAMv1" in text and "| Majority class" in text
    assert " to " in text and "`make readme`" in text
