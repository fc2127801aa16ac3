import json
import re
import subprocess
import sys
from urllib.parse import unquote

import pytest
from analysis.conftest import make_record

from daam_bench.analysis.figures import write_figures
from daam_bench.analysis.report import write_report
from daam_bench.analysis.report.cost import cost_frame

MANIFEST = {
    "identity": {"dataset": "toy_data", "encoder": {"name": "tiny", "weights": "f00d"}},
    "attributes": {"dataset_title": "Toy", "licence": "MIT", "source": "here", "pooling": "mean"},
    "shape": [100, 5, 13],
    "dtype": "float32",
    "digest": "cafe",
    "measurements": {"batching_difference": 3e-7, "unit": "tokens", "units_per_second": 1234.0},
    "quarantined": {"toy/7": "<b>empty</b>"},
}


@pytest.fixture
def page(folders, tmp_path):
    manifest = tmp_path / "manifest.json"
    manifest.write_text(json.dumps(MANIFEST))
    write_figures(folders, tmp_path / "figures")
    out = tmp_path / "report.html"
    write_report(folders, tmp_path / "figures", [manifest], out, "A <title>", ["note & more"])
    return out.read_text()


def test_the_page_needs_nothing_from_elsewhere(page):
    assert not re.search(r"src\s*=\s*[\"'](?!data:)", page)
    assert not re.search(r"href\s*=\s*[\"'](//|[a-z]+:)", page)
    assert "<script" not in page
    assert page.count("data:image/png;base64,") == 5


def test_what_users_wrote_is_escaped(page):
    assert "A &lt;title&gt;" in page
    assert "note &amp; more" in page
    assert "&lt;b&gt;empty&lt;/b&gt;" in page


def test_summary_counts_variants_above_the_baselines(page):
    assert "highest mean accuracy 65.0 % (MHA)" in page
    assert "Variants of 2 whose paired gain has its whole 95 % interval above 0: 0 over the majority" in page


def test_provenance_is_there(page):
    for fact in (
        "f00d",
        "cafe",
        "3.0e-07",
        "100 samples x 5 layers x 13 features",
        "mha/finished.json",
        "layer 3",
    ):
        assert fact in page


def test_every_number_of_the_scores_leads_to_its_records(page, tmp_path):
    links = re.findall(r'href="([^"#]+)"', page)
    assert len(links) > 50
    for link in set(links):
        assert (tmp_path / unquote(link)).is_file(), link
    scores = page[page.index('id="scores"') : page.index('id="paper"')]
    assert '<a href="runs/toy_data/tiny/mha/finished.json">65.0 ± 11.2</a>' in scores
    assert '<a href="runs/toy_data/tiny/mha/fold1_seed0.json" title="seed 0">s0</a>' in scores
    numbers = re.findall(r"<td[^>]*>([^<]*\d\.\d[^<]*)</td>", scores[: scores.index("What the baselines")])
    assert numbers == []


def test_bad_samples_cost_and_rates_are_there(page):
    assert "1 samples without a result" in page
    assert "<code>toy/7</code>" in page
    assert "Wall time (s)" in page
    assert "CPU time (s)" in page
    assert "1,234 tokens/s" in page


def test_costs_are_summed_and_memory_is_the_largest():
    records = [
        make_record("mha", fold, 0, 0.5, wall_seconds=1.5, peak_memory_bytes=100 + fold, energy_joules=None)
        for fold in (0, 1)
    ]
    (row,) = cost_frame(records).to_dict("records")
    assert (row["Wall time (s)"], row["Peak memory bytes, largest"]) == ("3.0", "101.0")
    assert "Energy joules" not in row


def test_analysis_never_imports_torch():
    code = (
        "import sys, daam_bench.analysis.report, daam_bench.analysis.figures; print('torch' in sys.modules)"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout == "False\n"
