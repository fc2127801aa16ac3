"""The workflow itself: dry runs, kills, wrong configurations. Real model, real data, few samples."""

import html
import json
import os
import re
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest
import yaml
from warm import program
from workflow.whole import OWN, TINY, add_own_module, command, real, run

from daam_bench.analysis.captions import caption_files
from daam_bench.analysis.names import figure_names, table_names


def tables(folder: Path) -> dict[str, bytes]:
    """Return the files of tables but for those of costs: clocks go on."""
    files = sorted((folder / "results/tables").iterdir())
    return {path.name: path.read_bytes() for path in files if not path.name.startswith("cost.")}


def wait_for(condition: Callable[[], bool], process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + 200
    while not condition():
        assert process.poll() is None, "the run ended before the moment came"
        assert time.monotonic() < deadline, "the moment did not come"
        time.sleep(0.005)


def write_overlay(folder: Path, **changes: object) -> None:
    (folder / "tiny.yaml").write_text(yaml.safe_dump(TINY | changes))


def test_killed_in_both_stages_the_same_command_ends_with_the_same_tables(folder, whole_run):
    add_own_module(folder)
    ledgers = folder / "results/embeddings/vader/minilm-l6"
    records = folder / "results/runs/vader/minilm-l6"
    moments = [
        lambda: any(p.read_bytes().count(b"\n") >= 2 for p in ledgers.glob("*.ledger.jsonl")),
        lambda: len(list(records.glob("*/fold*_seed*.json"))) >= 1,
    ]
    for moment in moments:
        process = subprocess.Popen(
            command("tables", which=real), cwd=folder, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        wait_for(moment, process)
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
        subprocess.run([real("daam-bench"), "unlock"], cwd=folder, check=True)
    # The second kill left jobs behind: this run's jobs wait for them, then take up what is there.
    after_kills = run(folder, "tables", which=real)
    assert after_kills.returncode == 0, after_kills.stderr
    assert tables(folder) == tables(whole_run)
    stores = [next((f / "results/embeddings/vader/minilm-l6").glob("*.zarr")) for f in (folder, whole_run)]
    contents = [{p.relative_to(s): p.read_bytes() for p in s.rglob("*") if p.is_file()} for s in stores]
    assert contents[0] == contents[1]
    tiny = yaml.safe_load((folder / "tiny.yaml").read_text())
    cosmetic = "# a comment\n" + yaml.safe_dump(dict(reversed(tiny.items())), sort_keys=False)
    (folder / "tiny.yaml").write_text(cosmetic)
    assert "Nothing to be done" in (text := run(folder, "tables", "-n")).stdout + text.stderr
    tiny["training"] = {"epochs": 2, "decoder_channels": 8}
    (folder / "tiny.yaml").write_text(yaml.safe_dump(tiny))
    planned = run(folder, "tables", "-n")
    assert "train_variant" in planned.stdout
    assert "extract_embeddings" not in planned.stdout


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"trainng": {}}, r"trainng.*Did you mean 'training'"),
        ({"experiments": [{"dataset": "vader", "encoder": "minilm-l6", "variants": ["daam1"]}]}, "'daam_v1'"),
        (
            {"datasets": {"vader": {"path": "nowhere/vader"}}},
            r"datasets\.vader: path does not exist.*nowhere",
        ),
    ],
    ids=["unknown key", "unknown variant", "missing file"],
)
def test_mistakes_stop_before_any_job(folder, changes, expected):
    write_overlay(folder, **changes)
    done = run(folder, "tables")
    assert done.returncode != 0
    assert re.search(expected, done.stderr, re.DOTALL), done.stderr
    assert "Traceback" not in done.stderr
    assert not (folder / "results").exists()


def test_dry_run_and_target_rules(folder):
    targets = ["tables", "figures", "report", "cache"]
    planned = [*command("assets", "-n"), *targets]
    done = subprocess.run(planned, cwd=folder, capture_output=True, text=True, check=False, timeout=400)
    assert done.returncode == 0, done.stderr


def test_unlock_refuses_while_a_run_is_alive(folder):
    process = subprocess.Popen(
        command("tables", which=real), cwd=folder, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        wait_for(lambda: any((folder / ".snakemake/locks").glob("*.lock")), process)
        refused = subprocess.run(
            [real("daam-bench"), "unlock"], cwd=folder, capture_output=True, text=True, check=False
        )
        assert refused.returncode == 1
        assert f"process {process.pid}" in refused.stderr
        second = run(folder, "tables")
        assert second.returncode != 0
        assert "no other Snakemake process" in " ".join(second.stderr.split())
        assert "Traceback" not in second.stderr
        # The second one took nothing from the first one.
        assert process.poll() is None
        assert any((folder / ".snakemake/locks").glob("*.lock"))
    finally:
        process.terminate()
        process.wait()


def test_an_own_module_is_a_row_with_a_heatmap_and_an_edit_trains_it_anew(copied, monkeypatch):
    folder = copied
    monkeypatch.chdir(folder)
    summary = pd.read_csv(folder / "results/tables/accuracy_summary.csv")
    assert OWN in set(summary["variant"])
    assert (folder / f"results/figures/importance_vader_minilm-l6_{OWN}.png").exists()
    number = ["explain", f"accuracy_summary:{OWN}:mean_percent", "--repeat", "again"]
    again = subprocess.run([program("daam-bench"), *number], capture_output=True, text=True, check=False)
    assert again.returncode == 0, again.stderr
    assert "the same" in again.stdout
    assert "Nothing to be done" in run(folder, "report", "-n").stdout
    module = folder / f"{OWN}.py"
    module.write_text(module.read_text().replace("torch.zeros(layers", "torch.ones(layers"))
    dry = run(folder, "report", "-n").stdout
    assert "train_variant" in dry
    assert "extract_part" not in dry


def captions_in(page):
    """Return the caption of each result of a report of Snakemake's, as text, by file name."""
    # The report keeps its results as one JSON object in a script of that name.
    begin = re.search(r'<script id="results">\s*var results = ', page).end()
    results, _ = json.JSONDecoder().raw_decode(page[begin:])
    texts = {r["name"]: html.unescape(re.sub(r"<[^>]*>", "", r["caption"])) for r in results.values()}
    return {name: " ".join(text.split()) for name, text in texts.items()}


def test_in_snakemakes_own_report_every_table_and_figure_has_its_caption(copied):
    done = run(copied, "all", "--report", "report.html")
    assert done.returncode == 0, done.stderr
    found = captions_in((copied / "report.html").read_text())
    for name in (*table_names(), *figure_names("vader", "minilm-l6", ["daam_v1", OWN])):
        assert found[name].count("Runs: vader x minilm-l6 4 folds x 2 seeds") == 1, name
    captions = {name: re.sub(r"\\(.)", r"\1", text) for name, text in caption_files().items()}
    for table in ("comparisons", "accuracy_summary", "entropy", "selection_worth"):
        assert found[f"{table}.md"].startswith(captions[f"{table}.rst"].partition("\n")[0])
    assert "population standard deviation" in found["accuracy_summary.csv"]
    assert found["importance_spread_vader_minilm-l6_daam_v1.pdf"].startswith("How much the Importance Factor")
