import json
import re
import subprocess
import sys

import pytest

from daam_bench.analysis.figures import write_figures
from daam_bench.analysis.report import write_report

MANIFEST = {
    "identity": {"dataset": "toy_data", "encoder": {"name": "tiny", "weights": "f00d"}},
    "attributes": {"dataset_title": "Toy", "licence": "MIT", "source": "here", "pooling": "mean"},
    "shape": [100, 5, 13],
    "dtype": "float32",
    "digest": "cafe",
    "measurements": {"batching_difference": 3e-7},
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
    assert not re.search(r"(src|href)\s*=\s*[\"'](?!data:|#)", page)
    assert "<script" not in page
    assert page.count("data:image/png;base64,") == 3


def test_what_users_wrote_is_escaped(page):
    assert "A &lt;title&gt;" in page
    assert "note &amp; more" in page
    assert "&lt;b&gt;empty&lt;/b&gt;" in page


def test_summary_counts_variants_above_the_baselines(page):
    assert "highest mean accuracy 65.0 % (MHA)" in page
    assert "Of 2 variants, 2 are above the majority class" in page


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


def test_analysis_never_imports_torch():
    code = (
        "import sys, daam_bench.analysis.report, daam_bench.analysis.figures; print('torch' in sys.modules)"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout == "False\n"
