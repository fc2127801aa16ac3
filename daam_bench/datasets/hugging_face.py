"""A dataset of the Hugging Face hub at a pinned commit, or one that lies in a folder."""

import os
import stat
from collections.abc import Mapping
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

import pandas as pd

from daam_bench.config import DatasetConfig
from daam_bench.contents import read_sample
from daam_bench.datasets.base import DatasetKind
from daam_bench.datasets.declaration import (
    as_text,
    check_columns,
    columns_of,
    refuse_no_text,
    use_of_splits,
)
from daam_bench.datasets.hub import load_at_commit
from daam_bench.datasets.table import (
    PARQUET,
    encoding_of,
    open_table,
    refuse_no_classes,
    tables_of_splits,
)
from daam_bench.errors import ConfigError, DataError

HUGGING_FACE = DatasetKind(
    name="huggingface",
    title="A Hugging Face dataset",
    reader="daam_bench.datasets.hugging_face:read_hugging_face",
    settings=("modality", "subset", "columns", "labels", "splits"),
    source="a Hugging Face dataset",
)


def read_hugging_face(config: DatasetConfig) -> pd.DataFrame:
    """Return one row a sample of the splits that are used; a label is the name of its class.

    Raises:
        DataError: if the dataset cannot be loaded, or a column of texts has none.
        ConfigError: if a column or split is not there.
    """
    loaded = load_splits(config)
    uses = use_of_splits(list(loaded), config.splits, config.path)
    modality = HUGGING_FACE.modality_of(config, config.path)
    content, columns = columns_of(config, modality)
    parts = []
    for split, use in uses.items():
        data = loaded[split]
        check_columns(data.column_names, content, columns, f"{config.path} ({split})")
        names = [f"{split}/{row}" for row in range(len(data))]
        texts = partial(_texts, data, where=config.path)
        part = pd.DataFrame(
            {
                "sample_id": names if columns.sample_id is None else texts(columns.sample_id),
                "label": _labels(data, columns.label, config),
                "group": "" if columns.group is None else [g.strip() for g in texts(columns.group)],
                "split": use if len(uses) > 1 or config.splits else "",
            }
        )
        if modality == "text":
            part["text"] = [" ".join(row) for row in zip(*map(texts, content), strict=True)]
        else:
            part["content"] = encoded_files(data, content[0], config.path)
        parts.append(part)
    return pd.concat(parts, ignore_index=True)


def load_splits(config: DatasetConfig) -> dict[str, Any]:
    """Return the splits of a dataset by name, from a folder or, at a commit, from the hub.

    Raises:
        ConfigError: if a hub id has no commit.
        DataError: if it cannot be loaded.
    """
    from datasets import Dataset, disable_progress_bars, load_from_disk
    from datasets.exceptions import DatasetsError
    from yaml import YAMLError

    # Its README.md has settings, too, which may be anything.
    refusals = (DatasetsError, YAMLError, OSError, ValueError, RuntimeError, TypeError, AttributeError)
    disable_progress_bars()
    path = Path(config.path)
    if not path.exists() and config.revision is None:
        raise ConfigError(
            "no such folder, and a hub id needs a pinned revision",
            where=config.path,
            remedy="Set datasets.<name>.revision to a commit of the dataset.",
        )
    try:
        if (path / "dataset_dict.json").exists() or (path / "dataset_info.json").exists():
            loaded = load_from_disk(config.path)
        elif path.is_dir() and (odd := _not_a_file(path)):
            raise DataError("is no regular file", where=odd, remedy="Move it out of the dataset's folder.")
        elif tables := _texts_of_splits(path):
            loaded = {file.stem: _read_all(file) for file in tables}
        else:
            loaded = load_at_commit(config.path, config.subset, config.revision)
    except refusals as error:
        first = (str(error).splitlines() or [type(error).__name__])[0]
        raise DataError(f"cannot be loaded ({first})", where=config.path) from None
    return {"train": loaded} if isinstance(loaded, Dataset) else dict(loaded)


def _not_a_file(folder: Path) -> Path | None:
    """Return the first pipe, device or link to one below a folder: reading it might never end."""
    for place, _, names in os.walk(folder):
        for name in sorted(names):
            with suppress(OSError):  # a link to nothing, which the reader names
                if not stat.S_ISREG((found := Path(place, name)).stat().st_mode):
                    return found
    return None


def _texts_of_splits(folder: Path) -> list[Path]:
    """Return the CSV or TSV file of each split; nothing of Parquet, which has types that `datasets` knows."""
    files = tables_of_splits(folder) if folder.is_dir() else []
    return [] if any(file.suffix.lower() in PARQUET for file in files) else files


def _read_all(file: Path) -> Any:
    """Return a table as kind `table` reads it: every field is text, and NA is one."""
    from datasets import Dataset

    table = open_table(file, encoding_of(file)).apply(as_text)
    return Dataset.from_pandas(table, preserve_index=False)


def label_names(data: Any, column: str) -> list[str]:
    """Return the label of each row as text without spaces around it.

    A class index becomes a name, and -1, which means unlabelled, nothing.
    """
    names = getattr(data.features[column], "names", None)
    if names is None:
        return [text.strip() for text in _texts(data, column, column)]
    return ["" if value is None or value < 0 else names[value] for value in data[column]]


def _labels(data: Any, column: str, config: DatasetConfig) -> list[str]:
    """Return what `label_names` does, of a column whose values can be classes."""
    if config.labels is None and getattr(data.features[column], "names", None) is None:
        refuse_no_classes(data[column], column, config.path)
    return label_names(data, column)


def _texts(data: Any, column: str, where: str) -> list[str]:
    values = data[column]
    refuse_no_text(values, column, where)
    return as_text(pd.Series(list(values), dtype=object)).tolist()


def encoded_files(data: Any, column: str, where: str) -> list[bytes]:
    """Return the bytes of the encoded image or audio file of each row, undecoded; b"" where there is none.

    A row that only names a file has it below the dataset's folder, or in the caches of the hub.

    Raises:
        DataError: if the column has other content.
    """
    from datasets import Audio, Image

    feature = data.features[column]
    if isinstance(feature, Audio | Image):
        data = data.cast_column(column, type(feature)(decode=False))
    elif not _is_binary(feature) and not _is_file(feature):
        raise DataError(
            "is no column of images or audio",
            where=column,
            expected="images, audio, their bytes, or structs of bytes and path",
            found=getattr(feature, "dtype", type(feature).__name__),
        )
    return [_encoded(row, where) for row in data[column]]


def _is_binary(feature: Any) -> bool:
    return "binary" in str(getattr(feature, "dtype", ""))


def _is_file(feature: Any) -> bool:
    """Return whether a column has what `datasets` stores of an image, though nothing says that it is one."""
    return isinstance(feature, dict) and set(feature) == {"bytes", "path"} and _is_binary(feature["bytes"])


def _encoded(row: Mapping[str, Any] | bytes | None, where: str) -> bytes:
    from datasets.config import HF_DATASETS_CACHE
    from huggingface_hub.constants import HF_HUB_CACHE

    if isinstance(row, bytes):
        return row
    if row is not None and row["bytes"] is not None:
        return bytes(row["bytes"])
    if row is not None and row["path"] is not None:
        for folder in (where, Path(where).resolve(), HF_DATASETS_CACHE, HF_HUB_CACHE):
            with suppress(DataError):
                return read_sample(Path(folder), row["path"])[0]
    return b""  # the listing says so
