import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from daam_bench.config import FoldRule
from daam_bench.errors import DataError
from daam_bench.training import folds
from daam_bench.training.folds import check_dealing, deal_folds, hold_out, units_of


def rule(**settings):
    return FoldRule.model_validate(settings)


def different(count):
    return [str(row) for row in range(count)]


@given(st.lists(st.sampled_from("abcde"), min_size=7, max_size=97).filter(lambda g: len(set(g)) > 1))
def test_leave_one_group_out_validates_on_each_group_once(groups):
    labels = np.zeros(len(groups), dtype=np.int64)
    folds = deal_folds(labels, groups, [""] * len(groups), different(len(groups)), rule())
    assert [fold.name for fold in folds] == sorted(set(groups))
    for fold in folds:
        assert {groups[i] for i in fold.validation} == {fold.name}
        assert fold.name not in {groups[i] for i in fold.train}
        assert len(fold.train) + len(fold.validation) == len(groups)


def test_split_column_leaves_other_rows_out():
    splits = ["train", "validation", "test", "train"]
    (fold,) = deal_folds(
        np.zeros(4, dtype=np.int64), [""] * 4, splits, different(4), rule(rule="split_column")
    )
    assert (fold.train.tolist(), fold.validation.tolist()) == ([0, 3], [1])


def test_stratified_keeps_class_shares():
    labels = np.array([0] * 35 + [1] * 14)
    folds = deal_folds(labels, [""] * 49, [""] * 49, different(49), rule(rule="stratified", count=7))
    assert [np.bincount(labels[fold.validation]).tolist() for fold in folds] == [[5, 2]] * 7


@pytest.mark.parametrize(
    ("labels", "groups", "settings"),
    [
        ([0, 1], ["a", "a"], {}),
        ([0, 1], ["a", "b"], {"rule": "split_column"}),
        ([0, 1], ["a", "b"], {"rule": "stratified", "count": 2}),
        ([0, 0], ["a", "b"], {"rule": "stratified", "count": 2}),
        ([0, 0], ["a", "a"], {"rule": "stratified_by_group", "count": 2}),
        ([0, 1], ["a", ""], {}),
    ],
)
def test_folds_that_cannot_be_dealt_are_refused(labels, groups, settings):
    with pytest.raises(DataError, match="needs? "):
        deal_folds(np.array(labels), groups, ["", ""], ["x", "x"], rule(**settings))


@given(st.lists(st.tuples(st.sampled_from("abcdefg"), st.integers(0, 30)), min_size=60, max_size=97))
def test_stratified_rules_keep_equal_contents_and_whole_groups_together(rows):
    groups, contents = [group for group, _ in rows], [str(content) for _, content in rows]
    labels = np.arange(len(rows)) % 2
    for name, units in (
        ("stratified", units_of(contents)),
        ("stratified_by_group", units_of(contents, groups)),
    ):
        if len(set(units)) < 2:
            continue
        folds = deal_folds(labels, groups, [""] * len(rows), contents, rule(rule=name, count=2))
        assert sorted(row for fold in folds for row in fold.validation) == list(range(len(rows)))
        for fold in folds:
            assert not set(units[fold.train]) & set(units[fold.validation])


def test_groups_that_share_a_content_are_one_unit():
    contents, groups = ["p", "q", "q", "r", "s"], ["a", "a", "b", "b", "c"]
    assert units_of(contents).tolist() == [0, 1, 1, 2, 3]
    assert len(set(units_of(contents, groups).tolist())) == 2
    assert units_of(contents, groups)[4] not in units_of(contents, groups)[:4]


def test_clips_of_one_recording_stay_together_in_folds_and_in_what_is_held_out():
    contents = [f"r{row // 5}@{row % 5}-{row % 5 + 1}" for row in range(100)]
    labels = np.array([0] * 50 + [1] * 50)
    recordings = np.arange(100) // 5
    for fold in deal_folds(labels, [""] * 100, [""] * 100, contents, rule(rule="stratified", count=5)):
        assert not set(recordings[fold.train]) & set(recordings[fold.validation])
    fitted, held_out = hold(np.arange(100), labels, 0, contents=contents)
    assert len(held_out) == 10
    assert not set(recordings[fitted]) & set(recordings[held_out])


def test_stratified_by_group_has_class_shares_as_equal_as_groups_allow():
    groups = [name for name in "abcdef" for _ in range(7)]
    labels = np.array([0, 0, 0, 0, 0, 1, 1] * 6)
    folds = deal_folds(labels, groups, [""] * 42, different(42), rule(rule="stratified_by_group", count=3))
    assert [np.bincount(labels[fold.validation]).tolist() for fold in folds] == [[10, 4]] * 3


def hold(train, labels, seed=0, groups=None, contents=None, fraction=0.1):
    groups, contents = groups or [""] * len(labels), contents or different(len(labels))
    return hold_out(train, labels, groups, contents, fraction, seed)


def test_hold_out_is_a_stratified_part_of_the_training_rows():
    labels = np.array([0, 1] * 100)
    train = np.arange(50, 150)
    fitted, held_out = hold(train, labels, seed=3)
    assert sorted([*fitted, *held_out]) == train.tolist()
    assert np.bincount(labels[held_out]).tolist() == [5, 5]
    assert hold(train, labels, seed=3)[1].tolist() == held_out.tolist()
    assert hold(train, labels, seed=4)[1].tolist() != held_out.tolist()


def test_hold_out_takes_whole_groups_where_there_are_several():
    groups = [name for name in "abcd" for _ in range(20)]
    labels = np.array([0, 1] * 40)
    train = np.arange(20, 80)  # b, c and d
    held = [set(np.array(groups)[hold(train, labels, seed, groups)[1]]) for seed in range(7)]
    assert all(len(names) == 1 for names in held)
    assert len(set.union(*held)) > 1


def test_hold_out_takes_single_samples_where_groups_would_cost_a_class():
    groups = ["a"] * 20 + ["b"] * 20
    labels = np.array([0] * 20 + [1] * 20)
    _, held_out = hold(np.arange(40), labels, 0, groups)
    assert np.bincount(labels[held_out]).tolist() == [2, 2]


def test_hold_out_keeps_equal_contents_together():
    contents = [str(row // 2) for row in range(100)]
    labels = np.array([0, 0, 1, 1] * 25)
    fitted, held_out = hold(np.arange(100), labels, 0, contents=contents)
    assert len(held_out) == 10
    assert not {contents[row] for row in fitted} & {contents[row] for row in held_out}


def test_a_few_equal_contents_among_many_samples_cost_no_balance(monkeypatch):
    # Balancing by size takes minutes for a hundred thousand units.
    monkeypatch.setattr(folds, "StratifiedGroupKFold", None)
    labels = np.arange(1100) % 11
    contents = different(1100)
    for row in (3, 500, 800):
        contents[row] = contents[row + 11]
    contents[900] = contents[905]  # of two classes
    fitted, held_out = hold(np.arange(1100), labels, 0, contents=contents)
    assert sorted([*fitted, *held_out]) == list(range(1100))
    assert not {contents[row] for row in fitted} & {contents[row] for row in held_out}
    assert np.abs(np.bincount(labels[held_out]) - 10).max() <= 1
    assert (np.diff(fitted) > 0).all() and (np.diff(held_out) > 0).all()


@pytest.mark.parametrize("classes", [2, 3])
def test_hold_out_of_few_samples_keeps_equal_contents_together(classes):
    labels = np.arange(6 * classes) % classes
    contents = different(len(labels))
    contents[classes] = contents[0]
    for seed in range(5):
        fitted, held_out = hold(np.arange(len(labels)), labels, seed, contents=contents)
        assert not {contents[row] for row in fitted} & {contents[row] for row in held_out}


def test_samples_without_a_group_are_units_of_their_own():
    units = units_of(["1", "2", "3", "1", "4"], ["a", "", "a", "", ""])
    assert units[0] == units[2] == units[3]
    assert len(set(units)) == 3


def test_a_fold_of_one_class_is_found_before_anything_is_computed():
    samples = pd.DataFrame(
        {"label": [0, 0, 1, 0], "group": list("aabb"), "split": "", "content_key": list("1234")}
    )
    with pytest.raises(DataError, match="fold 'b' would be trained on one class alone"):
        check_dealing(samples, rule())


def test_hold_out_of_too_few_samples_is_refused():
    with pytest.raises(DataError, match="hold out"):
        hold(np.arange(3), np.array([0, 1, 2]))
