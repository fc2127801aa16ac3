"""Look at files and say how they are laid out: kind, modality, columns, splits."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from daam_bench.config import DatasetConfig, Modality
from daam_bench.datasets.class_folders import ENDINGS
from daam_bench.errors import DataError, unknown_name

_LABELS = (
    "label",
    "labels",
    "class",
    "category",
    "target",
    "emotion",
    "sentiment",
    "intent",
    "topic",
    "stars",
)
_TEXTS = ("text", "content", "sentence", "review", "body", "message", "utterance", "document", "title")
_FILES = ("file", "path", "filename", "file_name", "filepath", "image", "audio", "wav", "img")
_GROUPS = ("group", "speaker", "speaker_id", "session", "source", "subject", "author", "user", "client_id")
_SPLITS = ("split", "set", "subset", "partition")
_IDS = ("id", "sample_id", "uid", "key")
_MOST_CLASSES = 1000
_USES = {"train", "training", "validation", "valid", "val", "test"}


def kind_of(path: Path) -> str:
    """Return the kind that a path is of: a file is a table, a folder has class folders or a saved dataset."""
    if path.is_file():
        return "table"
    saved = ("dataset_dict.json", "dataset_info.json")
    if not path.exists() or any((path / name).exists() for name in saved):
        return "huggingface"
    return "class_folders"


def look_at_table(path: Path, said: Mapping[str, str]) -> dict[str, Any]:
    """Return modality and columns of a table.

    Args:
        path: CSV, TSV or Parquet.
        said: columns that the user named (content, label, group, split, sample_id); the rest is looked for.

    Raises:
        DataError: if the table cannot be read, or no column can be told to hold labels or contents.
        ConfigError: if a column that the user named does not exist.
    """
    from daam_bench.datasets.table import open_table

    table = open_table(path).astype(str)
    columns = _columns(table, said, path)
    content = columns["content"]
    modality: Modality = _modality_of_files(table[content].head(200)) or "text"
    return {"modality": modality, "columns": columns}


def look_at_folder(path: Path) -> dict[str, Any]:
    """Return the modality of class folders, by the endings of most files.

    Raises:
        DataError: if no file of a known ending is in it.
    """
    names = (file.name for file in path.rglob("*") if file.is_file() and not file.name.startswith("."))
    modality = _modality_of_files(names)
    if modality is None:
        known = sorted(ending for endings in ENDINGS.values() for ending in endings)
        raise DataError(
            "no images or recordings below this folder", where=path, expected=f"files with {', '.join(known)}"
        )
    return {"modality": modality}


def look_at_hub(config: DatasetConfig, said: Mapping[str, str]) -> dict[str, Any]:
    """Return modality and columns of a Hugging Face dataset, from the features of its first split.

    Raises:
        DataError: if it cannot be loaded, or no column can be told to hold labels or contents.
    """
    from daam_bench.datasets.hugging_face import load_splits

    data = next(iter(load_splits(config).values()))
    kinds = {name: type(feature).__name__ for name, feature in data.features.items()}
    media: dict[str, Modality] = {"Image": "vision", "Audio": "speech"}
    found = next((name for name, kind in kinds.items() if kind in media), None)
    label = next((name for name, kind in kinds.items() if kind == "ClassLabel"), None)
    said = ({"content": found} if found else {}) | ({"label": label} if label else {}) | dict(said)
    plain = [name for name, kind in kinds.items() if kind not in media]
    table = pd.DataFrame({n: [str(v) for v in data[:1000][n]] for n in plain})
    columns = _columns(table if found is None else table.assign(**{found: ""}), said, config.path)
    columns.pop("split", None)
    return {"modality": media[kinds[found]] if found else "text", "columns": columns}


def _columns(table: pd.DataFrame, said: Mapping[str, str], where: object) -> dict[str, str]:
    """Return the columns by what they hold: those named by the user, by usual names, then by their values."""
    names = [str(name) for name in table.columns]
    for column in said.values():
        if column not in names:
            raise unknown_name("column", column, names, where)
    distinct = table.nunique()
    columns = dict(said)
    left = [name for name in names if name not in columns.values()]
    if "label" not in columns:
        few = [n for n in left if 2 <= distinct[n] <= min(_MOST_CLASSES, len(table) // 2)]
        label = _named(few, _LABELS) or min(few, key=lambda n: (distinct[n], names.index(n)), default=None)
        columns["label"] = _found(label, "label", names, where)
    left = [name for name in left if name != columns["label"]]
    if "content" not in columns:
        lengths = {name: table[name].str.len().mean() for name in left}
        content = _named(left, _FILES if _has_files(table, left) else _TEXTS) or max(
            left, key=lambda n: lengths[n], default=None
        )
        columns["content"] = _found(content, "content", names, where)
    left = [name for name in left if name != columns["content"]]
    for role, usual in (("group", _GROUPS), ("split", _SPLITS), ("sample_id", _IDS)):
        name = _named(left, usual)
        if role in columns or name is None:
            continue
        values = set(table[name])
        fits = {"group": 1 < len(values) < len(table), "split": values <= _USES and len(values) > 1}
        if fits.get(role, len(values) == len(table)):
            columns[role] = name
    order = ("content", "label", "group", "split", "sample_id")
    return {role: columns[role] for role in order if role in columns}


def _has_files(table: pd.DataFrame, names: Sequence[str]) -> bool:
    return any(_modality_of_files(table[name].head(200)) for name in names)


def _named(names: Sequence[str], usual: Sequence[str]) -> str | None:
    lower = {name.lower(): name for name in reversed(names)}
    return next((lower[name] for name in usual if name in lower), None)


def _found(column: str | None, role: str, names: Sequence[str], where: object) -> str:
    if column is None:
        raise DataError(
            f"cannot tell which column holds the {role}",
            where=where,
            expected=f"--{role} with one of {', '.join(names)}",
        )
    return column


def _modality_of_files(names: Iterable[str]) -> Modality | None:
    """Return the modality that most names have the ending of; None if most have neither."""
    counts: Counter[Modality | None] = Counter()
    for name in names:
        ending = Path(name).suffix.lower()
        counts[
            "vision" if ending in ENDINGS["vision"] else "speech" if ending in ENDINGS["speech"] else None
        ] += 1
    media = {kind: count for kind, count in counts.items() if kind is not None}
    if not media or max(media.values()) < counts[None]:
        return None
    return max(media, key=lambda kind: media[kind])
