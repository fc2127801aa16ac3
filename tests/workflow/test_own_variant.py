"""An attention module of a user's own, in one file, becomes a row and a heatmap; an edit trains it anew."""

import subprocess

import pandas as pd
import yaml
from workflow.test_workflow import BIN, TINY, folder, run

from daam_bench.scaffold.variant import write_variant

__all__ = ["folder"]  # a fixture


def test_an_own_module_is_a_row_with_a_heatmap(folder, monkeypatch):
    monkeypatch.chdir(folder)
    _, _, overlay = write_variant("my_gate", folder.relative_to(folder))
    experiment = TINY["experiments"][0] | {"variants": ["my_gate"], "seeds": [0]}
    changes = yaml.safe_load(overlay.read_text()) | {"experiments": [experiment]}
    (folder / "tiny.yaml").write_text(yaml.safe_dump(TINY | changes))
    done = run(folder, "report")
    assert done.returncode == 0, done.stderr
    summary = pd.read_csv(folder / "results/tables/accuracy_summary.csv")
    assert "my_gate" in set(summary["variant"])
    assert (folder / "results/figures/importance_vader_minilm-l6_my_gate.png").exists()
    number = ["explain", "accuracy_summary:my_gate:mean_percent", "--repeat", "again"]
    again = subprocess.run([str(BIN / "daam-bench"), *number], capture_output=True, text=True, check=False)
    assert again.returncode == 0, again.stderr
    assert "the same" in again.stdout
    assert "Nothing to be done" in run(folder, "report", "-n").stdout
    module = folder / "my_gate.py"
    module.write_text(module.read_text().replace("torch.zeros(layers", "torch.ones(layers"))
    dry = run(folder, "report", "-n").stdout
    assert "train_variant" in dry
    assert "extract_part" not in dry
