import html
import json
import re
import shutil
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


def test_costs_have_units_and_only_what_adds_up_is_summed():
    known = {"flops_forward": 2 * 10**9, "flops_training": 6 * 10**9, "wall_seconds": 1.5}
    records = [
        # 63 fitted samples, 2 epochs, in 1.5 s; of the 70 training samples 7 are held out.
        make_record("mha", fold, 0, 0.5, **known, samples_per_second=84.0, peak_memory_bytes=(3 + fold) << 20)
        for fold in (0, 1)
    ]
    (row,) = cost_frame(records).to_dict("records")
    assert list(row)[:4] == ["Dataset", "Encoder", "Variant", "Runs"]
    assert row["Runs"] == "2"
    assert row["Wall time (s), all runs"] == "3"
    assert row["Forward (GFLOP per sample)"] == "2"
    assert row["Forward and backward (GFLOP per sample)"] == "6"
    assert row["Training (TFLOP), all runs"] == "1.51"  # 2 runs x 6 GFLOP x 126 samples
    assert row["Peak memory (MiB), largest run"] == "4"
    assert not [heading for heading in row if "Energy" in heading]


def test_a_sum_of_some_runs_says_so():
    records = [
        make_record("mha", fold, 0, 0.5, energy_joules=joules) for fold, joules in ((0, 1500.0), (1, None))
    ]
    frame = cost_frame([*records, make_record("gqa", 0, 0, 0.5)])
    assert list(frame["Energy (kJ), all runs"]) == ["1.5 (1 of 2 runs)", ""]


CHROMIUM = shutil.which("chromium")


def measure(page, folder, width, dark=False):
    """Return what a browser says of the page in a frame of some width: width of its content, colour."""
    frame = html.escape(page, quote=True)
    script = (
        "const d = f.contentDocument, r = d.documentElement, t = d.querySelector('.scroll');"
        "document.title = [r.scrollWidth, t.scrollWidth > t.clientWidth,"
        " f.contentWindow.getComputedStyle(d.body).backgroundColor].join('|')"
    )
    wrapper = folder / f"frame{width}.html"
    wrapper.write_text(f'<iframe id="f" style="width:{width}px;border:0" srcdoc="{frame}"></iframe>')
    wrapper.write_text(wrapper.read_text() + f"<script>f.onload = () => {{ {script} }}</script>")
    scheme = f"--blink-settings=preferredColorScheme={0 if dark else 1}"
    command = [
        CHROMIUM,
        "--headless",
        "--no-sandbox",
        "--hide-scrollbars",
        f"--user-data-dir={folder / 'profile'}",
    ]
    found = subprocess.run(
        [*command, scheme, "--dump-dom", wrapper.as_uri()],
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    return re.search(r"<title>(.*?)</title>", found.stdout)[1].split("|")


def test_a_browser_shows_the_page_wide_and_narrow_light_and_dark(page, tmp_path):
    if CHROMIUM is None:
        reason = "not looked at in a browser: there is no chromium on PATH\n"
        sys.stdout.write(reason)
        assert "@media (max-width" in page
        assert "prefers-color-scheme: dark" in page
        return
    content, _, colour = measure(page, tmp_path, 1200)
    assert (int(content), colour) == (1200, "rgb(255, 255, 255)")
    # A narrow screen scrolls inside of tables, not the page.
    content, scrolls, colour = measure(page, tmp_path, 360, dark=True)
    assert (int(content), scrolls, colour) == (360, "true", "rgb(20, 24, 28)")


def test_analysis_never_imports_torch():
    code = (
        "import sys, daam_bench.analysis.report, daam_bench.analysis.figures; print('torch' in sys.modules)"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout == "False\n"
