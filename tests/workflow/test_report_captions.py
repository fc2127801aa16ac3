"""Snakemake's own report: made offline, every table and figure with its caption, folds and seeds."""

import html
import json
import re

import yaml
from workflow.test_workflow import TINY, folder, run

from daam_bench.analysis.captions import caption_files
from daam_bench.analysis.names import figure_names, table_names

__all__ = ["folder"]  # a fixture

RUNS = "Runs: vader x minilm-l6 4 folds x 2 seeds"


def captions_in(page):
    """Return the caption of each result of a report, as text, by file name."""
    # The report keeps its results as one JSON object in a script of that name.
    begin = re.search(r'<script id="results">\s*var results = ', page).end()
    results, _ = json.JSONDecoder().raw_decode(page[begin:])
    texts = {r["name"]: html.unescape(re.sub(r"<[^>]*>", "", r["caption"])) for r in results.values()}
    return {name: " ".join(text.split()) for name, text in texts.items()}


def test_every_table_and_figure_has_its_caption(folder):
    experiment = TINY["experiments"][0] | {"variants": ["daam_v2"]}
    (folder / "tiny.yaml").write_text(yaml.safe_dump(TINY | {"experiments": [experiment], "studies": []}))
    made = run(folder, "all")
    assert made.returncode == 0, made.stderr
    done = run(folder, "all", "--report", "report.html")
    assert done.returncode == 0, done.stderr
    check_captions(captions_in((folder / "report.html").read_text()))


def check_captions(found):
    """Check that every file has the caption of its own table or kind of figure, with folds and seeds."""
    for name in (*table_names(), *figure_names("vader", "minilm-l6", ["daam_v2"])):
        assert found[name].count(RUNS) == 1, name
    captions = {name: re.sub(r"\\(.)", r"\1", text) for name, text in caption_files().items()}
    for table in ("comparisons", "accuracy_summary", "entropy", "selection_worth"):
        assert found[f"{table}.md"].startswith(captions[f"{table}.rst"].partition("\n")[0])
    assert "population standard deviation" in found["accuracy_summary.csv"]
    assert found["importance_spread_vader_minilm-l6_daam_v2.pdf"].startswith("How much the Importance Factor")
