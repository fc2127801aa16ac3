import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from daam_bench.config import FoldRule
from daam_bench.errors import DataError
from daam_bench.training.folds import deal_folds, hold_out


def rule(**settings):
    return FoldRule.model_validate(settings)


@given(st.lists(st.sampled_from("abcde"), min_size=7, max_size=97).filter(lambda g: len(set(g)) > 1))
def test_leave_one_group_out_validates_on_each_group_once(groups):
    labels = np.zeros(len(groups), dtype=np.int64)
    folds = deal_folds(labels, groups, [""] * len(groups), rule())
    assert [fold.name for fold in folds] == sorted(set(groups))
    for fold in folds:
        assert {groups[i] for i in fold.validation} == {fold.name}
        assert fold.name not in {groups[i] for i in fold.train}
        assert len(fold.train) + len(fold.validation) == len(groups)


def test_split_column_leaves_other_rows_out():
    splits = ["train", "validation", "test", "train"]
    (fold,) = deal_folds(np.zeros(4, dtype=np.int64), [""] * 4, splits, rule(rule="split_column"))
    assert (fold.train.tolist(), fold.validation.tolist()) == ([0, 3], [1])


def test_stratified_keeps_class_shares():
    labels = np.array([0] * 35 + [1] * 14)
    folds = deal_folds(labels, [""] * 49, [""] * 49, rule(rule="stratified", count=7))
    assert [np.bincount(labels[fold.validation]).tolist() for fold in folds] == [[5, 2]] * 7


@pytest.mark.parametrize(
    ("labels", "groups", "settings"),
    [
        ([0, 1], ["a", "a"], {}),
        ([0, 1], ["a", "b"], {"rule": "split_column"}),
        ([0, 1], ["a", "b"], {"rule": "stratified", "count": 2}),
    ],
)
def test_folds_that_cannot_be_dealt_are_refused(labels, groups, settings):
    with pytest.raises(DataError, match="needs? "):
        deal_folds(np.array(labels), groups, ["", ""], rule(**settings))


def test_hold_out_is_a_stratified_part_of_the_training_rows():
    labels = np.array([0, 1] * 100)
    train = np.arange(50, 150)
    fitted, held_out = hold_out(train, labels, 0.1, seed=3)
    assert sorted([*fitted, *held_out]) == train.tolist()
    assert np.bincount(labels[held_out]).tolist() == [5, 5]
    assert hold_out(train, labels, 0.1, seed=3)[1].tolist() == held_out.tolist()
    assert hold_out(train, labels, 0.1, seed=4)[1].tolist() != held_out.tolist()


def test_hold_out_of_too_few_samples_is_refused():
    with pytest.raises(DataError, match="hold out"):
        hold_out(np.arange(3), np.array([0, 1, 2]), 0.1, seed=0)
