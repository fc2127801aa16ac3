"""Where the files lie that a table names: in its folder, or where the dataset's setting `files` says."""

import os
import re
from pathlib import Path, PurePosixPath

import pandas as pd

from daam_bench.config import DatasetConfig
from daam_bench.datasets.declaration import as_text
from daam_bench.errors import unknown_name

CONTENT = "{content}"
_PLACE = re.compile(r"(\{[^{}]+\})")


def files_folder(config: DatasetConfig) -> Path:
    """Return the folder that a dataset's files are relative to, and that none of them may lead out of.

    It is the dataset's own folder, or what `files` has before its first bracket: the user says it, no row.
    """
    path = Path(config.path)
    folder = path if path.is_dir() else path.parent
    fixed = _divided(config.files)[0]
    return folder if fixed == "" else Path(os.path.normpath(folder / fixed))


def file_paths(table: pd.DataFrame, content: str, config: DatasetConfig) -> pd.Series:
    """Return the path of each row's file, relative to `files_folder`.

    Raises:
        ConfigError: if `files` names a column that is not there.
    """
    pattern = _divided(config.files)[1]
    if not {CONTENT, f"{{{content}}}"} & set(_PLACE.findall(pattern)):
        pattern = f"{pattern}/{CONTENT}" if pattern else CONTENT
    for column in _PLACE.findall(pattern):
        if column != CONTENT and column[1:-1] not in table.columns:
            raise unknown_name("column", column[1:-1], table.columns, f"{config.path}: files")
    return filled(pattern, table, content)


def filled(pattern: str, table: pd.DataFrame, content: str) -> pd.Series:
    """Return a pattern with the values of each row in the place of its columns."""
    paths = pd.Series("", index=table.index, dtype=object)
    for place, part in enumerate(_PLACE.split(pattern)):  # every second part is a bracket
        paths += as_text(table[content if part == CONTENT else part[1:-1]]) if place % 2 else part
    return paths


def _divided(files: str | None) -> tuple[str, str]:
    """Return the folder at the head of a pattern, and the rest from the first part with a bracket on."""
    parts = PurePosixPath(files or "").parts
    first = next((place for place, part in enumerate(parts) if _PLACE.search(part)), len(parts))
    return str(PurePosixPath(*parts[:first])) if first else "", "/".join(parts[first:])
