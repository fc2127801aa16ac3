"""List a user's own samples, setting what must be set before they can be used: labels, groups, clips."""

from collections.abc import Collection, Mapping
from glob import escape
from pathlib import Path
from pkgutil import resolve_name
from typing import Any

import pandas as pd

from daam_bench.contents import recording_of
from daam_bench.datasets.declaration import label_classes
from daam_bench.datasets.file_pattern import files_folder
from daam_bench.datasets.listing import list_samples
from daam_bench.datasets.registry import dataset_kind
from daam_bench.errors import DataError
from daam_bench.scaffold.folds import rare_classes, trouble_with_groups
from daam_bench.scaffold.look import Seen, declare
from daam_bench.scaffold.media import unreadable

_LONGEST_SECONDS = 30  # what Whisper takes, and within what others do
_SHOWN = 8


def list_usable(name: str, settings: dict[str, Any], seen: Seen, said: Mapping[str, Any]) -> pd.DataFrame:
    """Return the samples of a dataset that a run can use; `settings` gets what they need.

    Args:
        name: of the dataset.
        settings: of the dataset; labels, groups and clip_seconds are set where needed.
        seen: gets notes and choices: what was decided and why.
        said: roles and settings that the user named, which are not changed.

    Raises:
        DataError: if the samples cannot be used at all.
    """
    if seen.unlabelled or seen.no_classes:
        settings["labels"] = _labels_that_are_there(settings, seen.no_classes)
    if seen.unlabelled:
        seen.left_out.append("samples without a label are left out")
    if settings["kind"] == "table" and settings["modality"] != "text":
        _check_files(settings)
    frame = _listed(name, settings)
    if "text" in frame and (empty := int((frame["text"].str.strip() == "").sum())):
        seen.notes.append(f"{empty} texts are empty and will be left out")
    bad: set[str] = set()
    if settings["modality"] != "text":
        frame, bad = _decodable(name, settings, frame, seen)
    frame = _without(frame, bad)
    if _set_labels(settings, frame, seen):
        frame = _without(_listed(name, settings), bad)
    if "group" not in said and _drop_group(settings, frame, seen):
        frame = _without(_listed(name, settings), bad)
    return frame


def _without(frame: pd.DataFrame, bad: Collection[str]) -> pd.DataFrame:
    """Leave out samples without a content, and those whose content cannot be decoded."""
    keys = frame["content_key"]
    kept = frame[~keys.str.startswith("none-") & ~keys.map(recording_of).isin(bad)].reset_index(drop=True)
    kept.attrs = frame.attrs
    return kept


def _listed(name: str, settings: Mapping[str, Any]) -> pd.DataFrame:
    return list_samples(name, declare(settings))


def _labels_that_are_there(settings: Mapping[str, Any], but: Collection[str]) -> dict[str, str]:
    """Return every label but the empty one and some others, in order, as `labels` names those to keep."""
    config = declare(settings)
    labels = resolve_name(dataset_kind(config.kind).reader)(config)["label"]
    classes, _ = label_classes(labels[(labels.str.strip() != "") & ~labels.isin(but)], None, config.path)
    return {label: label for label in classes}


def _set_labels(settings: dict[str, Any], frame: pd.DataFrame, seen: Seen) -> bool:
    """Leave out classes that cannot be both trained and scored on, unless there are splits already."""
    classes, rare = frame.attrs["class_names"], rare_classes(frame)
    if not rare or {"train", "validation"} <= set(frame["split"]):
        return False
    shown = ", ".join(rare[:_SHOWN]) + (", ..." if len(rare) > _SHOWN else "")
    if len(rare) > len(classes) - 2:
        raise DataError(
            "a class needs two different samples, one to train on and one to score on",
            where=settings["path"],
            found=f"one in {shown}",
        )
    settings["labels"] = {label: label for label in classes if label not in rare}
    seen.left_out.append(f"classes with a single sample or none are left out: {shown}")
    return True


def _drop_group(settings: dict[str, Any], frame: pd.DataFrame, seen: Seen) -> bool:
    """Take no column for groups by itself that cannot be; its name alone says that it has any."""
    group = settings.get("columns", {}).get("group")
    why = None if group is None else trouble_with_groups(frame)
    if why is None:
        return False
    del settings["columns"]["group"]
    seen.choices["group"] = f"none; column {group} holds {why} (--group {group} takes it)"
    return True


def _check_files(settings: Mapping[str, Any]) -> None:
    """Refuse a table none of whose files is there.

    Raises:
        DataError: with the place of the first, if it lies elsewhere below the table's folder.
    """
    config = declare(settings)
    folder = files_folder(config)
    files = [str(file) for file in resolve_name(dataset_kind(config.kind).reader)(config)["file"]]
    if not files or any((folder / file).exists() for file in files):
        return
    name = Path(files[0].replace("\\", "/")).name
    found = next(folder.rglob(escape(name)), None) if name else None
    raise DataError(
        "none of its files is there",
        where=settings["path"],
        expected=f"paths relative to {folder}, in column {settings['columns']['content']}",
        found=files[0],
        remedy="Take another column by --content, or give the folder that holds both the table and the files."
        if found is None
        else f"This one is {found.relative_to(folder)}: correct the column, or say it by `files`.",
    )


def _decodable(
    name: str, settings: dict[str, Any], frame: pd.DataFrame, seen: Seen
) -> tuple[pd.DataFrame, set[str]]:
    """Return the samples, as clips if some are too long, and the contents that cannot be decoded."""
    bad, seconds = unreadable(frame, settings["modality"])
    if bad:
        seen.notes.append(
            f"{len(bad)} of {len(frame)} files cannot be used and will be left out ({', '.join(bad[:3])})"
        )
    contents = set(frame.loc[frame["sample_id"].isin(bad), "content_key"])
    if seconds > _LONGEST_SECONDS and "clip_seconds" not in settings:
        settings["clip_seconds"] = _LONGEST_SECONDS
        seen.choices["clips"] = (
            f"recordings are up to {seconds:.0f} s long and are cut into clips of {_LONGEST_SECONDS} s, "
            "those of one recording together (`clip_seconds`)"
        )
        frame = _listed(name, settings)
    return frame, contents
