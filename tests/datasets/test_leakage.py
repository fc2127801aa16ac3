import json

import numpy as np
import pandas as pd
import pytest
from typer.testing import CliRunner

from daam_bench.config import DatasetConfig, FoldRule
from daam_bench.datasets.leakage import check_leakage, find_leakage
from daam_bench.errors import DataError
from daam_bench.steps import step_app
from daam_bench.training.folds import check_dealing, deal_folds


def samples(**columns):
    base = {
        "sample_id": list("abcdef"),
        "split": ["train", "train", "train", "validation", "validation", "other"],
        "group": ["g", "g", "h", "i", "i", "h"],
        "content_key": ["1", "2", "3", "4", "5", "6"],
    }
    return pd.DataFrame(base | columns)


SPLIT = FoldRule(rule="split_column")


@pytest.mark.parametrize("rule", ["split_column", "leave_one_group_out", "stratified", "stratified_by_group"])
def test_clean_samples_have_none(rule):
    frame = samples(group=[""] * 6) if rule == "stratified" else samples()
    assert find_leakage(frame, FoldRule(rule=rule)).empty


def test_equal_content_in_two_splits_is_found_with_its_rows():
    found = find_leakage(samples(content_key=["1", "7", "3", "4", "7", "7"]), SPLIT)
    assert found.to_dict("records") == [
        {"sample_id": "b", "part": "train", "reason": "equal content"},
        {"sample_id": "e", "part": "validation", "reason": "equal content"},
    ]


def test_clips_of_one_recording_are_equal_content():
    found = find_leakage(samples(content_key=["x@0-5", "2", "3", "x@5-10", "5", "6"]), SPLIT)
    assert found["sample_id"].tolist() == ["a", "d"]


def test_a_group_in_two_splits_is_found_and_no_group_is_none():
    assert find_leakage(samples(group=["g", "", "", "g", "", ""]), SPLIT)["sample_id"].tolist() == ["a", "d"]


def test_groups_are_what_leave_one_group_out_keeps_apart():
    frame = samples(content_key=["1", "1", "3", "4", "3", "6"])
    found = find_leakage(frame, FoldRule(rule="leave_one_group_out"))
    assert found["sample_id"].tolist() == ["c", "e"]


def test_groups_are_not_kept_apart_by_equal_parts():
    frame = samples(group=["g", "g", "", "i", "i", ""], content_key=["1", "2", "3", "x@0-5", "x@5-10", "6"])
    found = find_leakage(frame, FoldRule(rule="stratified"))
    assert found.to_dict("records") == [
        {"sample_id": name, "part": "any part, of group g", "reason": "one group"} for name in "ab"
    ]
    assert find_leakage(samples(group=["g"] * 6), FoldRule(rule="stratified")).empty  # nothing to keep apart


def test_groups_that_share_content_are_dealt_as_one_and_do_not_leak():
    frame = samples(group=["a", "a", "b", "b", "c", "d"], content_key=["1", "7", "7", "4", "5", "6"])
    rule = FoldRule(rule="stratified_by_group", count=2)
    assert find_leakage(frame, rule).empty
    folds = deal_folds(
        np.array([0, 1, 0, 1, 0, 1]), list(frame["group"]), [""] * 6, list(frame["content_key"]), rule
    )
    for fold in folds:
        assert len({0, 1, 2, 3} & set(fold.validation.tolist())) in {0, 4}


def test_leakage_stops_with_all_rows_in_a_file_unless_accepted(tmp_path):
    frame = samples(content_key=["1", "7", "3", "4", "7", "7"])
    rows = tmp_path / "rows.csv"
    config = DatasetConfig(kind="table", path="d.csv", folds=SPLIT)
    with pytest.raises(DataError, match=r"d.csv.*found 2: b in train.*accept_leakage: true"):
        check_leakage(frame, config, str(rows))
    assert pd.read_csv(rows)["sample_id"].tolist() == ["b", "e"]
    accepted = config.model_copy(update={"accept_leakage": True})
    assert len(check_leakage(frame, accepted, str(rows))) == 2


def test_a_rule_that_cannot_deal_stops_before_extraction_and_names_the_other(tmp_path):
    frame = samples(group=[""] * 6, label=[0, 1, 0, 1, 0, 1])
    check_dealing(frame, SPLIT)
    with pytest.raises(DataError, match=r"at least two groups.*folds.rule: split_column"):
        check_dealing(frame, FoldRule())
    with pytest.raises(DataError, match=r"at least two groups; found none. Say what the groups are"):
        check_dealing(frame.assign(split=""), FoldRule())
    frame.to_parquet(tmp_path / "samples.parquet")
    spec = json.dumps({"kind": "table", "path": "d.csv"})
    done = CliRunner().invoke(
        step_app,
        ["check-leakage", str(tmp_path / "samples.parquet"), str(tmp_path / "o.csv"), "--spec", spec],
    )
    assert isinstance(done.exception, DataError)
    assert not (tmp_path / "o.csv").exists()
