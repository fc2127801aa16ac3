"""The table of samples: one row a sample, in a fixed order, with a hash of its content."""

import hashlib
import logging
from collections.abc import Hashable, Mapping
from pathlib import Path
from pkgutil import resolve_name

import pandas as pd

from daam_bench.config import DatasetConfig
from daam_bench.contents import read_sample
from daam_bench.datasets.base import DatasetKind
from daam_bench.datasets.clips import cut_into_clips
from daam_bench.datasets.declaration import label_classes
from daam_bench.datasets.file_pattern import files_folder
from daam_bench.datasets.registry import dataset_kind
from daam_bench.errors import ConfigError, DataError


def list_samples(name: str, config: DatasetConfig) -> pd.DataFrame:
    """Return the samples of a dataset.

    Columns: sample_id, label, group, split; content_key, the sha256 of the content, for a clip followed by
    its bounds, and unlike any other for a sample without content; the payload `text`, or `file` (relative to
    the attribute `folder`), or `content` (bytes of an encoded file); for clips start_second and stop_second.
    Attributes (`frame.attrs`): class_names, modality, kind, title, licence, source, folder.

    Raises:
        ConfigError: if the dataset's settings do not fit its kind, or a revision is set for a folder.
        DataError: if files are missing, none can be read, counts differ from the published ones, an id
            occurs twice or holds a NUL, or a label is outside the declared classes.
        MachineError: if the machine cannot read a file.
    """
    frame = choose_samples(name, config)
    attributes = dict(frame.attrs)
    folder = Path(attributes["folder"])
    frame = frame.assign(content_key=_content_keys(frame, folder, f"datasets.{name}"))
    if config.clip_seconds is not None:
        frame = cut_into_clips(frame, folder, config.clip_seconds)
    _warn_of_contradictions(frame, f"datasets.{name}")
    frame.attrs = attributes
    return frame


def _warn_of_contradictions(frame: pd.DataFrame, where: str) -> None:
    """Say where samples of equal content have different labels: no model can be right on all of them."""
    labels = frame.groupby("content_key")["label"].transform("nunique")
    contradicting = frame.loc[labels > 1].sort_values("content_key", kind="stable")
    if len(contradicting):
        logging.warning(
            "%s: %d of %d samples have the content of one with another label, such as %s",
            where,
            len(contradicting),
            len(frame),
            " and ".join(contradicting["sample_id"].head(2)),
        )


def choose_samples(name: str, config: DatasetConfig) -> pd.DataFrame:
    """Return the samples of a dataset as `list_samples` does, but look into none of their files.

    There is no content_key, and recordings are not cut into clips. Errors are those of `list_samples`.
    """
    where = f"datasets.{name}"
    if config.revision is not None and Path(config.path).exists():
        raise ConfigError(
            "a file or folder has no revision",
            where=where,
            found=config.path,
            remedy="Remove the revision, or take another path for the hub's dataset: this one exists here.",
        )
    kind = dataset_kind(config.kind, f"{where}.kind")
    modality = kind.modality_of(config, where)
    frame: pd.DataFrame = resolve_name(kind.reader)(config)
    classes = list(kind.classes)
    if not classes:
        if config.labels is None:
            _refuse_unlabelled(frame, where)
        classes, labels = label_classes(frame["label"], config.labels, where)
        frame = frame.assign(label=labels.astype("int64"))
        frame = frame[frame["label"] >= 0]
    frame = frame.reset_index(drop=True)
    _check(frame, kind, classes, where)
    if config.samples_per_group is not None:
        frame = _draw(frame, config.samples_per_group, config.sampling_seed, where).reset_index(drop=True)
    frame.attrs = {
        "class_names": classes,
        "modality": modality,
        "kind": config.kind,
        "title": kind.title,
        "licence": kind.licence,
        "source": kind.source,
        "folder": str(files_folder(config)),
    }
    return frame


def _refuse_unlabelled(frame: pd.DataFrame, where: str) -> None:
    labels = frame["label"]
    missing = frame.loc[labels.isna() | (labels.astype(str).str.strip() == ""), "sample_id"].astype(str)
    if len(missing):
        raise DataError(
            f"{len(missing)} of {len(frame)} samples have no label",
            where=where,
            found=", ".join(missing.head(5)),
            remedy="Name the classes to keep under `labels`: what is not listed there is left out.",
        )


def _content_keys(frame: pd.DataFrame, folder: Path, where: str) -> list[str]:
    """Return the sha256 of each sample's content.

    Samples without any have keys that nothing else has: they are no twins of each other, and what is found in
    their place later belongs to no key.
    """
    keys, problems = [], []
    for row in frame.to_dict("records"):
        try:
            keys.append(_content_hash(row, folder))
        except DataError as error:
            problems.append(f"{row['sample_id']}: {error}")
            keys.append("none-" + hashlib.sha256(str(row["sample_id"]).encode()).hexdigest())
    if len(problems) == len(frame):
        raise DataError(
            "none of the samples can be used",
            where=where,
            expected=f"files below {folder}" if "file" in frame else None,
            found=problems[0],
            remedy="`files` says where the files lie that a table names."
            if frame.attrs.get("kind") == "table" and "file" in frame
            else None,
        )
    if problems:
        logging.warning("%s: %d samples cannot be used, such as %s", where, len(problems), problems[0])
    return keys


def _content_hash(row: Mapping[Hashable, object], folder: Path) -> str:
    """Return the sha256 of a text, of bytes or of a file; errors are those of `read_sample`."""
    content = row.get("content")
    if "text" in row:
        text = str(row["text"])
        content = text.encode(errors="surrogatepass") if text.strip() else b""
    if not isinstance(content, bytes):
        content, digest = read_sample(folder, str(row["file"]))
    else:
        digest = hashlib.sha256(content).hexdigest()
    if not content:
        raise DataError("empty")
    return digest


def _check(frame: pd.DataFrame, kind: DatasetKind, classes: list[str], where: str) -> None:
    if frame.empty:
        raise DataError("the dataset has no samples", where=where)
    found = frame["group"].value_counts().to_dict()
    if kind.counts and found != dict(kind.counts):
        raise DataError("number of samples per group", where=where, expected=dict(kind.counts), found=found)
    twice = frame.loc[frame["sample_id"].duplicated(), "sample_id"]
    if len(twice):
        raise DataError("sample ids occur twice", where=where, found=", ".join(twice.head(5)))
    for column in ("sample_id", "group"):
        odd = frame.loc[frame[column].str.contains("\0", regex=False), column]
        if len(odd):
            raise DataError(f"a {column} holds a NUL character", where=where, found=ascii(odd.iloc[0]))
    if not frame["label"].between(0, len(classes) - 1).all():
        raise DataError("a label is no class", where=where, expected=classes, found=set(frame["label"]))
    for split, expected in kind.class_counts.items():
        labels = frame.loc[frame["split"] == split, "label"]
        counts = {name: int((labels == index).sum()) for index, name in enumerate(classes)}
        wrong = {name: counts[name] for name in classes if counts[name] != expected[name]}
        if wrong:
            raise DataError(
                f"number of samples per class{f' of split {split}' if split else ''}",
                where=where,
                expected={name: expected[name] for name in wrong},
                found=wrong,
            )


def _draw(frame: pd.DataFrame, per_group: int, seed: int, where: str) -> pd.DataFrame:
    """Keep `per_group` samples of each group at random, class shares kept, in the original order."""
    from sklearn.model_selection import train_test_split

    kept = []
    for (group, _), part in frame.groupby(["group", "split"]):
        if len(part) > per_group:
            try:
                part, _ = train_test_split(
                    part, train_size=per_group, stratify=part["label"], random_state=seed
                )
            except ValueError as error:
                raise ConfigError(
                    f"cannot draw samples with class shares kept ({error})",
                    where=f"{where}.samples_per_group",
                    found=f"{per_group} of {len(part)} in group {group!r}",
                    remedy="Draw more of each group, or remove samples_per_group.",
                ) from None
        kept.append(part)
    return pd.concat(kept).sort_index()
