"""Deal samples to folds, and hold out a part of a training split to choose the epoch."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from sklearn.model_selection import StratifiedKFold, train_test_split

from daam_bench.config import FoldRule
from daam_bench.errors import DataError

Rows = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Fold:
    """One fold: row numbers of the training and of the validation samples, both ascending."""

    index: int
    name: str
    train: Rows
    validation: Rows


def deal_folds(labels: Rows, groups: list[str], splits: list[str], rule: FoldRule) -> list[Fold]:
    """Return the folds of a rule.

    Args:
        labels: class index of each sample, [sample].
        groups: group of each sample; leave_one_group_out validates on each in alphabetical order.
        splits: `train` or `validation` for each sample, used by split_column; other values take no part.
        rule: how to deal.

    Raises:
        DataError: if the samples cannot be dealt by the rule (fewer than two groups, an empty split, a
            class with fewer samples than folds).
    """
    if rule.rule == "leave_one_group_out":
        names = sorted(set(groups))
        if len(names) < 2:
            raise DataError("leave_one_group_out needs at least two groups", found=names)
        parts = [(name, np.array([g == name for g in groups])) for name in names]
        return [Fold(i, n, np.flatnonzero(~p), np.flatnonzero(p)) for i, (n, p) in enumerate(parts)]
    if rule.rule == "split_column":
        train, validation = (np.flatnonzero([s == part for s in splits]) for part in ("train", "validation"))
        if not len(train) or not len(validation):
            raise DataError("split_column needs the splits train and validation", found=sorted(set(splits)))
        return [Fold(0, "validation", train, validation)]
    smallest = int(np.unique(labels, return_counts=True)[1].min())
    if smallest < rule.count:
        raise DataError(f"{rule.count} stratified folds need as many samples per class", found=smallest)
    dealer = StratifiedKFold(rule.count, shuffle=True, random_state=rule.seed)
    dealt = enumerate(dealer.split(labels, labels))
    return [Fold(i, f"part {i + 1}", train, validation) for i, (train, validation) in dealt]


def hold_out(train: Rows, labels: Rows, fraction: float, seed: int) -> tuple[Rows, Rows]:
    """Split training rows into (fitted, held out), class shares kept, both ascending.

    Args:
        train: row numbers of the training split.
        labels: class index of every sample of the dataset, [sample].
        fraction: share to hold out, in (0, 1).
        seed: equal seeds give equal parts.

    Raises:
        DataError: if the training split is too small to be divided with every class in both parts.
    """
    try:
        fitted, held_out = train_test_split(
            train, test_size=fraction, stratify=labels[train], random_state=seed
        )
    except ValueError as error:
        raise DataError(
            f"cannot hold out a part of {len(train)} training samples ({error})",
            remedy="Use more samples, a larger training.inner_fraction, or protocol.select: last.",
        ) from None
    return np.sort(fitted), np.sort(held_out)
