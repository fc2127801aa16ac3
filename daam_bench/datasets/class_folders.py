"""Images or recordings, labelled by their folder or by their name, with or without split folders above."""

import logging
import os
import re
from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from daam_bench.config import DatasetConfig
from daam_bench.datasets.base import DatasetKind
from daam_bench.datasets.declaration import use_of_splits, usual_splits
from daam_bench.errors import ConfigError, DataError

CLASS_FOLDERS = DatasetKind(
    name="class_folders",
    title="A folder of class folders with images or recordings",
    reader="daam_bench.datasets.class_folders:read_class_folders",
    settings=("modality", "labels", "splits", "label_pattern", "group_pattern"),
)
ENDINGS = {
    "vision": {".bmp", ".gif", ".jfif", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp"},
    "speech": {".aif", ".aiff", ".flac", ".mp3", ".oga", ".ogg", ".opus", ".wav"},
}


def read_class_folders(config: DatasetConfig) -> pd.DataFrame:
    """Return one row a file, in the order of their paths; a label is a folder's name, or part of a file's.

    Raises:
        DataError: if the folder has no class folders with files of the modality, or splits beside others.
        ConfigError: if the label pattern or the group pattern does not fit.
    """
    root = Path(config.path)
    modality = CLASS_FOLDERS.modality_of(config, str(root))
    if modality not in ENDINGS:
        raise ConfigError("class folders hold images or audio", where=root, found=f"modality: {modality}")
    files = media_files(root, ENDINGS[modality])
    has_splits = config.splits is not None or bool(split_folders(files))
    if not has_splits and config.labels is None:
        _refuse_mixed(top_folders(files), root)
    uses = use_of_splits(top_folders(files), config.splits, root) if has_splits else {}
    rows = []
    for file in files:
        parts = file.split("/")
        split = uses.get(parts[0]) if has_splits else ""
        below = parts[int(has_splits) :]
        if split is None or len(below) < (2 if config.label_pattern is None else 1):
            continue
        if config.label_pattern is None:
            label, below = below[0], below[1:]
        else:
            label = _first_bracket(config.label_pattern, "/".join(below), "label")
        group = _first_bracket(config.group_pattern, "/".join(below), "group") if config.group_pattern else ""
        rows.append((file, label, group, split, file))
    if not rows:
        beside = sorted(entry.name for entry in root.iterdir()) if root.is_dir() else []
        raise DataError(
            f"no class folders with files of {modality}",
            where=root,
            expected=f"<class>/<file> or <split>/<class>/<file> with {', '.join(sorted(ENDINGS[modality]))}",
            found=", ".join(files[:3] or beside[:5]) or "no folders",
            remedy="Where the names of files say the class, set label_pattern." if files else None,
        )
    return pd.DataFrame(rows, columns=["sample_id", "label", "group", "split", "file"])


def _refuse_mixed(top: Sequence[str], root: Path) -> None:
    """Refuse folders that stand beside those of splits: all would be taken for classes."""
    usual = usual_splits(top)
    if len(usual) > 1 and "train" in usual.values():
        raise DataError(
            "some of its folders have the names of splits, others have not",
            where=root,
            found=", ".join(top),
            remedy="Name the splits under `splits` or the classes under `labels`, or move the others away.",
        )


def media_files(root: Path, endings: set[str]) -> list[str]:
    """Return the paths of files below a folder, sorted; links to folders are not followed.

    Hidden files and folders, and those that macOS adds to archives, are left out.

    Raises:
        DataError: if a name is not valid Unicode, which no table can hold.
    """
    found, others = [], 0
    for folder, folders, names in os.walk(root):
        folders[:] = [name for name in folders if not _hidden(name)]
        for name in names:
            if _hidden(name):
                continue
            path = Path(folder, name)
            if path.suffix.lower() in endings:
                _check_name(root, path)
                found.append(path.relative_to(root).as_posix())
            else:
                others += 1
    if others:
        logging.info("%s: %d files have other endings and are left out", root, others)
    return sorted(found)


def top_folders(files: Sequence[str]) -> list[str]:
    """Return the folders right below the root that files of `media_files` lie in."""
    return sorted({file.split("/")[0] for file in files if "/" in file})


def split_folders(files: Sequence[str]) -> list[str]:
    """Return the top folders if every one of them has a split's usual name, else nothing."""
    top = top_folders(files)
    return top if len(usual_splits(top)) == len(top) else []


def _hidden(name: str) -> bool:
    return name.startswith(".") or name == "__MACOSX"


def _check_name(root: Path, path: Path) -> None:
    """Refuse a name that no table can hold."""
    try:
        str(path).encode()
    except UnicodeEncodeError:
        raise DataError(
            "a file's name is not valid Unicode",
            where=root,
            found=ascii(str(path.relative_to(root))),
            remedy="Rename it, or move it away.",
        ) from None


def _first_bracket(pattern: str, path: str, what: str) -> str:
    """Return what the first bracket of a regular expression finds in a path."""
    where = f"{what}_pattern"
    try:
        found = re.search(pattern, path)
    except re.error as error:
        raise ConfigError(f"is no regular expression ({error})", where=where, found=pattern) from None
    if found is None or not found.lastindex or found.group(1) is None:
        raise ConfigError(
            f"finds no {what} in a path", where=where, expected="one bracket that matches", found=path
        )
    return found.group(1)
