import json
import re
import shutil
from collections import namedtuple
from pathlib import Path

import pytest
import yaml
from cli.conftest import ROOT, TINY

from daam_bench.checks import inputs, machine
from daam_bench.config import FoldRule, TrainingConfig, parse_config
from daam_bench.config.merge import load_merged, merge_configs
from daam_bench.costs.jobs import planned_jobs
from daam_bench.costs.prediction import StepCost, samples_seen
from daam_bench.costs.probed import Probes, facts_of_rate, facts_of_step
from daam_bench.costs.sizes import DatasetSize, dataset_size, folds_of
from daam_bench.errors import ConfigError
from daam_bench.plan import make_plan
from daam_bench.records import read_records, write_record
from daam_bench.specs import tuning_spec

WORDS = ("--configfile", "tiny.yaml")


def write(path, data):
    path.write_text(yaml.safe_dump(data))
    return path


def keep_probe(overlays, step=1.0):
    """Keep a probe of chosen numbers: 32 samples a second; a step, half a second a sample, 7 s to start."""
    config = load_merged(Path("config.yaml"), [Path(name) for name in overlays if name != "--configfile"])
    plan, probes = make_plan(config), Probes(Path("results"))
    place = ("vader", "minilm-l6")
    probes.keep(facts_of_rate(config, plan, place), 32.0)
    for job in planned_jobs(config, plan, place):
        if job.predictable:
            facts = facts_of_step(job, (6, 384), 3, config.protocol.model_dump(mode="json"))
            probes.keep(facts, StepCost(step, 0.5, 7.0))
    probes.write()


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
    assert any("not probed" in line for line in row["unknown"])


def test_plan_names_what_no_experiment_uses(work, call):
    idle = {"encoders": {"other": {"modality": "text", "model": "resources/minilm-l6"}}}
    write(Path("idle.yaml"), idle)
    code, out, _ = call("plan", *WORDS, "--configfile", "idle.yaml")
    assert code == 0
    assert "in no experiment: encoders other" in out
    assert "in no experiment" not in call("plan", *WORDS)[1]


def test_plan_and_doctor_name_the_sizes_that_leave_no_layer_out(tmp_path, monkeypatch, call):
    monkeypatch.chdir(tmp_path)
    shutil.copy(ROOT / "config.yaml", tmp_path)
    Path("tiny").mkdir()
    Path("tiny/config.json").write_text(json.dumps({"n_layers": 2, "dim": 8}))
    write(Path("small.yaml"), {"encoders": {"minilm-l6": {"model": "tiny"}}})
    for command in ("plan", "doctor"):
        _, out, _ = call(command, "--configfile", "small.yaml")
        assert "layer ablation of vader x minilm-l6: no runs on 3 layers, as the encoder has 2" in out


def test_plan_counts_studies_and_encoder_lora_too(tmp_path, monkeypatch, data_of):
    monkeypatch.chdir(tmp_path)
    shutil.copy(ROOT / "config.yaml", tmp_path)
    experiment = {"dataset": "vader", "encoder": "minilm-l6", "encoder_variants": ["encoder_lora_r4"]}
    write(Path("lora.yaml"), {"experiments": [experiment]})
    _, (row,) = data_of("plan", "--configfile", "lora.yaml")
    # Layer ablation: (top, bottom, one random draw) x two sizes, on 4 folds with 3 seeds.
    assert row["cells_of"]["studies"] == 3 * 2 * 4 * 3
    assert row["cells_of"]["baselines"] == 2 * 4
    assert row["cells_of"]["encoder LoRA"] == 4 * 3
    assert row["cells_of"]["variants"] == row["variants"] * 4 * 3
    assert row["cells"] == sum(row["cells_of"].values())
    assert any("encoder_lora_r4: training through the encoder" in line for line in row["unknown"])


def test_plan_compares_what_ran_with_its_prediction(work, call, data_of):
    keep_probe(WORDS[1:])
    _, (row,) = data_of("plan", *WORDS)
    size, extraction, training = row["comparisons"]
    assert [found["cost"] for found in row["comparisons"]] == [
        "cache GB",
        "extraction minutes",
        "training minutes",
    ]
    assert size["predicted"] == row["gigabytes"] < size["measured"] < 2 * row["gigabytes"]
    assert extraction["predicted"] == row["extraction_minutes"] == 160 / 32 / 60
    assert extraction["of"] == "160 of 160 samples"
    # A fold trains on 120, of three sources; one source of 40 chooses the epoch. Three steps of 32.
    assert training["predicted"] == row["training_minutes"] == 16 * (7 + 2 * (3 * 1.0 + 80 * 0.5)) / 60
    assert training["measured"] > 0
    assert training["ratio"] == training["measured"] / training["predicted"]
    assert training["of"] == "16 of 16 replicas"
    assert row["left_out"] == row["unknown"] == []
    _, out, _ = call("plan", *WORDS)
    headings = out[out.index("in what has run") :]
    assert all(word in headings for word in ("predicted", "measured / predicted", "16 of 16 replicas"))


def test_the_samples_that_a_replica_fits_are_those_that_are_predicted(work):
    config = load_merged(Path("config.yaml"), [Path("tiny.yaml")])
    size = dataset_size("vader", config.datasets["vader"], Path("results"))
    rule, training = config.datasets["vader"].folds, config.training
    fitted, scored = samples_seen(size, rule, training, config.protocol)
    for record in read_records(Path("results/runs/vader/minilm-l6/mha")):
        assert round(record.samples_per_second * record.wall_seconds) == fitted * training.epochs
        assert fitted + scored == record.train_samples + record.validation_samples
    last = config.protocol.model_copy(update={"select": "last"})
    assert samples_seen(size, rule, training, last) == (120, 40)
    own = DatasetSize(130, 1, 2, "", splits=(117, 13))
    assert samples_seen(own, FoldRule(rule="split_column"), training, last) == (117, 13)


def test_encoder_lora_does_not_spoil_the_comparison(work, data_of):
    experiment = TINY["experiments"][0] | {"encoder_variants": ["encoder_lora_r4"]}
    write(Path("lora.yaml"), {"experiments": [experiment]})
    keep_probe(["tiny.yaml", "lora.yaml"])
    config = load_merged(Path("config.yaml"), [Path("tiny.yaml"), Path("lora.yaml")])
    spec = tuning_spec(config, make_plan(config), "vader", "minilm-l6", "encoder_lora_r4")
    del spec["seeds"]
    folder = Path("results/runs/vader/minilm-l6")
    (other, *_) = read_records(folder / "mha")
    changes = {"variant": "encoder_lora_r4", "spec": spec, "wall_seconds": 90.0}
    write_record(folder / "encoder_lora_r4", other.model_copy(update=changes))
    _, (row,) = data_of("plan", *WORDS, "--configfile", "lora.yaml")
    found = {one["cost"]: one for one in row["comparisons"]}
    assert found["training minutes"]["of"] == "16 of 16 replicas"
    assert found["training minutes"]["predicted"] == row["training_minutes"] > 0
    tuned = found["encoder LoRA minutes"]
    assert (tuned["measured"], tuned["predicted"], tuned["of"]) == (1.5, None, "1 of 8 replicas")


@pytest.mark.parametrize(
    ("overlay", "compared", "reason"),
    [
        ({"datasets": {"vader": {"samples_per_group": 41}}}, [], "other samples (160, now 164)"),
        ({"datasets": {"vader": {"sampling_seed": 1}}}, [], "other samples (of equal number)"),
        ({"encoders": {"minilm-l6": {"max_length": 64}}}, [], "encoder.max_length was 256, now 64"),
        ({"cache": {"dtype": "float16"}}, [], "cache.dtype was float32, now float16"),
        (
            {"training": {"epochs": 3}},
            ["cache GB", "extraction minutes"],
            "16 records: training.epochs was 2, now 3",
        ),
    ],
)
def test_results_of_another_configuration_are_left_out(work, data_of, overlay, compared, reason):
    write(Path("other.yaml"), overlay)
    _, (row,) = data_of("plan", *WORDS, "--configfile", "other.yaml")
    assert [found["cost"] for found in row["comparisons"]] == compared
    assert row["cached"] == bool(compared)
    assert len(row["left_out"]) == 1 and reason in row["left_out"][0]


def test_other_weights_make_another_cache(work, data_of, monkeypatch):
    monkeypatch.setattr("daam_bench.costs.current.hash_model", lambda *_: "f00d")
    _, (row,) = data_of("plan", *WORDS)
    assert not row["cached"] and "weights in resources/minilm-l6" in row["left_out"][0]


def test_records_whose_cache_is_gone_are_left_out(work, data_of):
    shutil.rmtree("results/embeddings")
    _, (row,) = data_of("plan", *WORDS)
    assert row["comparisons"] == [] and row["left_out"] == ["records whose cache is not here"]


def test_a_probe_of_other_settings_predicts_nothing_and_is_kept(work, data_of):
    keep_probe(WORDS[1:])
    write(Path("wide.yaml"), {"training": {"decoder_channels": 16}})
    _, (row,) = data_of("plan", *WORDS, "--configfile", "wide.yaml")
    assert row["extraction_minutes"] > 0 and row["training_minutes"] is None
    keep_probe(["tiny.yaml", "wide.yaml"], step=2.0)
    wide = data_of("plan", *WORDS, "--configfile", "wide.yaml")[1][0]["training_minutes"]
    assert wide > data_of("plan", *WORDS)[1][0]["training_minutes"] > 0


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
    assert "samples: data/iemocap: the dataset is not here yet" in found["iemocap"]["unknown"]


def test_a_probe_predicts_minutes_and_is_kept(work, data_of):
    experiment = TINY["experiments"][0] | {"variants": ["daam_v1"]}
    study = {"kind": "layer_ablation", "variants": ["daam_v1"], "sizes": [2], "random_draws": 1}
    write(Path("study.yaml"), {"experiments": [experiment], "studies": [study]})
    words = (*WORDS, "--configfile", "study.yaml")
    _, (row,) = data_of("plan", *words, "--probe")
    assert row["extraction_minutes"] > 0
    assert row["training_minutes"] > 0
    assert row["unknown"] == []
    _, (again,) = data_of("plan", *words)
    assert again["training_minutes"] == row["training_minutes"]
    probes = json.loads(Path("results/probe.json").read_text())["probes"].values()
    assert sorted(entry["of"]["shape"] for entry in probes if "seconds" in entry) == [[2, 384], [6, 384]]


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


@pytest.mark.parametrize("command", ["plan", "doctor"])
def test_a_terminal_of_80_columns_is_enough(work, call, monkeypatch, command):
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setenv("NO_COLOR", "1")
    monkeypatch.setattr("daam_bench.cli.planning.sys.stdout.isatty", lambda: True)
    keep_probe(WORDS[1:])
    for words in ((command, *WORDS), (command, "--configfile", ROOT / "config/paper.yaml")):
        _, out, _ = call(*words)
        lines = re.sub(r"\x1b\[[0-9;]*m", "", out).splitlines()
        assert max(map(len, lines)) <= 80
        # No word is cut in two.
        assert {"plan": "extraction", "doctor": "processor"}[command] in "\n".join(lines).split()


def test_doctor_names_a_dataset_that_is_here_and_cannot_be_used(work, data_of):
    Path("mine.csv").write_text("text,label\nfine,a\nbad,b\n")
    table = {"kind": "table", "modality": "text", "path": "mine.csv", "columns": {"label": "lable"}}
    write(
        Path("mine.yaml"),
        {
            "datasets": {"mine": table | {"folds": {"rule": "stratified", "count": 2}}},
            "experiments": [{"dataset": "mine", "encoder": "minilm-l6"}],
        },
    )
    code, findings = data_of("doctor", "--configfile", "mine.yaml")
    (found,) = [f for f in findings if f["check"] == "datasets.mine"]
    assert (code, found["level"]) == (1, "fail")
    assert "unknown column 'lable'" in found["found"] and "Did you mean 'label'" in found["found"]


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


@pytest.mark.parametrize("changed", [True, False])
def test_doctor_compares_the_disk_with_the_plan(work, data_of, monkeypatch, changed):
    # A cache of other samples is none of the plan's: it saves no space.
    if changed:
        write(Path("tiny.yaml"), TINY | {"datasets": {"vader": {"samples_per_group": 41}}})
    else:
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
