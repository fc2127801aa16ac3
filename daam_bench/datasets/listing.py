"""The table of samples: one row a sample, in a fixed order, with a hash of its content."""

import hashlib
from pathlib import Path
from pkgutil import resolve_name

import pandas as pd
from sklearn.model_selection import train_test_split

from daam_bench.config import DatasetConfig
from daam_bench.datasets.base import DatasetKind
from daam_bench.datasets.registry import dataset_kind
from daam_bench.errors import DataError


def list_samples(name: str, config: DatasetConfig) -> pd.DataFrame:
    """Return the samples of a dataset: sample_id, label, group, split, content_sha256 and the payload.

    Raises:
        DataError: if files are missing, counts differ from the published ones, an id occurs twice, or a
            label is outside the declared classes.
    """
    kind = dataset_kind(config.kind, f"datasets.{name}.kind")
    frame: pd.DataFrame = resolve_name(kind.reader)(Path(config.path))
    _check(frame, kind, name)
    if config.samples_per_group is not None:
        frame = _draw(frame, config.samples_per_group, config.sampling_seed)
    hashes = [hashlib.sha256(text.encode()).hexdigest() for text in frame["text"]]
    return frame.assign(content_sha256=hashes).reset_index(drop=True)


def _check(frame: pd.DataFrame, kind: DatasetKind, name: str) -> None:
    where = f"datasets.{name}"
    found = frame["group"].value_counts().to_dict()
    if kind.counts and found != dict(kind.counts):
        raise DataError("number of samples per group", where=where, expected=dict(kind.counts), found=found)
    twice = frame.loc[frame["sample_id"].duplicated(), "sample_id"]
    if len(twice):
        raise DataError("sample ids occur twice", where=where, found=", ".join(twice.head(5)))
    if not frame["label"].between(0, len(kind.classes) - 1).all():
        raise DataError(
            "a label is no class", where=where, expected=kind.classes, found=set(frame["label"].unique())
        )


def _draw(frame: pd.DataFrame, per_group: int, seed: int) -> pd.DataFrame:
    """Keep `per_group` samples of each group at random, class shares kept, in the original order."""
    kept = []
    for _, part in frame.groupby("group"):
        if len(part) > per_group:
            part, _ = train_test_split(part, train_size=per_group, stratify=part["label"], random_state=seed)
        kept.append(part)
    return pd.concat(kept).sort_index()
