"""Look at files and say how they are laid out: kind, modality, columns, splits."""

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from difflib import get_close_matches
from pathlib import Path
from typing import Any

import pandas as pd
from pydantic import ValidationError

from daam_bench.config import DatasetConfig, Modality
from daam_bench.datasets.class_folders import ENDINGS, media_files, split_folders, top_folders
from daam_bench.datasets.declaration import as_text, usual_splits
from daam_bench.datasets.table import (
    PARQUET,
    SEPARATORS,
    encoding_of,
    open_table,
    separator_of,
    tables_in,
    tables_of_splits,
)
from daam_bench.errors import ConfigError, DataError
from daam_bench.scaffold.columns import (
    Said,
    guess_columns,
    has_usual_label,
    is_usual_label,
    modality_of_column,
    modality_of_files,
    unused_splits,
)
from daam_bench.scaffold.doubts import lists_of_files, may_be_classes, no_classes, numbered_alike
from daam_bench.scaffold.files import EVERY, files_of, find_table, no_table

_LONGEST_NAME = 80
_SHOWN_SPLITS = 5
# What a folder of a split may be called with more words around it.
_PART = re.compile(r"(?:^|[_\-. ])(train|test|val)(?:ing|id|idation)?(?:$|[_\-. ])", re.IGNORECASE)


@dataclass
class Seen:
    """What was seen of files.

    Attributes:
        settings: of the dataset, as far as looking tells them.
        splits: names of its splits that have labels; empty if it has none.
        splits_without_labels: names of the others.
        unlabelled: whether some samples have no label.
        choices: what was chosen and how to choose otherwise, by the heading it is shown under.
        left_out: what takes no part, which a reader of the report must know.
        notes: what else the user should know.
        no_classes: folders that are no classes by their name.
    """

    settings: dict[str, Any]
    splits: list[str] = field(default_factory=list)
    splits_without_labels: list[str] = field(default_factory=list)
    unlabelled: bool = False
    choices: dict[str, str] = field(default_factory=dict)
    left_out: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    no_classes: list[str] = field(default_factory=list)


def declare(settings: Mapping[str, Any]) -> DatasetConfig:
    """Return the settings of a dataset, checked.

    Raises:
        ConfigError: naming the first setting that cannot be.
    """
    try:
        return DatasetConfig.model_validate(settings)
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(str(part) for part in first["loc"])
        raise ConfigError(first["msg"], where=place, found=first["input"]) from None


def kind_of(path: str, said: Mapping[str, str], columns: Said) -> str:
    """Return the kind that a path is of: table, class_folders or huggingface.

    A folder with files and a table that names them is a table, if one can tell that it has their labels:
    the user names a column, a column has a usual name, or no folder can be a class.

    Raises:
        ConfigError: if nothing lies there, and no revision says that it is a hub id.
    """
    place = Path(path)
    if place.is_file():
        return "table"
    if "revision" in said:
        return "huggingface"
    if not place.exists():
        beside = [str(other) for other in place.parent.glob("*")]
        near = get_close_matches(path, beside, n=1)
        raise ConfigError(
            "no such file or folder",
            where=path,
            remedy=f"Did you mean {near[0]!r}?" if near else "For a hub id say --revision with a commit.",
        )
    saved = any((place / name).exists() for name in ("dataset_dict.json", "dataset_info.json"))
    if not saved and not {"label_pattern", "group_pattern"} & set(said) and (table := find_table(place)):
        rows = open_table(table, said.get("encoding") or encoding_of(table)).apply(as_text)
        if columns or has_usual_label(rows, "") or not may_be_classes(media_files(place, EVERY)):
            return "table"
    # A table for each split: train.csv, test.csv.
    return "huggingface" if saved or tables_of_splits(place) else "class_folders"


def look(settings: Mapping[str, Any], said: Mapping[str, str], columns: Said) -> Seen:
    """Return what lies at a path.

    Args:
        settings: kind and path.
        said: settings that the user gave; these are not looked for.
        columns: columns that the user named; the rest is looked for.

    Raises:
        ConfigError: if a column that the user named does not exist, or a kind has none.
        DataError: if the files cannot be read, or no column can be told to hold labels or contents.
    """
    path = Path(settings["path"])
    if settings["kind"] == "table" and path.is_dir():
        table = find_table(path)
        if table is None:
            raise no_table(path)
        return look_at_table(table, said, columns, path)
    if settings["kind"] == "table":
        return look_at_table(path, said, columns, None)
    if settings["kind"] == "huggingface":
        return look_at_hub(declare({**settings, **said}), columns)
    if columns:
        raise ConfigError("class folders have no columns", where=path, found=", ".join(map(str, columns)))
    return look_at_folder(path, said)


def look_at_table(path: Path, said: Mapping[str, str], columns: Said, root: Path | None) -> Seen:
    """Return modality, columns, encoding and splits of a CSV, TSV or Parquet file, and where its files lie.

    Args:
        path: the table.
        said: settings that the user gave.
        columns: columns that the user named.
        root: folder that holds the table and its files; by default the table's.
    """
    encoding = said.get("encoding") or encoding_of(path)
    table = open_table(path, encoding).apply(as_text)
    _check_names(table, path)
    match = files_of(table, path, said, columns, root)
    found = guess_columns(table, columns if match is None else {**columns, "content": match.column}, path)
    content = found["content"]
    first = content if isinstance(content, str) else content[0]
    guessed = modality_of_column(table[first]) if match is None else modality_of_files([match.example])
    modality = said.get("modality") or guessed or "text"
    seen = Seen({"modality": modality, "columns": found} | ({"encoding": encoding} if encoding else {}))
    if root is not None:
        seen.settings["path"] = str(path)
        seen.choices["table"] = f"{path} (--kind class_folders takes the folders' names as labels)"
    if match is not None and match.files is not None:
        seen.settings["files"] = match.files
        seen.choices["files"] = f"{match.files}, as seen from the table's folder (`files`)"
    if match is not None and (missing := round((1 - match.share) * len(table))):
        seen.notes.append(f"{missing} of {len(table)} rows have no file there and will be left out")
    if not is_usual_label(found["label"]) and "label" not in columns:
        seen.notes.append(
            f"column {found['label']} is taken for the label because it has the fewest different values: "
            "--label takes another"
        )
    if (unused := unused_splits(table, found)) is not None:
        counts = table[unused].str.strip().value_counts().head(_SHOWN_SPLITS)
        values = ", ".join(f"{value!r}: {count} rows" for value, count in counts.items())
        seen.notes.append(
            f"column {unused} is not used, because its values are not all names of splits ({values}): rename "
            "them to train and test, or say by `columns.split` and `splits` what each is for"
        )
    seen.unlabelled = bool((table[found["label"]].str.strip() == "").any())
    seen.splits = sorted(set(table[found["split"]].str.strip())) if "split" in found else []
    separator = "" if path.suffix.lower() in PARQUET else separator_of(path, encoding or "utf-8-sig")
    marks = [f"separator {SEPARATORS[separator]}"] if separator else []
    seen.choices["file"] = ", ".join([f"{len(table)} rows", *marks, encoding or ""]).rstrip(", ")
    seen.choices |= _said_of_columns(found, list(table.columns))
    return seen


def look_at_folder(path: Path, said: Mapping[str, str]) -> Seen:
    """Return modality and splits of class folders; a folder that holds but a folder is stepped into."""
    every = EVERY
    files = media_files(path, every)
    modality: Any = said.get("modality") or modality_of_files(files)
    if modality is None:
        raise _no_media(path, every)
    files = [file for file in files if Path(file).suffix.lower() in ENDINGS.get(modality, every)]
    inner, by_name = path, "label_pattern" in said
    while not by_name and len(top := top_folders(files)) == 1 and _all_deeper(files):
        inner = inner / top[0]
        files = [file.partition("/")[2] for file in files]
    splits = _splits_of(files)
    if not by_name:
        _check_classes(path, inner, files, splits)
    seen = Seen({"path": str(inner), "modality": modality}, splits=splits)
    if not by_name and (empty := _empty_folders(inner, files)):
        seen.notes.append(
            f"folders without files of {modality}, which are no classes: {', '.join(empty[:8])}"
        )
    if not by_name and (left := no_classes(files)):
        seen.no_classes = left
        seen.left_out.append(f"folders whose name begins with _ are no classes: {', '.join(left)}")
    if not by_name and (doubt := numbered_alike(files)):
        seen.notes.append(doubt)
    if lists := lists_of_files(path, files):
        seen.notes.append(lists)
    if links := [entry.name for entry in sorted(inner.iterdir()) if entry.is_symlink() and entry.is_dir()]:
        seen.left_out.append(f"links to folders are not followed: {', '.join(links[:8])}")
    if others := _others(path, ENDINGS.get(modality, every)):
        seen.choices["left out"] = f"files of other endings: {others}"
    return seen


def _splits_of(files: Sequence[str]) -> list[str]:
    """Return the folders below the root if all are splits, or training and what it is scored on are there."""
    top = top_folders(files)
    uses = set(usual_splits(top).values())
    return top if "train" in uses and len(uses) > 1 else split_folders(files)


def _check_classes(path: Path, inner: Path, files: Sequence[str], splits: Sequence[str]) -> None:
    """Refuse folders whose names are no classes.

    Raises:
        DataError: if files lie in no folder, in splits without classes, or beside the table of their labels.
    """
    top, tables = top_folders(files), tables_in(path)
    if not top:
        raise _flat(inner, files)
    flat = max(file.count("/") for file in files) == 1
    parts = {match.group(1).lower() for name in top if (match := _PART.search(name))}
    if flat and tables and (len(top) == 1 or splits or len(parts) > 1):
        raise _flat(inner, files)
    if not splits and "train" in parts and len(parts) > 1:
        raise DataError(
            "these folders seem to be splits, not classes",
            where=inner,
            expected="folders train and test, or train and val, with the class folders right below each",
            found=", ".join(top),
            remedy="Rename them so, and move class folders up where they lie deeper.",
        )


def look_at_hub(config: DatasetConfig, said: Said) -> Seen:
    """Return modality, columns and splits of a Hugging Face dataset, from its features."""
    from daam_bench.datasets.hugging_face import label_names, load_splits

    loaded = load_splits(config)
    trained = [name for name, use in usual_splits(loaded).items() if use == "train"]
    data = loaded[next(iter([*trained, *loaded]))]
    kinds = {name: type(feature).__name__ for name, feature in data.features.items()}
    media: dict[str, Modality] = {"Image": "vision", "Audio": "speech"}
    found = next((name for name, kind in kinds.items() if kind in media), None)
    label = next((name for name, kind in kinds.items() if kind == "ClassLabel"), None)
    said = ({"content": found} if found else {}) | ({"label": label} if label else {}) | dict(said)
    plain = [name for name, kind in kinds.items() if kind not in media]
    first = data.select_columns(plain)[:1000]  # others might hold pictures, which are not to be opened
    table = pd.DataFrame({n: ["" if v is None else str(v) for v in first[n]] for n in plain})
    columns = guess_columns(table if found is None else table.assign(**{found: ""}), said, config.path)
    columns.pop("split", None)
    columns.pop("sample_id", None)  # it may begin anew in every split
    seen = Seen({"modality": media[kinds[found]] if found else "text", "columns": columns})
    labels = {
        name: set(label_names(part, columns["label"])) if columns["label"] in part.features else {""}
        for name, part in loaded.items()
    }
    # The test split of a competition has no labels.
    seen.splits = [name for name, values in labels.items() if len(values - {""}) > 1]
    seen.splits_without_labels = [name for name in labels if name not in seen.splits]
    if without := ", ".join(seen.splits_without_labels):
        seen.left_out.append(f"{without}: no labels of two classes, not used")
    seen.unlabelled = any("" in labels[name] for name in seen.splits)
    seen.choices = _said_of_columns(columns, list(data.features))
    return seen


def _said_of_columns(columns: Mapping[str, Any], names: Sequence[str]) -> dict[str, str]:
    """Say what each column is taken for and how to take another, and which are not used."""
    content = columns["content"]
    several = not isinstance(content, str)
    used = {*(content if several else [content]), *(v for k, v in columns.items() if k != "content")}
    shown = f"columns {' and '.join(content)}, joined by a space" if several else f"column {content}"
    choices = {
        "content": f"{shown} (--content takes others; several times to join)",
        "label": f"column {columns['label']} (--label takes another)",
    }
    choices |= {k: f"column {columns[k]} (--{k} takes another)" for k in ("group", "split") if k in columns}
    left = [name for name in names if name not in used]
    return choices | ({"not used": ", ".join(left)} if left else {})


def _check_names(table: pd.DataFrame, path: Path) -> None:
    """Refuse a table whose first row is data: a number or a long text, or a name that is a value below it."""
    names = [str(name) for name in table.columns]
    if names == [str(number) for number in range(len(names))]:
        return  # pandas names columns so that have no name
    for name in names:
        number = re.fullmatch(r"-?\d+([.,]\d+)?", name) is not None
        value = bool((table[name] == name).any()) and 2 * table[name].nunique() <= len(table)
        if number or value or len(name) > _LONGEST_NAME:
            raise DataError(
                "its first row seems to be data, not names of columns",
                where=path,
                found=name[:_LONGEST_NAME],
                remedy="Put a line of names first, such as text,label.",
            )


def _empty_folders(root: Path, files: Sequence[str]) -> list[str]:
    """Return the folders right below the root, or below its splits, that hold no file of the modality."""
    splits = split_folders(files)
    parents = [root / split for split in splits] or [root]
    folders = [p.relative_to(root) for parent in parents for p in sorted(parent.iterdir()) if p.is_dir()]
    full = {Path(*file.split("/")[: 2 if splits else 1]) for file in files}
    return [str(path) for path in folders if path not in full and not path.name.startswith((".", "__"))]


def _all_deeper(files: Sequence[str]) -> bool:
    return all(file.count("/") > 1 for file in files)


def _no_media(path: Path, known: set[str]) -> DataError:
    tables, others = tables_in(path), _others(path, known)
    remedy = "Convert them to one of these." if others else None
    return DataError(
        "no images or recordings below this folder",
        where=path,
        expected=f"files with {', '.join(sorted(known))}",
        found=others or None,
        remedy=f"For a table give the file: {tables[0]}." if tables else remedy,
    )


def _flat(path: Path, files: Sequence[str]) -> DataError:
    tables = tables_in(path)
    remedy = "--label-pattern is an expression whose bracket is the label in a name, such as '^([^_]+)_'."
    return DataError(
        "its files lie in no class folders",
        where=path,
        found=", ".join(files[:3]),
        remedy=f"Give the table with their labels: {tables[0]}." if tables else remedy,
    )


def _others(path: Path, known: set[str]) -> str:
    endings = Counter(
        file.suffix.lower() or file.name
        for file in path.rglob("*")
        if file.is_file() and not file.name.startswith(".") and file.suffix.lower() not in known
    )
    return ", ".join(f"{ending} ({count})" for ending, count in endings.most_common(5))
