"""The block of YAML of a user's own dataset, written after looking at its files and checked by listing it."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd
import yaml

from daam_bench.config import DatasetConfig
from daam_bench.datasets.leakage import find_leakage
from daam_bench.datasets.listing import list_samples
from daam_bench.errors import ConfigError, DataError
from daam_bench.scaffold.look import kind_of, look_at_folder, look_at_hub, look_at_table

# The encoder that a run fetches by itself, for each modality.
ENCODERS = {"text": "minilm-l6", "speech": "whisper-tiny-en", "vision": "dinov2-small-shaped"}
_MOST_GROUPS, _PARTS = 10, 5


@dataclass(frozen=True)
class DatasetDraft:
    """A configuration overlay for one dataset, and what its samples turned out to be.

    Attributes:
        overlay: datasets, encoders and experiments, ready for `snakemake --configfile`.
        samples: number of samples.
        classes, groups, splits: number of samples by name.
        notes: what the user should know, such as leakage.
    """

    overlay: dict[str, Any]
    samples: int
    classes: dict[str, int]
    groups: dict[str, int]
    splits: dict[str, int]
    notes: list[str] = field(default_factory=list)


def draft_dataset(
    name: str,
    path: str,
    kind: str | None,
    said: Mapping[str, str],
    columns: Mapping[str, str],
    model: str | None,
) -> DatasetDraft:
    """Look at files, write the overlay that reads them, and check it by listing the samples.

    Args:
        name: of the dataset in configurations and tables.
        path: file, folder, or hub id (with `revision` in `said`).
        kind: table, class_folders or huggingface; None to look.
        said: settings that the user gave (modality, revision, group_pattern, ...).
        columns: columns that the user named.
        model: encoder as a folder or hub id; None for the one that a run fetches.

    Raises:
        ConfigError: if a column or setting does not fit.
        DataError: if the files cannot be read, or have fewer than two classes.
    """
    if re.fullmatch(r"[a-z0-9][a-z0-9_.-]{0,63}", name) is None:
        raise ConfigError("not a name", where=name, expected="lower-case letters, digits, _ . and -")
    settings: dict[str, Any] = {"kind": kind or kind_of(Path(path)), "path": path}
    settings |= _look(settings, said, columns) | dict(said)
    config = DatasetConfig.model_validate(settings)
    frame = list_samples(name, config)
    settings["folds"] = _fold_rule(frame)
    config = DatasetConfig.model_validate(settings)
    return DatasetDraft(
        _overlay(name, settings, model),
        len(frame),
        _counts(frame["label"].map(dict(enumerate(frame.attrs["class_names"])))),
        _counts(frame["group"]),
        _counts(frame["split"]),
        _notes(name, frame, config),
    )


def _look(settings: Mapping[str, Any], said: Mapping[str, str], columns: Mapping[str, str]) -> dict[str, Any]:
    path = Path(settings["path"])
    if settings["kind"] == "table":
        return look_at_table(path, columns)
    if settings["kind"] == "huggingface":
        return look_at_hub(DatasetConfig.model_validate({**settings, **said}), columns)
    if columns:
        raise ConfigError("class folders have no columns", where=path, found=", ".join(columns.values()))
    return {} if "modality" in said else look_at_folder(path)


def _fold_rule(frame: pd.DataFrame) -> dict[str, Any]:
    """Return the dataset's own division if it has one, else groups, else equal parts."""
    if {"train", "validation"} <= set(frame["split"]):
        return {"rule": "split_column"}
    groups = frame["group"].nunique()
    if 1 < groups <= _MOST_GROUPS:
        return {"rule": "leave_one_group_out"}
    if groups > 1:
        return {"rule": "stratified_by_group", "count": _PARTS}
    smallest = int(frame["label"].value_counts().min())
    if smallest < 2:
        raise DataError(
            "a class has a single sample, which cannot be both trained on and scored on",
            where=frame.attrs["folder"],
            remedy="Add samples to it, or name the classes to keep under `labels`.",
        )
    return {"rule": "stratified", "count": min(_PARTS, smallest)}


def _overlay(name: str, settings: dict[str, Any], model: str | None) -> dict[str, Any]:
    modality = settings["modality"]
    path = model or f"resources/{ENCODERS[modality]}"
    encoder = re.sub(r"[^a-z0-9_.-]", "-", Path(path).name.lower())
    return {
        "datasets": {name: settings},
        "encoders": {encoder: {"modality": modality, "model": path}},
        "experiments": [{"dataset": name, "encoder": encoder}],
    }


def _counts(values: "pd.Series[Any]") -> dict[str, int]:
    return {str(key): int(count) for key, count in values[values != ""].value_counts().items()}


def _notes(name: str, frame: pd.DataFrame, config: DatasetConfig) -> list[str]:
    notes = []
    smallest = int(frame["label"].value_counts().min())
    largest = int(frame["label"].value_counts().max())
    if largest > 3 * smallest:
        notes.append(
            f"classes are uneven ({smallest} to {largest} samples): consider metric: balanced_accuracy"
        )
    found = find_leakage(frame, config.folds)
    if len(found):
        first = ", ".join(found["sample_id"].astype(str).head(4))
        notes.append(
            f"{len(found)} samples would be trained on and scored on at once ({first}): remove them, or set "
            f"datasets.{name}.accept_leakage: true"
        )
    return notes


def as_yaml(draft: DatasetDraft, file: Path) -> str:
    """Return the overlay as the text of a file that says what it is."""
    classes = ", ".join(f"{name} ({count})" for name, count in list(draft.classes.items())[:8])
    more = ", ..." if len(draft.classes) > 8 else ""
    head = f"# snakemake --configfile {file}\n# {draft.samples} samples: {classes}{more}\n"
    return head + yaml.safe_dump(draft.overlay, sort_keys=False, allow_unicode=True)
