"""How a user's own samples are dealt: which split scores, which fold rule fits, what chooses the epoch."""

from collections.abc import Sequence
from itertools import product
from typing import Any

import pandas as pd

from daam_bench.config import FoldRule, TrainingConfig
from daam_bench.contents import recording_of
from daam_bench.datasets.declaration import usual_splits
from daam_bench.datasets.leakage import find_leakage
from daam_bench.errors import DataError, unknown_name
from daam_bench.training.folds import check_dealing, hold_out

_MOST_GROUPS, _PARTS = 10, 5
# Parts of the training split, the usual one first, that may choose the epoch.
_FRACTIONS = (TrainingConfig().inner_fraction, 0.2, 0.3)
# With as many samples of every class a part can always be held out.
_PLENTY = 50
# Runs hold out with their own seeds; with these it must be possible.
_SEEDS = range(5)


def choose_splits(names: Sequence[str], score_on: str | None, where: object) -> dict[str, str] | None:
    """Return what each split is used for; None if the samples are not divided or a fold rule divides them.

    Args:
        names: of the splits that have labels.
        score_on: the one that scores, if the user says so; by default test, else validation.
        where: named in errors.

    Raises:
        ConfigError: if there is no split `score_on`.
    """
    usual = usual_splits(names)
    if score_on is not None and score_on not in names:
        raise unknown_name("split", score_on, names, where)
    trained = [n for n in names if usual.get(n) == "train" and n != score_on]
    scored = [n for n in names if usual.get(n) == "test"] or [
        n for n in names if usual.get(n) == "validation"
    ]
    if score_on is not None:
        scored = [score_on]
        trained = trained or [n for n in names if n != score_on]
    if not trained or not scored:
        return None
    return dict.fromkeys(trained, "train") | dict.fromkeys(scored, "validation")


def said_of_splits(names: Sequence[str], chosen: dict[str, str]) -> str:
    """Say in one line what the splits are used for and how to change it."""
    use = {part: [n for n, u in chosen.items() if u == part] for part in ("train", "validation")}
    left = [name for name in names if name not in chosen]
    said = f"trained on {', '.join(use['train'])}, scored on {', '.join(use['validation'])}"
    if not left:
        return said
    return f"{said}; {', '.join(left)} not used (--score-on {left[0]}, or edit `splits`)"


def choose_rule(frame: pd.DataFrame) -> dict[str, Any]:
    """Return the dataset's own division if it has one, else groups, else equal parts.

    Args:
        frame: table from `list_samples`, every class of which has two different samples.
    """
    if {"train", "validation"} <= set(frame["split"]):
        return {"rule": "split_column"}
    groups = frame["group"].nunique()
    if 1 < groups <= _MOST_GROUPS:
        return {"rule": "leave_one_group_out"}
    if groups > 1:
        return {"rule": "stratified_by_group", "count": min(_PARTS, int(_different(frame).min()))}
    return {"rule": "stratified", "count": min(_PARTS, int(_different(frame).min()))}


def said_of_rule(rule: dict[str, Any], frame: pd.DataFrame) -> str:
    """Say in one line how samples are dealt to folds."""
    return {
        "split_column": "1, the dataset's own splits",
        "leave_one_group_out": f"{frame['group'].nunique()}, each scored on one group, trained on the others",
        "stratified_by_group": f"{rule.get('count')} parts of whole groups",
        "stratified": f"{rule.get('count')} parts with equal class shares",
    }[rule["rule"]]


def rare_classes(frame: pd.DataFrame) -> list[str]:
    """Return the classes that cannot be both trained on and scored on: of one sample, its copies, or none."""
    names = frame.attrs["class_names"]
    counts = _different(frame).reindex(range(len(names)), fill_value=0)
    return [name for name, count in zip(names, counts, strict=True) if count < 2]


def trouble_with_groups(frame: pd.DataFrame) -> str | None:
    """Say what is wrong with groups that are to be kept apart; None if they can be dealt to folds.

    They are of one class each and say nothing of others, lie in several splits, share samples, or leave a
    fold nothing to train on.
    """
    classes = frame.groupby("group")["label"].transform("nunique")
    if (classes < 2).mean() > 0.5:
        return "groups of one class"
    used = frame[frame["split"].isin(["train", "validation"])]
    if used.groupby("group")["split"].nunique().gt(1).any():
        return "groups that lie in more than one split"
    rule = FoldRule.model_validate(choose_rule(frame))
    if rule.rule == "leave_one_group_out" and (shared := len(find_leakage(frame, rule))):
        return f"groups that share contents ({shared} samples)"
    try:
        if rule.rule != "split_column":
            check_dealing(frame, rule)
    except DataError as error:
        return f"groups that cannot be kept apart: {error.what}"
    return None


def choose_selection(frame: pd.DataFrame, rule: FoldRule) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return what must be set so that every fold has samples to choose the epoch by.

    Returns:
        Settings of training and switches of the protocol: none, or a larger `inner_fraction`, or
        `select: last` where the classes are too small for any part to be held out.

    Raises:
        DataError: if the samples cannot be dealt by the rule.
    """
    folds = check_dealing(frame, rule)
    labels = frame["label"].to_numpy()
    groups, contents = frame["group"].tolist(), frame["content_key"].tolist()
    if _different(frame).min() >= _PLENTY and rule.rule == "stratified":
        return {}, {}
    for fraction in _FRACTIONS:
        try:
            for fold, seed in product(folds, _SEEDS):
                hold_out(fold.train, labels, groups, contents, fraction, seed)
        except DataError:
            continue
        return ({} if fraction == _FRACTIONS[0] else {"inner_fraction": fraction}), {}
    return {}, {"select": "last"}


def _different(frame: pd.DataFrame) -> "pd.Series[int]":
    """Return the number of different contents of each class; clips of one recording count once."""
    return frame["content_key"].map(recording_of).groupby(frame["label"]).nunique()
