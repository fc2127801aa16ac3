"""Deal samples to folds, and hold out a part of a training split to choose the epoch.

Samples of equal content, and clips of one recording, always stay together, so that none is trained on and
scored on at once.
"""

import warnings
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components
from sklearn.model_selection import StratifiedGroupKFold, StratifiedKFold, train_test_split

from daam_bench.config import FoldRule
from daam_bench.contents import recording_of
from daam_bench.errors import DataError

Rows = npt.NDArray[np.int64]

# Units of at most a tenth of a part are dealt by their number alone.
_TIMES_SMALLER = 10


@dataclass(frozen=True)
class Fold:
    """One fold: row numbers of the training and of the validation samples, both ascending."""

    index: int
    name: str
    train: Rows
    validation: Rows


def units_of(contents: Sequence[str], groups: Sequence[str] | None = None) -> Rows:
    """Return the number of the unit that each sample belongs to, [sample]; units are never divided.

    Args:
        contents: hash of each sample's content; equal contents are one unit, as are clips of one recording.
        groups: group of each sample; a group is one unit, and groups that share a content are one. An
            empty name is no group.
    """
    content, names = pd.factorize(np.array([recording_of(key) for key in contents], dtype=object))
    if groups is None:
        return np.asarray(content, dtype=np.int64)
    named = np.array([group or None for group in groups], dtype=object)
    group = pd.factorize(named)[0]  # -1 without a name
    grouped = group >= 0
    size = len(names) + int(group.max(initial=-1)) + 1
    ends = content[grouped], group[grouped] + len(names)
    edges = coo_array((np.ones(int(grouped.sum())), ends), shape=(size, size))
    parts: Rows = connected_components(edges, directed=False)[1].astype(np.int64)
    return parts[content]


def check_dealing(samples: pd.DataFrame, rule: FoldRule, where: str = "folds") -> list[Fold]:
    """Return the folds of listed samples: check that they can be dealt, before anything is computed.

    Args:
        samples: table from `datasets.listing.list_samples`.
        rule: how to deal.
        where: the rule's place in the configuration, for messages.

    Raises:
        DataError: if they cannot; with the rule to take instead if the samples have splits of their own.
    """
    groups, splits, contents = (samples[name].tolist() for name in ("group", "split", "content_key"))
    labels = samples["label"].to_numpy()
    try:
        folds = deal_folds(labels, groups, splits, contents, rule)
    except DataError as error:
        if {"train", "validation"} <= set(samples["split"]) and rule.rule != "split_column":
            expected: object = "folds.rule: split_column, since the samples have splits of their own"
            remedy = None
        else:
            expected, remedy = error.expected, error.remedy
        raise DataError(
            error.what, where=where, expected=expected, found=error.found, remedy=remedy
        ) from None
    for fold in folds:
        if len(np.unique(labels[fold.train])) < 2:
            raise DataError(
                f"fold {fold.name!r} would be trained on one class alone",
                where=where,
                found=f"{len(fold.train)} training samples of one class",
                remedy="Take another folds.rule, or other splits.",
            )
    return folds


def deal_folds(
    labels: Rows, groups: list[str], splits: list[str], contents: list[str], rule: FoldRule
) -> list[Fold]:
    """Return the folds of a rule.

    Args:
        labels: class index of each sample, [sample].
        groups: group of each sample; leave_one_group_out validates on each in alphabetical order.
        splits: `train` or `validation` for each sample, used by split_column; other values take no part.
        contents: hash of each sample's content; the stratified rules keep equal ones together.
        rule: how to deal.

    Raises:
        DataError: if the samples cannot be dealt by the rule (fewer than two groups, samples without one, an
            empty split, a class with fewer samples, or too few groups, for the number of folds).
    """
    if rule.rule == "leave_one_group_out":
        names = sorted(set(groups))
        if len(names) < 2:
            raise DataError(
                "leave_one_group_out needs at least two groups",
                found=", ".join(filter(None, names)) or "none",
                remedy="Say what the groups are (columns.group, group_pattern), or take a stratified rule.",
            )
        if "" in names:
            raise DataError(
                "leave_one_group_out needs a group for every sample",
                found=f"{groups.count('')} of {len(groups)} without one",
                remedy="Fill them in, or take folds.rule: stratified_by_group.",
            )
        parts = [(name, np.array([g == name for g in groups])) for name in names]
        return [Fold(i, n, np.flatnonzero(~p), np.flatnonzero(p)) for i, (n, p) in enumerate(parts)]
    if rule.rule == "split_column":
        train, validation = (np.flatnonzero([s == part for s in splits]) for part in ("train", "validation"))
        if not len(train) or not len(validation):
            raise DataError("split_column needs the splits train and validation", found=sorted(set(splits)))
        return [Fold(0, "validation", train, validation)]
    smallest = int(np.unique(labels, return_counts=True)[1].min())
    if smallest < rule.count:
        raise DataError(
            f"{rule.count} stratified folds need as many samples per class",
            found=smallest,
            remedy="Lower folds.count, or leave small classes out (`labels`).",
        )
    units = units_of(contents, groups if rule.rule == "stratified_by_group" else None)
    if len(np.unique(units)) < rule.count:
        what = "groups" if rule.rule == "stratified_by_group" else "different samples"
        raise DataError(
            f"{rule.count} folds need at least as many {what}",
            found=len(np.unique(units)),
            remedy="Lower folds.count, or take another folds.rule.",
        )
    dealt = enumerate(_deal(labels, units, rule.count, rule.seed))
    return [Fold(i, f"part {i}", train, validation) for i, (train, validation) in dealt]


def _deal(labels: Rows, units: Rows, count: int, seed: int) -> list[tuple[Rows, Rows]]:
    """Deal whole units to parts of class shares as equal as the units allow."""
    _, first, sizes = np.unique(units, return_index=True, return_counts=True)
    with warnings.catch_warnings():
        # Large units, or few of a class, can leave a class out of a part: nothing can be done about it.
        warnings.filterwarnings("ignore", message="The least populated class", category=UserWarning)
        if sizes.max() == 1 or sizes.max() * count * _TIMES_SMALLER <= len(units):
            # Such units (samples, some of them twice) need no balancing by size, which takes minutes.
            some = np.sort(first)  # one of each
            parts = StratifiedKFold(count, shuffle=True, random_state=seed).split(some, labels[some])
            return [(_rows_of(units, some[a]), _rows_of(units, some[b])) for a, b in parts]
        dealer = StratifiedGroupKFold(count, shuffle=True, random_state=seed)
        return list(dealer.split(labels, labels, units))


def _rows_of(units: Rows, rows: Rows) -> Rows:
    """Return all rows of the units that some rows are of, ascending."""
    return np.flatnonzero(np.isin(units, units[rows]))


def hold_out(
    train: Rows, labels: Rows, groups: list[str], contents: list[str], fraction: float, seed: int
) -> tuple[Rows, Rows]:
    """Split training rows into (fitted, held out), both ascending.

    Whole groups are held out where the training rows have several and every class remains in the fitted
    part: a model that is scored on a new speaker or source is chosen on one. Otherwise single samples are
    held out with class shares kept. With few groups the held-out part is larger than `fraction`.

    Args:
        train: row numbers of the training split.
        labels: class index of every sample of the dataset, [sample].
        groups: group of every sample of the dataset.
        contents: hash of every sample's content; equal ones stay together.
        fraction: share to hold out, in (0, 1).
        seed: equal seeds give equal parts.

    Raises:
        DataError: if the training split is too small to be divided with every class in both parts.
    """
    kept = [contents[row] for row in train]
    for units in (units_of(kept, [groups[row] for row in train]), units_of(kept)):
        # At most as many parts as the largest class has samples: scikit-learn wants no more.
        count = min(round(1 / fraction), len(np.unique(units)), int(np.bincount(labels[train]).max()))
        if count > 1 and len(np.unique(units)) < len(train):
            fitted, held_out = _deal(labels[train], units, count, seed)[0]
            if len(held_out) and np.isin(labels[train], labels[train[fitted]]).all():
                return train[fitted], train[held_out]
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
