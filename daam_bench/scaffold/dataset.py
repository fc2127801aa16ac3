"""The block of YAML of a user's own dataset, written after looking at its files and checked by listing it."""

import re
from collections.abc import Container, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd

from daam_bench.config import Config, DatasetConfig
from daam_bench.datasets.leakage import find_leakage
from daam_bench.errors import ConfigError
from daam_bench.scaffold.columns import Said
from daam_bench.scaffold.folds import (
    choose_rule,
    choose_selection,
    choose_splits,
    said_of_rule,
    said_of_splits,
)
from daam_bench.scaffold.look import Seen, declare, kind_of, look
from daam_bench.scaffold.overlay import ENCODERS, base_config, choose_epochs, inherited, make_overlay
from daam_bench.scaffold.samples import list_usable

_SHOWN = 60


@dataclass(frozen=True)
class DatasetDraft:
    """A configuration overlay for one dataset, and what its samples turned out to be.

    Attributes:
        overlay: title, notes, datasets, encoders and experiments, ready for `snakemake --configfile`.
        samples: number of samples.
        classes, groups, splits: number of samples by name.
        choices: what was chosen and how to choose otherwise, by heading.
        notes: what the user should know, such as leakage.
    """

    overlay: dict[str, Any]
    samples: int
    classes: dict[str, int]
    groups: dict[str, int]
    splits: dict[str, int]
    choices: dict[str, str] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)


def draft_dataset(
    name: str,
    path: str,
    kind: str | None,
    said: Mapping[str, str],
    columns: Said,
    model: Mapping[str, str] | None = None,
    score_on: str | None = None,
    base: Path = Path("config.yaml"),
    grouped: bool = True,
) -> DatasetDraft:
    """Look at files, write the overlay that reads them, and check it by listing the samples.

    Args:
        name: of the dataset in configurations and tables.
        path: file, folder, or hub id (with `revision` in `said`).
        kind: table, class_folders or huggingface; None to look.
        said: settings that the user gave (modality, revision, group_pattern, ...).
        columns: columns that the user named.
        model: encoder, from `declare_model`; None for the one that a run fetches.
        score_on: split that scores; None for test, else validation.
        base: configuration that the overlay will be laid over, if it is there.
        grouped: whether a column with a usual name may be taken for groups.

    Raises:
        ConfigError: if a name, column or setting does not fit.
        DataError: if the files cannot be read, or have fewer than two classes.
    """
    below = base_config(base)
    _check_name(name, () if below is None else below.datasets)
    settings: dict[str, Any] = {"kind": kind or kind_of(path, said, columns), "path": path}
    seen = look(settings, said, columns)
    if not grouped and seen.settings.get("columns", {}).pop("group", None):
        seen.choices["group"] = "none (--group takes a column)"
    settings |= seen.settings | dict(said)
    if chosen := choose_splits(seen.splits, score_on, path):
        settings["splits"] = chosen
        seen.choices["splits"] = said_of_splits(seen.splits, chosen)
    elif seen.splits and seen.splits_without_labels:
        settings["splits"] = dict.fromkeys(seen.splits, "train")
    frame = list_usable(name, settings, seen, columns)
    _take_back_splits(chosen or {}, frame, seen)
    settings["folds"] = choose_rule(frame)
    config = declare(settings)
    seen.choices["folds"] = said_of_rule(settings["folds"], frame)
    training, protocol = _training(frame, config, seen, below)
    remarks = _remarks(seen, None if model else ENCODERS[settings["modality"]])
    if below is not None and (small := inherited(below, base, training)):
        remarks.append(small)
    classes = dict(enumerate(frame.attrs["class_names"]))
    return DatasetDraft(
        make_overlay(name, settings, model, training, protocol, remarks),
        len(frame),
        _counts(frame["label"].map(classes)),
        _counts(frame["group"]),
        _counts(frame["split"]),
        seen.choices | _first(frame, classes),
        [*seen.left_out, *seen.notes, *_notes(name, frame, config, below)],
    )


def _take_back_splits(chosen: Mapping[str, str], frame: pd.DataFrame, seen: Seen) -> None:
    """Say that splits are not used after all, if one of the two sides has no sample that can be."""
    missing = set(chosen.values()) - set(frame["split"])
    if missing:
        del seen.choices["splits"]
        names = ", ".join(name for name, use in chosen.items() if use in missing)
        seen.left_out.append(f"{names}: no samples with a label, not used")


def _training(
    frame: pd.DataFrame, config: DatasetConfig, seen: Seen, below: Config | None
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the settings of training, and the switches, that few samples need."""
    training, protocol = choose_selection(frame, config.folds)
    if training or protocol:
        said = ", ".join(f"{key}: {value}" for key, value in (training | protocol).items())
        seen.choices["selection"] = (
            f"{said}; classes are too small for the usual tenth that chooses the epoch"
        )
    samples = int((frame["split"] == "train").sum()) if config.folds.rule == "split_column" else len(frame)
    if below is not None and (epochs := choose_epochs(below.training, samples)):
        training |= {"epochs": epochs}
        seen.choices["epochs"] = f"{epochs}, as {below.training.epochs} would be too few steps on few samples"
    return training, protocol


def _check_name(name: str, taken: Container[str]) -> None:
    if re.fullmatch(r"[a-z0-9][a-z0-9_.-]{0,63}", name) is None:
        near = re.sub(r"[^a-z0-9_.-]+", "_", name.lower()).strip("_.-")[:64]
        raise ConfigError(
            "not a name",
            where=name,
            expected="lower-case letters, digits, _ . and -",
            remedy=f"Did you mean {near!r}?" if near else None,
        )
    if name in taken:
        raise ConfigError(
            "config.yaml has a dataset of this name, and settings of both would be mixed",
            where=name,
            remedy="Choose another name.",
        )


def _counts(values: "pd.Series[Any]") -> dict[str, int]:
    return {str(key): int(count) for key, count in values[values != ""].value_counts().items()}


def _first(frame: pd.DataFrame, classes: Mapping[int, str]) -> dict[str, str]:
    """Return the first sample as it is read, so that a wrong column shows."""
    row = frame.iloc[0]
    content = str(row["text"] if "text" in row else row.get("file", row["sample_id"]))
    short = content if len(content) <= _SHOWN else f"{content[:_SHOWN]}..."
    return {"first sample": f"{short!r} is of class {classes[int(row['label'])]!r}"}


def _remarks(seen: Seen, encoder: str | None) -> list[str]:
    """Return what a reader of the report must know of the choices, without how to choose otherwise."""
    told = [key for key in ("folds", "splits", "clips", "selection", "epochs") if key in seen.choices]
    remarks = [f"{key.capitalize()}: {seen.choices[key].partition(' (')[0]}." for key in told]
    if encoder is not None:
        remarks.append(f"Encoder: {encoder}, a small one that a run fetches by itself.")
    return remarks + [f"{note[0].upper()}{note[1:]}." for note in seen.left_out]


def _notes(name: str, frame: pd.DataFrame, config: DatasetConfig, below: Config | None) -> list[str]:
    notes = []
    sizes = frame["label"].value_counts()
    if sizes.max() > 3 * sizes.min():
        notes.append(
            f"classes are uneven ({sizes.min()} to {sizes.max()} samples): consider metric: balanced_accuracy"
        )
    found = find_leakage(frame, config.folds)
    if len(found):
        first = ", ".join(found["sample_id"].astype(str).head(4))
        notes.append(
            f"{len(found)} samples would be trained on and scored on at once ({first}): remove them, or set "
            f"datasets.{name}.accept_leakage: true, or the run will stop"
        )
    if below is None:
        notes.append("there is no config.yaml here: run snakemake in the folder that has it")
    return notes
