"""Captions of Snakemake's own report: one a table and kind of figure, equal to those of the tables."""

from pathlib import Path

import pytest
from jinja2 import Template

from daam_bench.analysis.captions import FIGURES, caption_files, run_counts, study_counts
from daam_bench.analysis.names import CACHE_FIGURES, DENSITY_FIGURES, figure_kinds, figure_stems
from daam_bench.config.merge import load_merged
from daam_bench.plan import make_plan

ROOT = Path(__file__).parents[2]


def test_captions_of_the_workflow_are_those_of_the_tables():
    stored = {path.name: path.read_text() for path in (ROOT / "workflow/report").iterdir()}
    cure = "run: python benchmarks/captions.py workflow/report"
    assert stored == caption_files(), cure


def test_every_kind_of_figure_has_a_caption_and_every_figure_a_kind():
    assert set(FIGURES) == {*CACHE_FIGURES, *DENSITY_FIGURES}
    # A dataset may be called like the end of a kind.
    kinds = figure_kinds("spread_x", "tiny", ["daam_v1"])
    assert kinds["importance_spread_x_tiny_daam_v1"] == "importance"
    assert kinds["importance_spread_spread_x_tiny_daam_v1"] == "importance_spread"
    assert list(kinds) == figure_stems("spread_x", "tiny", ["daam_v1"])


@pytest.mark.parametrize("text", caption_files().values(), ids=caption_files())
def test_captions_say_how_many_runs_there_are(text):
    shown = Template(text).render(snakemake={"params": {"runs": "``vader`` x ``tiny`` 4 folds x 3 seeds"}})
    assert shown.endswith("\n\nRuns: ``vader`` x ``tiny`` 4 folds x 3 seeds.")
    assert "{" not in shown


def test_folds_and_seeds_come_from_the_plan():
    paper = make_plan(load_merged(ROOT / "config.yaml", [ROOT / "config/paper.yaml"]))
    ordinary = (
        "``iemocap`` x ``wavlm-large`` 5 folds x 1 seed, ``ag_news`` x ``llama-2-13b`` 1 fold x 3 seeds, "
        "``cifar100`` x ``beit-large`` 1 fold x 5 seeds"
    )
    assert run_counts(paper) == ordinary
    assert study_counts(paper) == f"{ordinary}; derived runs: {ordinary}"


def test_own_groups_are_counted_when_they_are_read(tmp_path):
    overlay = tmp_path / "own.yaml"
    overlay.write_text(
        "datasets: {own: {kind: table, path: own.csv, modality: text, columns: {group: speaker}},"
        " dealt: {kind: digits, path: elsewhere/digits, folds: {rule: stratified, count: 7}}}\n"
        "encoders: {dino: {modality: vision, model: resources/dinov2-small-shaped}}\n"
        "experiments: [{dataset: own, encoder: minilm-l6, seeds: [3]},"
        " {dataset: dealt, encoder: dino, seeds: [0, 1]}]\n"
        "studies: []\n"
    )
    plan = make_plan(load_merged(ROOT / "config.yaml", [overlay]))
    text = "``own`` x ``minilm-l6`` one fold a group x 1 seed, ``dealt`` x ``dino`` 7 folds x 2 seeds"
    assert run_counts(plan) == study_counts(plan) == text
