"""What a declared dataset says of itself, applied: labels to classes, splits to their use."""

import math
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import pandas as pd

from daam_bench.config import Columns, DatasetConfig, Modality
from daam_bench.errors import ConfigError, DataError, unknown_name

# What datasets call their splits, in lower case.
_USUAL_SPLITS = {
    "train": "train",
    "training": "train",
    "validation": "validation",
    "valid": "validation",
    "val": "validation",
    "dev": "validation",
    "test": "test",
    "testing": "test",
}
_USUAL_CONTENT = {"text": "text", "vision": "image", "speech": "audio"}


def columns_of(config: DatasetConfig, modality: Modality) -> tuple[list[str], Columns]:
    """Return the columns that hold the content, and the others."""
    columns = config.columns or Columns()
    content = columns.content or _USUAL_CONTENT[modality]
    if modality != "text" and not isinstance(content, str):
        raise ConfigError("images and audio lie in one column", where="columns.content", found=content)
    return [content] if isinstance(content, str) else content, columns


def check_columns(found: list[str], content: list[str], columns: Columns, where: object) -> None:
    """Check that all named columns are there.

    Raises:
        ConfigError: naming the nearest columns for the first that is not.
    """
    for name in (*content, columns.label, columns.group, columns.split, columns.sample_id):
        if name is not None and name not in found:
            raise unknown_name("column", name, found, where)


def as_text(values: "pd.Series[Any]") -> pd.Series:
    """Return values as text; one that is missing becomes the empty text, bytes are read as UTF-8."""
    if values.dtype == object:
        values = values.map(lambda x: x.decode(errors="replace") if isinstance(x, bytes) else x)
    return values.astype("string").fillna("").astype(object)


def refuse_no_text(values: Iterable[Any], column: str, where: object) -> None:
    """Refuse values whose text would be Python's way of writing them.

    Raises:
        DataError: if one is a list, a mapping, or bytes that are not UTF-8.
    """
    for value in values:
        if isinstance(value, bytes):
            try:
                value.decode()
            except UnicodeDecodeError:
                raise DataError(
                    "its values are binary",
                    where=f"{where}: {column}",
                    expected="text, or paths of files",
                    remedy="Encoded images and audio are read by kind: huggingface, from the table's folder.",
                ) from None
        elif isinstance(value, list | tuple | dict | np.ndarray):
            what = "mappings" if isinstance(value, dict) else "lists"
            raise DataError(f"its values are {what}", where=f"{where}: {column}", expected="text or numbers")


def label_classes(
    labels: pd.Series, wanted: Mapping[str, str] | None, where: object
) -> tuple[list[str], pd.Series]:
    """Return class names and, for each sample, its class index; -1 for labels that `wanted` leaves out.

    Args:
        labels: label of each sample as the files have it.
        wanted: class name by label; None makes every label a class, in sorted order (numbers by value).
        where: named in errors.

    Raises:
        DataError: if fewer than two classes have samples, a sample has no label and `wanted` does not say
            which to keep, or a wanted label never occurs.
    """
    texts = as_text(labels)
    found = sorted(set(texts), key=_by_value)
    unlabelled = int((texts.str.strip() == "").sum())
    if wanted is None and unlabelled:
        raise DataError(
            f"{unlabelled} of {len(texts)} samples have no label",
            where=where,
            remedy="Name the classes to keep under `labels`: what is not listed there is left out.",
        )
    mapping = {label: label for label in found} if wanted is None else dict(wanted)
    absent = [label for label in mapping if label not in found]
    if absent:
        raise DataError(
            "labels that never occur",
            where=where,
            expected=", ".join(found[:20]),
            found=", ".join(absent),
            remedy="YAML reads yes, no, on and off as truth values: put quotes around them."
            if {"True", "False"} & set(absent)
            else None,
        )
    classes = list(dict.fromkeys(mapping.values()))
    if len(classes) < 2:
        raise DataError("a dataset needs at least two classes", where=where, found=", ".join(classes))
    return classes, texts.map({label: classes.index(name) for label, name in mapping.items()}).fillna(-1)


def use_of_splits(names: list[str], wanted: Mapping[str, str] | None, where: object) -> dict[str, Any]:
    """Return `train` or `validation` by name of a split; a name that is not in it is left out.

    Raises:
        ConfigError: if it is not clear which split validates, or a wanted one does not exist.
    """
    if wanted is not None:
        for name in wanted:
            if name not in names:
                raise unknown_name("split", name, names, where)
        return dict(wanted)
    usual = usual_splits(names)
    if "train" not in usual.values():
        # Nothing that is trained on by its name is the whole dataset: a fold rule divides it.
        return dict.fromkeys(names, "train")
    scored = [name for name, use in usual.items() if use != "train"]
    if len({usual[name] for name in scored}) > 1:
        examples = [f"{{{', '.join(f'{n}: {u}' for n, u in _scored_on(usual, s).items())}}}" for s in scored]
        raise ConfigError(
            "both a validation and a test split; say which one scores",
            where=where,
            expected=f"splits: {' or '.join(examples)}",
            found=", ".join(names),
        )
    return {name: "train" if use == "train" else "validation" for name, use in usual.items()}


def usual_splits(names: Iterable[str]) -> dict[str, str]:
    """Return `train`, `validation` or `test` by name, for names that splits usually have.

    Neither case nor spaces around a name count.
    """
    plain = {name: name.strip().lower() for name in names}
    return {name: _USUAL_SPLITS[word] for name, word in plain.items() if word in _USUAL_SPLITS}


def _scored_on(usual: Mapping[str, str], scored: str) -> dict[str, str]:
    return {name: use for name, use in usual.items() if use == "train"} | {scored: "validation"}


def _by_value(label: str) -> tuple[int, float, str]:
    try:
        value = float(label)
    except ValueError:
        return 1, 0.0, label
    return (0, value, label) if math.isfinite(value) else (1, 0.0, label)  # nan has no place among numbers
