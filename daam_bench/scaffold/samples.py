"""List a user's own samples, setting what must be set before they can be used: labels, groups, clips."""

import hashlib
from collections.abc import Mapping
from pathlib import Path
from pkgutil import resolve_name
from typing import Any

import pandas as pd

from daam_bench.datasets.declaration import label_classes
from daam_bench.datasets.listing import list_samples
from daam_bench.datasets.registry import dataset_kind
from daam_bench.errors import DataError
from daam_bench.scaffold.folds import is_pure, rare_classes
from daam_bench.scaffold.look import Seen, declare
from daam_bench.scaffold.media import unreadable

_NOTHING = hashlib.sha256(b"").hexdigest()
_LONGEST_SECONDS = 30  # what Whisper takes, and within what others do
_SHOWN = 8


def list_usable(name: str, settings: dict[str, Any], seen: Seen, said: Mapping[str, Any]) -> pd.DataFrame:
    """Return the samples of a dataset; `settings` gets what they need, `seen` what was decided and why.

    Args:
        name: of the dataset.
        settings: of the dataset; labels, groups and clip_seconds are set where needed.
        seen: gets notes and choices.
        said: roles and settings that the user named, which are not changed.

    Raises:
        DataError: if the samples cannot be used at all.
    """
    if seen.unlabelled:
        settings["labels"] = _labels_that_are_there(settings)
        seen.left_out.append("samples without a label are left out")
    frame = _listed(name, settings)
    _check_files(frame, settings, seen)
    frame = _without_rare_classes(name, settings, frame, seen)
    group = settings.get("columns", {}).get("group")
    if group is not None and "group" not in said and is_pure(frame):
        del settings["columns"]["group"]
        seen.choices["group"] = f"none; column {group} holds groups of one class (--group {group} takes it)"
        frame = _listed(name, settings)
    if settings["modality"] != "text":
        frame = _decodable(name, settings, frame, seen)
    return frame


def _listed(name: str, settings: Mapping[str, Any]) -> pd.DataFrame:
    return list_samples(name, declare(settings))


def _labels_that_are_there(settings: Mapping[str, Any]) -> dict[str, str]:
    """Return every label but the empty one, in the order of classes, as `labels` names those to keep."""
    config = declare(settings)
    labels = resolve_name(dataset_kind(config.kind).reader)(config)["label"]
    classes, _ = label_classes(labels[labels.str.strip() != ""], None, config.path)
    return {label: label for label in classes}


def _without_rare_classes(
    name: str, settings: dict[str, Any], frame: pd.DataFrame, seen: Seen
) -> pd.DataFrame:
    """Leave out classes that cannot be both trained and scored on, unless there are splits already."""
    classes, rare = frame.attrs["class_names"], rare_classes(frame)
    if not rare or {"train", "validation"} <= set(frame["split"]):
        return frame
    shown = ", ".join(rare[:_SHOWN]) + (", ..." if len(rare) > _SHOWN else "")
    if len(rare) > len(classes) - 2:
        raise DataError(
            "a class needs two different samples, one to train on and one to score on",
            where=settings["path"],
            found=f"one in {shown}",
        )
    settings["labels"] = {label: label for label in classes if label not in rare}
    seen.left_out.append(f"classes with a single sample are left out, as none could score them: {shown}")
    return _listed(name, settings)


def _check_files(frame: pd.DataFrame, settings: Mapping[str, Any], seen: Seen) -> None:
    """Say how many texts are empty; refuse a table none of whose files is there."""
    if "text" in frame and (empty := int((frame["text"].str.strip() == "").sum())):
        seen.notes.append(f"{empty} texts are empty and will be left out")
    if "file" not in frame or not (frame["content_key"] == _NOTHING).all():
        return
    folder, first = Path(frame.attrs["folder"]), str(frame["file"].iloc[0])
    found = next(folder.rglob(Path(first.replace("\\", "/")).name), None)
    raise DataError(
        "none of its files is there",
        where=settings["path"],
        expected=f"paths relative to the table's folder, {folder}",
        found=first,
        remedy=None if found is None else f"This one is {found.relative_to(folder)}: correct the column.",
    )


def _decodable(name: str, settings: dict[str, Any], frame: pd.DataFrame, seen: Seen) -> pd.DataFrame:
    """Return the samples, as clips if some are too long; say how many cannot be decoded."""
    bad, seconds = unreadable(frame, settings["modality"])
    if bad:
        seen.notes.append(
            f"{len(bad)} of {len(frame)} files cannot be decoded and will be left out ({', '.join(bad[:3])})"
        )
    if seconds <= _LONGEST_SECONDS or "clip_seconds" in settings:
        return frame
    settings["clip_seconds"] = _LONGEST_SECONDS
    said = f"recordings are up to {seconds:.0f} s long and are cut into clips of {_LONGEST_SECONDS} s"
    if (frame["group"] == "").all() and "content" not in frame:
        # Clips of one recording must not be on both sides of a fold.
        if settings["kind"] == "table":
            settings["columns"] = {**settings["columns"], "group": settings["columns"]["content"]}
        else:
            settings["group_pattern"] = "(.*)"
        said += ", those of one recording together"
    seen.choices["clips"] = f"{said} (`clip_seconds`)"
    return _listed(name, settings)
