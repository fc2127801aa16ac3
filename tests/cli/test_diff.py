"""Two folders of results beside each other: what differs, and why."""

import shutil
from pathlib import Path

import pytest
import yaml
from cli.conftest import CELL, PICKS, QUIET, TINY
from cli.test_results import change

from daam_bench.config.merge import load_merged
from daam_bench.direct import run_cell
from daam_bench.plan import make_plan


def test_equal_results_do_not_differ(work, data_of):
    code, data = data_of("diff", "results", "results")
    assert code == 0
    assert data == {"replicas_in_both": 8 + 8 + 4 + 4 + len(PICKS) * 8, "differences": []}


def test_a_derived_run_that_differs_is_named(work, call, data_of):
    shutil.copytree("results", "other")
    study = f"layers-{PICKS[0]}"
    change(Path("other/studies", *CELL[:2], study, CELL[2], "fold1_seed0.json"), score=0.987)
    code, data = data_of("diff", "results", "other")
    assert code == 1
    (found,) = data["differences"]
    place = (found["dataset"], found["encoder"], found["study"], found["variant"], found["fold"])
    assert (*place, found["score_b"]) == (*CELL[:2], study, CELL[2], 1, 0.987)
    _, out, _ = call("diff", "results", "other")
    assert f"vader minilm-l6 {study} daam_v2" in out


def test_what_differs_is_said_with_its_reason(work, call, data_of):
    shutil.copytree("results", "other")
    overlay = TINY | {"protocol": {"weight_decay": 0.25}}
    Path("other.yaml").write_text(yaml.safe_dump(overlay))
    config = load_merged(Path("config.yaml"), [Path("other.yaml")])
    run_cell(config, make_plan(config), CELL, None, None, Path("results"), Path("other"), QUIET)
    shutil.rmtree("other/runs/vader/minilm-l6/mha")
    code, data = data_of("diff", "results", "other")
    assert code == 1
    assert data["replicas_in_both"] == 16 + len(PICKS) * 8
    changed = [d for d in data["differences"] if d["variant"] == "daam_v2"]
    assert len(changed) == 8
    assert all("protocol.weight_decay: 0.01 -> 0.25" in d["why"] for d in changed)
    first = changed[0]
    assert first["points"] == pytest.approx(100 * (first["score_b"] - first["score_a"]))
    absent = [d for d in data["differences"] if d["variant"] == "mha"]
    assert {(d["score_b"], tuple(d["why"])) for d in absent} == {(None, ("not in other",))}
    code, out, _ = call("diff", "results", "other")
    assert "because protocol.weight_decay: 0.01 -> 0.25" in out
    assert f"{16 + len(PICKS) * 8} replicas in both, 8 of them differ; 8 in one folder only" in out


def test_another_cache_is_a_reason(work, data_of):
    shutil.copytree("results", "other")
    overlay = TINY | {"encoders": {"minilm-l6": {"max_length": 7}}}
    Path("other.yaml").write_text(yaml.safe_dump(overlay))
    config = load_merged(Path("config.yaml"), [Path("other.yaml")])
    run_cell(config, make_plan(config), CELL, None, None, Path("other"), Path("other"), QUIET)
    _, data = data_of("diff", "results", "other")
    (why,) = {tuple(d["why"]) for d in data["differences"]}
    assert "cache: encoder.max_length: 256 here, 7 there" in why


def test_a_folder_without_records_is_refused(work, call):
    Path("empty").mkdir()
    code, _, err = call("diff", "results", "empty")
    assert code == 6 and "no finished records" in err
