import shutil
from collections import namedtuple
from pathlib import Path

import pytest
import yaml
from cli.conftest import ROOT, TINY

from daam_bench.checks import inputs, machine
from daam_bench.config import FoldRule, TrainingConfig, parse_config
from daam_bench.config.merge import load_merged, merge_configs
from daam_bench.costs.probe import StepCost
from daam_bench.costs.sizes import dataset_size, folds_of
from daam_bench.errors import ConfigError

WORDS = ("--configfile", "tiny.yaml")


def write(path, data):
    path.write_text(yaml.safe_dump(data))
    return path


def test_overlays_merge_as_snakemake_merges_them(tmp_path):
    base = write(tmp_path / "a.yaml", {"x": {"p": 1, "q": [1, 2]}, "y": 3, "z": {"k": 1}})
    first = write(tmp_path / "b.yaml", {"x": {"q": [5]}, "z": 4})
    second = write(tmp_path / "c.yaml", {"x": {"r": 6}, "y": {"new": 7}})
    assert merge_configs(base, [first, second]) == {
        "x": {"p": 1, "q": [5], "r": 6},
        "y": {"new": 7},
        "z": 4,
    }


@pytest.mark.parametrize("overlay", sorted((ROOT / "config").glob("*.yaml")), ids=lambda path: path.stem)
def test_the_configuration_is_the_one_that_snakemake_sees(overlay):
    from snakemake.common.configfile import load_configfile
    from snakemake.utils import update_config

    seen = load_configfile(str(ROOT / "config.yaml"))
    update_config(seen, load_configfile(str(overlay)))
    assert load_merged(ROOT / "config.yaml", [overlay]) == parse_config(seen)


def test_a_missing_or_broken_overlay_is_one_line(work, call):
    code, _, err = call("plan", "--configfile", "no.yaml")
    assert code == 2 and "no.yaml: no such file" in err
    Path("bad.yaml").write_text("a: [1")
    code, _, err = call("plan", "--configfile", "bad.yaml")
    assert code == 2 and err.startswith("error: bad.yaml: ") and len(err.splitlines()) == 1


def test_plan_counts_cells_and_bytes(work, data_of):
    code, (row,) = data_of("plan", *WORDS)
    assert code == 0
    assert (row["samples"], row["folds"], row["variants"]) == (4 * 40, 4, 2)
    assert row["cells"] == 4 * (2 * 2 + 2)  # two variants with two seeds, two baselines with one
    assert row["gigabytes"] == 160 * 6 * 384 * 4 / 1e9
    assert row["training_minutes"] is None
    assert row["measured_replicas"] == 4 * 2 * 2
    assert row["measured_training_minutes"] > 0
    assert any("not probed" in line for line in row["unknown"])


def test_plan_needs_neither_data_nor_models(tmp_path, monkeypatch, data_of):
    monkeypatch.chdir(tmp_path)
    shutil.copy(ROOT / "config.yaml", tmp_path)
    code, rows = data_of("plan", "--configfile", ROOT / "config/paper.yaml")
    assert code == 0
    found = {row["dataset"]: row for row in rows}
    assert found["ag_news"]["gigabytes"] == 127_600 * 40 * 5120 * 2 / 1e9
    assert found["cifar100"]["gigabytes"] == 60_000 * 24 * 1024 * 2 / 1e9
    assert found["iemocap"]["gigabytes"] is None
    assert found["iemocap"]["folds"] == 5
    assert any("samples of iemocap" in line for line in found["iemocap"]["unknown"])


def test_a_probe_predicts_minutes_and_is_kept(work, data_of):
    _, (row,) = data_of("plan", *WORDS, "--probe")
    assert row["extraction_minutes"] > 0
    assert row["training_minutes"] == row["predicted_for_measured_minutes"] > 0
    assert row["unknown"] == []
    _, (again,) = data_of("plan", *WORDS)
    assert again["training_minutes"] == row["training_minutes"]


def test_a_replica_costs_its_steps_its_scoring_and_its_start():
    cost = StepCost(step=2.0, sample=0.5, start=7.0)
    training = TrainingConfig(epochs=3, batch_size=32)
    assert cost.replica_seconds(training, fitted=65, scored=11) == 7 + 3 * (3 * 2.0 + 11 * 0.5)


@pytest.mark.parametrize(
    ("rule", "groups", "expected"),
    [
        ({"rule": "split_column"}, None, 1),
        ({"rule": "leave_one_group_out"}, 7, 7),
        ({"rule": "leave_one_group_out"}, None, None),
        ({"rule": "stratified", "count": 3}, None, 3),
    ],
)
def test_folds_of_a_rule(rule, groups, expected):
    assert folds_of(FoldRule.model_validate(rule), groups) == expected


def test_an_own_table_is_counted_after_labels_and_limits(tmp_path):
    (tmp_path / "t.csv").write_text(
        "text,label,who\n" + "".join(f"t{i},{'abc'[i % 3]},{'xy'[i % 2]}\n" for i in range(30))
    )
    settings = {"kind": "table", "modality": "text", "path": str(tmp_path / "t.csv")}
    settings |= {"columns": {"group": "who"}, "labels": {"a": "A", "b": "B"}, "samples_per_group": 7}
    config = parse_config(
        {
            "datasets": {"t": settings},
            "encoders": {"e": {"modality": "text", "model": "m"}},
            "experiments": [{"dataset": "t", "encoder": "e"}],
        }
    )
    size = dataset_size("t", config.datasets["t"], tmp_path)
    assert (size.samples, size.groups, size.classes) == (14, 2, 2)  # 10 in each group, 7 are kept


def test_doctor_finds_all_well(work, data_of):
    code, findings = data_of("doctor", *WORDS)
    assert {f["check"] for f in findings} >= {"packages", "GPU", "threads", "disk space", "datasets.vader"}
    assert [f for f in findings if f["level"] == "fail"] == []
    assert code == 0


def test_doctor_names_what_is_missing_with_a_remedy(work, call, monkeypatch):
    monkeypatch.delenv("HF_TOKEN", raising=False)
    monkeypatch.setattr("huggingface_hub.get_token", lambda: None)
    code, out, _ = call("doctor", "--configfile", ROOT / "config/paper.yaml")
    assert code == 1
    assert "fail  datasets.iemocap" in out
    assert "Llama-2-13b-hf is gated and no token is set" in out
    assert "HF_TOKEN" in out


def test_doctor_reports_a_wrong_configuration(work, data_of):
    write(Path("wrong.yaml"), {"experiments": [{"dataset": "vadr", "encoder": "minilm-l6"}]})
    code, findings = data_of("doctor", "--configfile", "wrong.yaml")
    assert code == 1
    assert findings[-1]["check"] == "configuration"
    assert "Did you mean 'vader'" in findings[-1]["remedy"]


def test_doctor_compares_versions_with_those_declared(monkeypatch):
    monkeypatch.setattr(machine, "requires", lambda _: ["torch>=99.1", "numpy>=1", "no-such-package>=2"])
    (finding,) = machine.check_versions()
    assert finding.level == "fail"
    assert "torch" in finding.found and "no-such-package is missing" in finding.found
    assert "numpy" not in finding.found


def test_doctor_compares_the_disk_with_the_plan(work, data_of, monkeypatch):
    shutil.rmtree("results/embeddings")
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(inputs.shutil, "disk_usage", lambda _: usage(10**6, 0, 10**6))
    code, findings = data_of("doctor", *WORDS)
    (disk,) = [f for f in findings if f["check"] == "disk space"]
    assert code == 1
    assert disk["level"] == "fail" and "float16" in disk["remedy"]


def test_an_overlay_without_a_base_says_where_to_be(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ConfigError, match="--base"):
        load_merged(Path("config.yaml"), [write(tmp_path / "tiny.yaml", TINY)])
