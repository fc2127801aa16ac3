import hashlib
import json
import shlex
import shutil
from contextlib import nullcontext
from pathlib import Path

import pandas as pd
import pytest
import torch
from filelock import FileLock

from daam_bench.heads.own import fingerprint_of_file
from daam_bench.records import COST_FIELDS, digest_of, read_record

ADDRESS = "results/tables/accuracy_summary.csv:vader:minilm-l6:daam_v2:mean_percent"
RUNS = Path("results/runs/vader/minilm-l6")
OPTIONS = ("--dataset", "vader", "--encoder", "minilm-l6", "--variant", "daam_v2")


def change(path, **fields):
    """Change a file of JSON; the checksum of a record is made right, as one does who knows of it."""
    path.write_text(json.dumps(json.loads(path.read_text()) | fields))
    finished = path.with_name("finished.json")
    if path != finished:
        listing = json.loads(finished.read_text())
        listing["sha256"][listing["records"].index(path.name)] = digest_of(path)
        finished.write_text(json.dumps(listing))


def test_every_form_of_an_address_means_the_same_number(work, data_of):
    mean = pd.read_csv("results/tables/accuracy_summary.csv", dtype=str).set_index("variant")
    forms = [
        (ADDRESS,),
        ("accuracy_summary:daam_v2",),
        ("accuracy_summary:vader:daam_v2", "--column", "mean_percent"),
        ("results/tables/accuracy_summary.md", *OPTIONS),
    ]
    for form in forms:
        code, data = data_of("explain", *form)
        assert code == 0
        assert data["address"] == ADDRESS
        assert data["value"] == mean.loc["daam_v2", "mean_percent"]


def test_a_number_leads_to_its_records_settings_and_cache(work, data_of):
    _, data = data_of("explain", ADDRESS)
    assert {(r["fold"], r["seed"]) for r in data["records"]} == {(f, s) for f in range(4) for s in (0, 1)}
    scores = [r["score"] for r in data["records"]]
    assert float(data["value"]) == pytest.approx(100 * sum(scores) / 8)
    assert data["settings"]["training.epochs"] == 2
    assert data["settings"]["folds.rule"] == "leave_one_group_out"
    assert {"environment.torch", "environment.processor", "environment.git_commit"} <= set(data["settings"])
    cache = data["caches"]["vader x minilm-l6"]
    assert (
        cache["made_from"]["encoder"]["weights"] and cache["identity"] == data["settings"]["cache_identity"]
    )


def test_settings_that_a_variant_has_no_use_for_are_not_shown(work, data_of):
    _, trained = data_of("explain", "accuracy_summary:daam_v2")
    assert {"training.epochs", "training.decoder_channels", "protocol.optimizer"} <= set(trained["settings"])
    unused = {"training.density_heads", "training.focal_gamma", "protocol.gqdaam_heads", "folds.count"}
    assert not unused & set(trained["settings"])
    _, baseline = data_of("explain", "accuracy_summary:best_single_layer")
    shown = {n for n in baseline["settings"] if n.startswith(("training.", "protocol."))}
    assert shown == {"training.inner_fraction", "training.metric"}


def test_a_fold_and_a_gain_have_their_own_records(work, data_of):
    _, one = data_of("explain", "accuracy_per_fold:daam_v2:2")
    assert [(r["fold"], r["seed"]) for r in one["records"]] == [(2, 0), (2, 1)]
    _, gain = data_of("explain", "accuracy_summary:daam_v2:gain_over_best_single_layer")
    assert {r["variant"] for r in gain["records"]} == {"daam_v2", "best_single_layer"}


def test_every_run_has_an_address(work, data_of, call):
    record = read_record(RUNS / "daam_v2/fold2_seed1.json")
    for words in (("runs:daam_v2:fold=2:seed=1",), ("runs", *OPTIONS, "--fold", "2", "--seed", "1")):
        code, data = data_of("explain", *words)
        assert (code, float(data["value"])) == (0, pytest.approx(100 * record.score))
        assert [r["path"] for r in data["records"]] == [str(RUNS / "daam_v2/fold2_seed1.json")]
        assert not data["measured"]
    _, layer = data_of("explain", "runs:best_single_layer:fold=3:note")
    assert layer["value"] == read_record(RUNS / "best_single_layer/fold3_seed0.json").note != ""


def test_a_clock_does_not_have_to_come_out_again(work, data_of, call):
    code, data = data_of("explain", "cost:daam_v2:wall_seconds", "--repeat", "again")
    assert (code, data["measured"], data["repetition"]["same"]) == (0, True, True)
    assert data["repetition"]["repeated"] != data["value"]
    assert {"runs", "epochs", "parameters", "training_flop"} <= set(data["repetition"]["compared"])
    assert not {"cpu_seconds", "peak_memory_bytes"} & set(data["repetition"]["compared"])
    assert data["repetition"]["replicas"] == len(data["records"]) == 8
    _, out, _ = call("explain", "cost:daam_v2:wall_seconds")
    assert "note: a clock or a meter gave this number: another run gives another one" in out
    _, out, _ = call("explain", "cost:daam_v2:training_flop")
    assert "a clock" not in out


def test_what_can_be_compared_beside_a_clock_is(work, call):
    file = Path("results/tables/cost.csv")
    frame = pd.read_csv(file, dtype=str, keep_default_na=False)
    frame.loc[frame["variant"] == "daam_v2", ["parameters", "cpu_seconds"]] = ["7", "0.5"]
    frame.to_csv(file, index=False)
    code, out, _ = call("explain", "cost:daam_v2:cpu_seconds", "--repeat", "again")
    assert code == 1
    assert "other than in the table: parameters" in out
    assert "the table, or a record, was changed since" in out


def test_rates_are_said_to_be_of_caches(work, call):
    code, _, err = call("explain", "rates")
    assert code == 6
    assert "`daam-bench cache info` of that folder" in err and len(err.splitlines()) == 1


@pytest.mark.parametrize(
    "address",
    [
        "runs:daam_v2:fold=1:seed=1:train_loss",
        "accuracy_summary:daam_v2:mean_percent",
        "accuracy_summary:daam_v2:gain_over_best_single_layer_low",
        "accuracy_per_fold:daam_v2:1:std_percent",
        "parameter_ranges:daam_v2:scaled_variance:maximum",
        "comparisons:p_holm",
    ],
)
def test_repeating_gives_the_same_number(work, data_of, address):
    code, data = data_of("explain", address, "--repeat", "again")
    assert data["repetition"]["same"]
    assert float(data["repetition"]["repeated"]) == float(data["value"])
    assert code == 0
    record = next(Path("again/runs/vader/minilm-l6/daam_v2").glob("fold1_seed*.json"))
    assert read_record(record).key == read_record(RUNS / "daam_v2" / record.name).key


@pytest.mark.parametrize(
    ("address", "studies", "replicas"),
    [
        ("layer_ablation:top:fold=1", {"layers-top-1"}, 2),
        ("layer_ablation:all:fold=2", set(), 2),
        ("layer_ablation_curve:top:effect_percent", {"layers-top-1", "layers-bottom-1"}, 16),
    ],
)
def test_numbers_of_derived_runs_come_out_again(work, data_of, address, studies, replicas):
    code, data = data_of("explain", address, "--repeat", "again")
    assert (code, data["repetition"]["same"]) == (0, True)
    assert data["repetition"]["replicas"] == len(data["records"]) == replicas
    assert {r["study"] for r in data["records"]} - {None} == studies
    for record in data["records"]:
        first = Path(record["path"])
        again = Path("again", *first.parts[1:])
        assert read_record(again).key == read_record(first).key
        assert read_record(again).layers == read_record(first).layers


@pytest.mark.parametrize("address", [ADDRESS, "accuracy_per_fold:daam_v2:fold=1"])
def test_results_of_earlier_code_are_repeated_and_their_numbers_compared(work, data_of, monkeypatch, address):
    monkeypatch.setattr("daam_bench.training.run.source_fingerprint", lambda *_: "changed since")
    code, data = data_of("explain", address, "--repeat", "again")
    assert (code, data["repetition"]["same"]) == (0, True)
    count = len(data["records"])
    assert f"the code changed since: {count} of {count} keys are other ones now" in data["notes"]


@pytest.mark.parametrize("name", ["dataset", "encoder", "variant"])
def test_a_stranger_s_record_leads_nowhere_else(work, call, name):
    path = RUNS / "daam_v2/fold0_seed0.json"
    change(path, **{name: "../../../escaped/a"})
    code, _, err = call("run", "--record", path, "--output", "one")
    assert code == 6 and "not a run record" in err
    change(path, **{name: "a", "spec": json.loads(path.read_text())["spec"] | {name: "../escaped"}})
    code, _, err = call("run", "--record", path, "--output", "one")
    assert code == 6 and f"its job is none that this version knows ({name}: " in err
    assert len(err.splitlines()) == 1
    assert not Path("one").exists()


@pytest.mark.parametrize("place", ["{0}/own.py", "../stranger/own.py", "link/own.py", "own.py"])
def test_a_module_elsewhere_is_not_executed_by_a_stranger_s_record(work, call, place):
    elsewhere = work.parent / "stranger"
    elsewhere.mkdir()
    Path("link").symlink_to(elsewhere)
    for folder in (elsewhere, work):
        (folder / "own.py").write_text(f"open({str(work / 'ran')!r}, 'w')\nraise ValueError('it ran')\n")
    path, file = RUNS / "daam_v2/fold0_seed0.json", place.format(elsewhere)
    spec = json.loads(path.read_text())["spec"]
    own = {"module": f"{file}:Own"}
    change(path, spec=spec | {"variant": "own", "own": own, "own_sha256": fingerprint_of_file(file)})
    code, _, err = call("run", "--record", path, "--output", "one")
    here = place == "own.py"
    assert Path("ran").exists() == here
    assert (code, "is not executed" in err) == ((2, False) if here else (6, True))


def test_a_number_that_was_written_into_the_table_is_found(work, call):
    file = Path("results/tables/accuracy_summary.csv")
    frame = pd.read_csv(file, dtype=str, keep_default_na=False)
    mine = frame["variant"] == "daam_v2"
    frame.loc[mine, "mean_percent"] = frame.loc[mine, "mean_percent"] + "1"
    frame.to_csv(file, index=False)
    code, out, _ = call("explain", ADDRESS, "--repeat", "again")
    assert code == 1
    assert "NOT the same" in out
    assert "the table, or a record, was changed since" in out


def test_a_folder_with_results_is_no_place_for_a_repetition(work, call):
    words = ("explain", "accuracy_per_fold:daam_v2:fold=1", "--repeat", "again")
    assert call(*words)[0] == 0
    code, _, err = call(*words)
    assert code == 6 and "has results" in err
    one = ("run", "--record", RUNS / "daam_v2/fold1_seed0.json", "--output", "again")
    code, _, err = call(*one)
    assert code == 6 and "is here already" in err


@pytest.mark.parametrize(
    ("of_record", "locked", "kept"), [(True, False, False), (False, False, True), (True, True, True)]
)
def test_what_a_killed_repetition_left_is_cleared_away_and_nothing_else(work, call, of_record, locked, kept):
    record = Path("again/runs/vader/minilm-l6/daam_v2/fold1_seed0.json")
    record.parent.mkdir(parents=True, exist_ok=True)
    shutil.copy(RUNS / "daam_v2" / record.name, record)
    facts = {"key": read_record(record).key if of_record else "of a job that goes on"}
    facts |= {"tensors": "fold1_seed0.1.checkpoint", "sha256": "00", "epochs": [], "pending": None}
    facts |= {"best_epoch": 0, "best_rank": 0.0, "learning_rates": [], "plateau": None}
    text = json.dumps(facts | {"seconds": [0, 0, 0], "joules": None})
    left = record.with_name("fold1_seed0.checkpoint.json")
    left.write_text(json.dumps({"checksum": hashlib.sha256(text.encode()).hexdigest(), "facts": text}))
    tensors = record.with_name("fold1_seed0.1.checkpoint")
    tensors.touch()
    with FileLock(record.with_name(".lock")) if locked else nullcontext():
        code, _, err = call("run", "--record", RUNS / "daam_v2" / record.name, "--output", "again")
    assert code == 6 and "is here already" in err
    assert (left.exists(), tensors.exists()) == (kept, kept)


@pytest.mark.parametrize("threads", [1, 2])
def test_a_repetition_takes_as_many_threads_as_its_record(work, call, threads):
    record = RUNS / "daam_v2/fold1_seed0.json"
    change(record, environment=read_record(record).environment | {"threads": str(threads)})
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(3)
        assert call("run", "--record", record, "--output", "again")[0] == 0
        assert torch.get_num_threads() == 3
    finally:
        torch.set_num_threads(before)
    repeated = read_record(Path("again/runs/vader/minilm-l6/daam_v2") / record.name)
    assert repeated.environment["threads"] == str(threads)


def test_a_repetition_says_what_is_another_version_now(work, call):
    record = RUNS / "daam_v2/fold1_seed0.json"
    change(record, environment=read_record(record).environment | {"torch": "0.1", "git_commit": "0"})
    code, out, _ = call("explain", "runs:daam_v2:fold=1:seed=0", "--repeat", "again")
    assert code == 0
    assert f"made otherwise than now: environment.torch: 0.1 -> {torch.__version__}\n" in out


def test_the_printed_command_means_the_same_number(work, call):
    _, out, _ = call("explain", "layer_ablation:top:fold=1:std_percent")
    shown = out.splitlines()[0]
    lines = [line for line in out.splitlines() if "daam-bench explain" in line]
    _, again, _ = call(*shlex.split(lines[0])[1:])
    assert again == out
    one = next(shlex.split(line) for line in out.splitlines() if "daam-bench run" in line)
    assert call(*one[1:])[0] == 0
    assert "layers_kept=1:top:draw=0:fold=1:std_percent = " in shown


def test_a_word_for_a_shell_is_quoted(work, call):
    _, out, _ = call("explain", "paper_comparison:iemocap:daam_v1:cell=high IF, layers 9, F1")
    assert "no run is behind this cell" in out
    (line,) = [line for line in out.splitlines() if "daam-bench explain" in line]
    assert shlex.split(line)[2].endswith(":high IF, layers 9, F1:ours")
    code, _, err = call("explain", shlex.split(line)[2], "--repeat", "again")
    assert code == 6 and "nothing to repeat" in err


def test_what_was_trained_since_is_said(work, call):
    shutil.copytree("results/runs/vader/minilm-l6/mha", "results/runs/vader/minilm-l6/gqa")
    _, out, _ = call("explain", "comparisons:p_holm")
    assert "note:" not in out
    assert "gqa" not in out
    replicas = sorted((RUNS / "daam_v2").glob("fold*.json"))
    for path in replicas:
        change(path, key="0")
    change(RUNS / "daam_v2/finished.json", keys=["0"] * len(replicas))
    _, out, _ = call("explain", ADDRESS)
    assert "trained anew since the table was written: results/runs/vader/minilm-l6/daam_v2" in out


def test_a_record_that_was_edited_is_named_and_trained_again(work, call):
    record = RUNS / "daam_v2/fold3_seed1.json"
    record.write_text(record.read_text().replace('"score": 0.', '"score": 0.9', 1))
    for words in (("explain", ADDRESS), ("diff", "results", "results")):
        code, _, err = call(*words)
        assert code == 6
        assert f"{record}: was changed after it was written. Delete it and finished.json beside it" in err


def test_a_clock_of_a_record_is_no_part_of_its_checksum(work, call):
    record = RUNS / "daam_v2/fold3_seed1.json"
    record.write_text(json.dumps(json.loads(record.read_text()) | {"wall_seconds": 1e9}))
    assert call("explain", ADDRESS)[0] == 0


def test_a_number_that_was_tampered_with_does_not_come_out_again(work, call):
    change(RUNS / "daam_v2/fold3_seed1.json", score=0.999)
    code, out, _ = call("explain", ADDRESS, "--repeat", "again")
    assert code == 1
    assert "NOT the same" in out


def test_the_printed_command_repeats_one_replica(work, call):
    _, out, _ = call("explain", ADDRESS)
    (line,) = [line.split() for line in out.splitlines() if "daam-bench run" in line]
    code, _, _ = call(*line[1:])
    assert code == 0
    again = read_record(Path("one_replica/runs/vader/minilm-l6/daam_v2/fold0_seed0.json"))
    first = read_record(RUNS / "daam_v2/fold0_seed0.json")
    costs = set(COST_FIELDS)
    assert again.model_dump(exclude=costs) == first.model_dump(exclude=costs)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("accuracy_summary",), "variant=mha"),
        (("accuracy_summary:daam_v9",), "unknown cell or column 'daam_v9'"),
        (("accuracy_summary:mha:mean_percnt",), "Did you mean 'mean_percent'"),
        (("accuracy_summary:mha:daam_v2",), "no rows fit 'mha:daam_v2'"),
        (("accuracy_summary:variant=daam_v",), "unknown variant 'daam_v'"),
        (("accuracy_summary", "--variant", "mhaa"), "Did you mean 'mha'"),
        (("acuracy_sumary",), "Did you mean 'accuracy_summary'"),
        (("acuracy",), "accuracy_summary"),
        (("accuracy_summary", "--variant", "mha", "--parameter", "x"), "unknown column"),
        (("accuracy_summary:mha", "--column", "mean"), "mean_percent"),
    ],
)
def test_a_wrong_address_names_what_there_is(work, call, words, said):
    code, _, err = call("explain", *words)
    assert code in (2, 6)
    assert said in err
    assert len(err.splitlines()) == 1


def test_records_of_older_versions_are_explained_but_not_repeated(work, call):
    for path in (RUNS / "daam_v2").glob("fold*.json"):
        change(path, spec={})
    assert call("explain", ADDRESS)[0] == 0
    code, _, err = call("explain", ADDRESS, "--repeat", "again")
    assert code == 6 and "does not say how it was made" in err


def test_another_cache_is_refused(work, call):
    for path in (RUNS / "daam_v2").glob("fold*.json"):
        change(path, cache_identity="f" * 64)
    code, out, _ = call("explain", ADDRESS)
    assert "was replaced since" in out
    code, _, err = call("run", "--record", RUNS / "daam_v2/fold0_seed0.json")
    assert code == 5 and "not the cache" in err
