"""A folder of class folders with images or recordings, with or without split folders above them."""

import logging
import os
import re
from pathlib import Path

import pandas as pd

from daam_bench.config import DatasetConfig
from daam_bench.datasets.base import DatasetKind
from daam_bench.datasets.declaration import use_of_splits
from daam_bench.errors import ConfigError, DataError

CLASS_FOLDERS = DatasetKind(
    name="class_folders",
    title="A folder of class folders with images or recordings",
    reader="daam_bench.datasets.class_folders:read_class_folders",
    settings=("modality", "labels", "splits", "group_pattern"),
)
ENDINGS = {
    "vision": {".bmp", ".gif", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp"},
    "speech": {".aif", ".aiff", ".flac", ".mp3", ".oga", ".ogg", ".opus", ".wav"},
}
_SPLIT_NAMES = {"train", "training", "validation", "valid", "val", "test"}


def read_class_folders(config: DatasetConfig) -> pd.DataFrame:
    """Return one row a file, in the order of their paths; a label is a folder's name.

    Raises:
        DataError: if the folder has no class folders with files of the modality.
        ConfigError: if the group pattern does not fit.
    """
    root = Path(config.path)
    modality = CLASS_FOLDERS.modality_of(config, str(root))
    if modality not in ENDINGS:
        raise ConfigError("class folders hold images or audio", where=root, found=f"modality: {modality}")
    top = sorted(entry.name for entry in root.iterdir() if entry.is_dir()) if root.is_dir() else []
    has_splits = config.splits is not None or (bool(top) and set(top) <= _SPLIT_NAMES)
    uses = use_of_splits(top, config.splits, root) if has_splits else {}
    rows = []
    for file in _files(root, ENDINGS[modality]):
        parts = file.split("/")
        split = uses.get(parts[0]) if has_splits else ""
        if len(parts) < 2 + has_splits or split is None:
            continue
        below = "/".join(parts[1 + has_splits :])
        rows.append((file, parts[int(has_splits)], _group(config.group_pattern, below), split, file))
    if not rows:
        raise DataError(
            f"no class folders with files of {modality}",
            where=root,
            expected=f"<class>/<file> or <split>/<class>/<file> with {', '.join(sorted(ENDINGS[modality]))}",
            found=", ".join(top[:5]) or "no folders",
        )
    return pd.DataFrame(rows, columns=["sample_id", "label", "group", "split", "file"])


def _files(root: Path, endings: set[str]) -> list[str]:
    """Return the paths of files below a folder; links to folders are not followed."""
    found, others = [], 0
    for folder, _, names in os.walk(root):
        for name in names:
            if name.startswith("."):
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


def _group(pattern: str | None, path: str) -> str:
    if pattern is None:
        return ""
    try:
        found = re.search(pattern, path)
        if found is not None and found.lastindex:
            return found.group(1)
    except re.error as error:
        raise ConfigError(
            f"is no regular expression ({error})", where="group_pattern", found=pattern
        ) from None
    raise ConfigError(
        "finds no group in a path", where="group_pattern", expected="one bracket that matches", found=path
    )
