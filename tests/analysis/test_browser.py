"""The report as a browser shows it, opened from disk: wide and narrow, light and dark."""

import json
from itertools import product

import pytest
from analysis.browser import NAMES, Browser, find_browser
from analysis.conftest import make_record
from analysis.test_report import MANIFEST

from daam_bench.analysis.figures import write_figures
from daam_bench.analysis.report import write_report
from daam_bench.analysis.studies.write import write_study_figures
from daam_bench.records import write_finished, write_record

BACKGROUNDS = {"light": "rgb(255, 255, 255)", "dark": "rgb(20, 24, 28)"}


@pytest.fixture
def browser(tmp_path):
    program = find_browser()
    if program is None:
        pytest.skip(f"not looked at in a browser: none of {', '.join(NAMES)} is on PATH")
    with Browser(program, tmp_path / "profile") as found:
        yield found


@pytest.fixture
def studies(tmp_path):
    """Return runs on some layers, so that the page has curves."""
    made = []
    for pick, score in (("top-1", 0.7), ("bottom-1", 0.4)):
        folder = tmp_path / f"studies/toy_data/tiny/layers-{pick}/daam_v1"
        records = [
            make_record("daam_v1", fold, seed, score + 0.1 * fold, layers=[2])
            for fold in (0, 1)
            for seed in (0, 1)
        ]
        for record in records:
            write_record(folder, record)
        write_finished(folder, records)
        made.append(folder)
    return made


@pytest.fixture
def report(folders, studies, tmp_path):
    manifest = tmp_path / "manifest.json"
    manifest.write_text(json.dumps(MANIFEST))
    write_figures(folders, tmp_path / "figures")
    write_study_figures(folders, studies, tmp_path / "figures")
    out = tmp_path / "report.html"
    write_report(folders, tmp_path / "figures", [manifest], out, "A title", ["a note"], studies)
    return out


def test_the_report_opens_from_disk(browser, report, subtests):
    for width, scheme in product((1280, 360), ("light", "dark")):
        with subtests.test(width=width, scheme=scheme):
            seen = browser.look(report, width, scheme)
            assert seen.facts["width"] == width
            assert seen.facts["overflow"] <= 0
            assert seen.facts["background"] == BACKGROUNDS[scheme]
            assert seen.facts["colour"] != seen.facts["background"]
            # Accuracy, entropy, three of the density, one curve.
            assert (seen.facts["images"], seen.facts["loaded"]) == (6, 6)
            assert seen.complaints == []
            assert [url for url in seen.requests if not url.startswith("data:")] == [report.as_uri()]
            # A narrow screen scrolls inside of tables.
            assert width > 1000 or seen.facts["scrolling"] > 0


def test_the_browser_sees_what_is_wrong(browser, tmp_path):
    page = tmp_path / "wrong.html"
    page.write_text(
        "<!doctype html><div style='width:2000px'>wide</div><img src='http://nowhere.invalid/a.png'>"
        "<script>console.error('no good')</script>"
    )
    seen = browser.look(page, 360, "light")
    assert seen.facts["overflow"] > 1000
    assert (seen.facts["images"], seen.facts["loaded"]) == (1, 0)
    assert any("no good" in complaint for complaint in seen.complaints)
    assert "http://nowhere.invalid/a.png" in seen.requests
