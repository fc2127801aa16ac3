import copy
import html
import json
import math
import re
from html.parser import HTMLParser
from urllib.parse import unquote

import pytest
from analysis.conftest import make_record, write_predictions, write_runs
from analysis.whole import fill, results_in

from daam_bench.analysis.figures import write_figures
from daam_bench.analysis.names import TABLES
from daam_bench.analysis.report import write_report
from daam_bench.analysis.studies.write import write_study_figures
from daam_bench.analysis.tables import find_table
from daam_bench.records import EpochRecord, write_finished, write_record

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


def text_of(part):
    return html.unescape(re.sub(r"<[^>]*>", "", part))


def test_summary_counts_variants_above_the_baselines(page):
    assert '<a href="runs/toy_data/tiny/mha/finished.json">65.0 %</a> (MHA)' in page
    summary = text_of(page)
    assert "highest mean accuracy of a trained variant 65.0 % (MHA)" in summary
    assert "is significantly better than every other variant and every baseline" in summary
    assert "A baseline lies higher" not in summary
    assert "Variants of 2 whose paired gain has its whole 95 % interval above 0: 0 over the major" in summary


@pytest.mark.parametrize(
    ("score", "said"),
    [(0.7, "A baseline lies higher"), (0.65, "No trained variant lies above this baseline")],
)
def test_the_summary_says_that_a_baseline_lies_highest(folders, tmp_path, score, said):
    write_runs(folders[-1], "best_single_layer", [[score], [score]], kind="baseline")
    write_report(folders, tmp_path / "figures", [], tmp_path / "report.html", "title", [])
    text = (tmp_path / "report.html").read_text()
    link = '<a href="runs/toy_data/tiny/best_single_layer/finished.json">'
    assert f"{said}: Logistic regression, best single layer, {link}{100 * score:.1f} %</a>." in text


def test_the_summary_names_what_diverged(folders, tmp_path):
    epochs = [EpochRecord(epoch=1, learning_rate=1e-4, train_loss=math.nan, validation_score=0.5)]
    write_runs(folders[0], "mha", [[0.5], [0.5]], epochs=epochs)
    write_report(folders, tmp_path / "figures", [], tmp_path / "report.html", "title", [])
    summary = text_of((tmp_path / "report.html").read_text())
    assert "Diverged, so that their scores mean nothing: 2 of 10 runs (MHA on toy_data x tiny)." in summary


def test_every_number_of_the_summary_has_a_link(page):
    (summary,) = re.findall(r'<h2 id="summary">(.*?)<p class="caption">', page, re.DOTALL)
    sentences = re.findall(r"<p>(.*?)</p>", summary, re.DOTALL)
    assert len(sentences) == 4
    for sentence in sentences:
        bare = text_of(re.sub(r"<a [^>]*>.*?</a>", "", sentence)).replace("95 % interval above 0", "")
        assert not re.search(r"\d", bare), sentence


class Cells(HTMLParser):
    """Collects the cells of every table: (table, heading, text, addresses), and all places to go to."""

    def __init__(self):
        super().__init__()
        self.cells, self.places, self.headings, self.table, self.inside = [], set(), [], "", None

    def handle_starttag(self, tag, attributes):
        found = dict(attributes)
        self.places |= {f"#{found['id']}"} if "id" in found else set()
        if tag == "div" and found.get("class") == "scroll":
            self.table, self.headings = found["aria-label"], []
        elif tag == "tr":
            self.column = 0
        elif tag in ("td", "th"):
            self.inside = [tag, "", []]
        elif tag == "a" and self.inside:
            self.inside[2].append(found["href"])

    def handle_data(self, data):
        if self.inside:
            self.inside[1] += data

    def handle_endtag(self, tag):
        if tag == "th" and self.inside:
            self.headings.append(self.inside[1])
        elif tag == "td":
            heading = self.headings[self.column]
            self.cells.append((self.table, heading, self.inside[1], self.inside[2]))
            self.column += 1
        if tag in ("td", "th"):
            self.inside = None


# What a row is about, in words that may have digits; and what has no record of ours.
NAMES = {
    "Variant",
    "Against",
    "Folds",
    "Folds or runs",
    "Row",
    "Source",
    "Cell",
    "Paper's dataset",
}
NAMES |= {"Encoder", "Why"}
PRINTED = {"Printed"}


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """Return a folder with a report that has every table and the studies, and the report's text."""
    folder = tmp_path_factory.mktemp("whole")
    fill(folder)
    results = results_in(folder)
    manifests = []
    for dataset, encoder in (("emotions", "wavlm-large"), ("one", "tiny")):
        facts = copy.deepcopy(MANIFEST)
        facts["identity"] |= {"dataset": dataset, "encoder": {"name": encoder, "weights": "f00d"}}
        manifests.append(folder / f"embeddings/{dataset}/{encoder}/manifest.json")
        manifests[-1].parent.mkdir(parents=True)
        manifests[-1].write_text(json.dumps(facts))
    write_study_figures(results.folders, results.studies, folder / "figures")
    (folder / "figures/layer_ablation_other_tiny_mha.png").write_bytes(b"of another configuration")
    out = folder / "report.html"
    write_report(results.folders, folder / "figures", manifests, out, "t", [], results.studies)
    return folder, out.read_text()


def test_every_number_of_every_table_has_a_link_that_leads_somewhere(whole):
    folder, page = whole
    reader = Cells()
    reader.feed(page)
    tables = {table for table, *_ in reader.cells}
    assert {find_table(name).title for name in TABLES} <= tables
    assert "Rates of extraction" in tables
    numbers = [cell for cell in reader.cells if re.search(r"\d", cell[2]) and cell[1] not in NAMES]
    assert len(numbers) > 300
    bare = [cell for cell in numbers if not cell[3] and not cell[2].startswith("not run: needs")]
    assert {cell[1] for cell in bare} == PRINTED
    for address in {address for cell in reader.cells for address in cell[3]}:
        if address.startswith("#"):
            assert address in reader.places
        else:
            assert (folder / unquote(address)).is_file(), address


def addresses(page, table, heading, text):
    reader = Cells()
    reader.feed(page)
    (found,) = [c[3] for c in reader.cells if c[:2] == (table, heading) and c[2].startswith(text)]
    return found


def test_a_number_leads_to_the_records_that_it_is_computed_from(whole):
    _, page = whole
    runs, studies = "runs/emotions/wavlm-large", "studies/emotions/wavlm-large"
    released = f"{studies}/protocol-released/mha"
    found = addresses(page, "Protocols", "released, accuracy (%)", "80.0")
    assert found == [f"{released}/finished.json", f"{runs}/mha/finished.json"]
    found = addresses(page, "Layer ablation", "fold 1", "20.0 ± 0.0 (4)")
    assert found[0] == f"{studies}/layers-random-1-2/daam_v1/finished.json"
    assert found[1:] == [f"{studies}/layers-random-1-2/daam_v1/fold1_seed{seed}.json" for seed in (0, 1)]
    assert addresses(page, "Every run", "Accuracy (%)", "20.0") == [f"{runs}/majority/fold0_seed0.json"]
    reader = Cells()
    reader.feed(page)
    times = [c[3] for c in reader.cells if c[:2] == ("Cost of training", "Wall time (s), all runs")]
    assert [f"{runs}/mha/finished.json"] in times
    chosen = [c for c in reader.cells if c[:3] == ("Every run", "Note", "layer 3")]
    assert chosen[0][3] == [f"{runs}/majority/fold0_seed0.json"]
    assert addresses(page, "Which differences hold", "Difference (points)", "-20.0") == [
        f"{runs}/mha/finished.json",
        f"{runs}/mixture/finished.json",
    ]


def test_only_the_curves_of_these_studies_are_shown(whole):
    _, page = whole
    assert page.count('alt="Score over the number of layers kept') == 2
    assert "other_tiny" not in page


def test_parameters_come_before_the_effects_of_protocols(page):
    assert page.index('id="parameters"') < page.index('id="protocols"')


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


def test_means_lead_to_lists_and_runs_to_their_records(page, tmp_path):
    assert '<a href="runs/toy_data/tiny/mha/finished.json">65.0 ± 11.2</a>' in page
    assert '<a href="runs/toy_data/tiny/mha/fold1_seed0.json" title="seed 0">s0</a>' in page
    for link in set(re.findall(r'href="([^"#]+)"', page)):
        assert (tmp_path / unquote(link)).is_file(), link


def test_bad_samples_cost_and_rates_are_there(page):
    assert "1 sample without a result" in page
    assert "<code>toy/7</code>" in page
    assert "Wall time (s)" in page
    assert "CPU time (s)" in page
    assert "1,234 tokens/s" in page


def test_the_page_says_what_its_costs_leave_out(page, folders, tmp_path):
    assert "Operations are those of matrix products and convolutions" in page
    assert "Energy is missing: no counter could be read" in page
    record = make_record("gqa", 0, 0, 0.5, energy_joules=1500.0)
    write_record(tmp_path / "gqa", record)
    write_predictions(tmp_path / "gqa", record)
    write_finished(tmp_path / "gqa", [record])
    write_report([*folders, tmp_path / "gqa"], tmp_path, [], tmp_path / "other.html", "title", [])
    other = (tmp_path / "other.html").read_text()
    assert "Energy (kJ)" in other
    assert "Energy is missing" not in other
