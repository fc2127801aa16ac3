"""A CSV, TSV or Parquet file with a column of texts, or of paths of images or recordings."""

import bz2
import codecs
import csv
import gzip
import io
import logging
import lzma
import math
import stat
import warnings
import zlib
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd

from daam_bench.config import DatasetConfig
from daam_bench.datasets.base import DatasetKind
from daam_bench.datasets.declaration import (
    as_text,
    check_columns,
    columns_of,
    refuse_no_text,
    use_of_splits,
    usual_splits,
)
from daam_bench.datasets.file_pattern import file_paths
from daam_bench.errors import ConfigError, DataError, MachineError

TABLE = DatasetKind(
    name="table",
    title="A table with a column of texts or of file paths",
    reader="daam_bench.datasets.table:read_table",
    settings=("modality", "columns", "labels", "splits", "encoding", "files"),
)
SEPARATORS = {",": "comma", ";": "semicolon", "\t": "tab", "|": "bar"}
PARQUET = (".parquet", ".pq")
# Kinds of files that people call tables and that this does not read.
_OTHERS = (
    *(".xlsx", ".xls", ".ods", ".json", ".jsonl", ".arrow", ".feather", ".pkl"),
    *(".zip", ".rar", ".7z", ".zst", ".tar", ".tgz"),
)
_PACKED: dict[str, Callable[[Path], Any]] = {".gz": gzip.open, ".bz2": bz2.open, ".xz": lzma.open}
# What a packed table may unpack to: text has some tens of bytes for each, a bomb has thousands.
_MOST_UNPACKED, _MOST_TIMES, _SMALL = 2**30, 100, 2**20


def read_table(config: DatasetConfig) -> pd.DataFrame:
    """Return one row a row of the table; labels and groups are text without spaces around it.

    Raises:
        DataError: if the file cannot be read as a table, or a column holds lists, mappings or binary values.
        ConfigError: if a column is not there, or `files` is set for texts.
    """
    path = Path(config.path)
    table = open_table(path, config.encoding)
    modality = TABLE.modality_of(config, str(path))
    content, columns = columns_of(config, modality)
    check_columns([str(name) for name in table.columns], content, columns, path)
    for name in (*content, columns.group, columns.split, columns.sample_id):
        if name is not None:
            refuse_no_text(table[name], name, path)
    if modality != "text":
        contents = file_paths(table, content[0], config)
    elif config.files is not None:
        raise ConfigError("texts lie in the table itself", where=f"{path}: files", found=config.files)
    else:
        parts = [as_text(table[name]) for name in content]
        contents = parts[0] if len(parts) == 1 else pd.concat(parts, axis=1).agg(" ".join, axis=1)
    if config.labels is None:
        refuse_no_classes(table[columns.label], columns.label, path)
    splits = pd.Series("", index=table.index)
    if columns.split is not None:
        names = as_text(table[columns.split]).str.strip()
        splits = names.map(use_of_splits(sorted(set(names)), config.splits, path))
        for unused, count in names[splits.isna()].value_counts().items():
            logging.info("%s: %d rows of split %r are left out", path, count, unused)
    numbers = pd.Series([str(row) for row in range(len(table))], index=table.index)
    frame = pd.DataFrame(
        {
            "sample_id": numbers if columns.sample_id is None else as_text(table[columns.sample_id]),
            "label": as_text(table[columns.label]).str.strip(),
            "group": "" if columns.group is None else as_text(table[columns.group]).str.strip(),
            "split": splits,
            "text" if modality == "text" else "file": contents,
        }
    )
    return frame[frame["split"].notna()]


def refuse_no_classes(labels: Iterable[Any], column: str, where: object) -> None:
    """Refuse labels that would each be a class of their own without being meant so.

    Raises:
        DataError: if one is a list or a mapping, or a number with decimals.
    """
    for value in labels:
        if isinstance(value, (list, tuple, dict, np.ndarray)):
            what = "labels are lists, and a sample has one class"
        elif isinstance(value, float | np.floating) and math.isfinite(value) and value != int(value):
            what = "labels are numbers with decimals"
        else:
            continue
        raise DataError(
            what,
            where=f"{where}: {column}",
            expected="names or whole numbers",
            found=value,
            remedy="Set columns.label to the column of classes, or say under `labels` which class each is.",
        )


def open_table(path: Path, encoding: str | None = None) -> pd.DataFrame:
    """Return a table as its file has it, every field of CSV and TSV as text; names of columns are stripped.

    Args:
        path: Parquet by its ending; anything else is text with one of `SEPARATORS`, whichever divides the
            first line into the most columns.
        encoding: of the text; UTF-8, with or without a byte order mark, by default.

    Raises:
        DataError: if the file cannot be read as a table, or is packed and far larger than it looks.
        MachineError: if it does not fit into memory.
    """
    ending = path.suffix.lower()
    if path.stem.lower().endswith(".tar"):
        ending = ".tar"
    if ending in _OTHERS:
        raise DataError(
            f"tables are read from CSV, TSV and Parquet, not from {ending}",
            where=path,
            remedy="Save it as CSV (UTF-8).",
        )
    try:
        _check_regular(path)
        if ending in PARQUET:
            table = pd.read_parquet(path, dtype_backend="numpy_nullable")
        else:
            table = _read_text(path, encoding or "utf-8-sig")
    except UnicodeError as error:
        raise DataError(
            f"its text is not {encoding or 'UTF-8'} ({error})",
            where=path,
            remedy="Save it as UTF-8, or set `encoding`, for example to cp1252 or utf-16.",
        ) from None
    except MemoryError:
        raise MachineError("the table does not fit into memory", where=path) from None
    except (OSError, EOFError, ValueError, LookupError, zlib.error, lzma.LZMAError) as error:
        first = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise DataError(
            f"cannot be read as a table ({first})",
            where=path,
            expected="Parquet, or text with a line of column names and commas, semicolons, tabs or bars",
            remedy="A text that contains the separator needs double quotes around it."
            if isinstance(error, pd.errors.ParserError)
            else None,
        ) from None
    table = table.rename(columns=lambda name: str(name).strip())
    if twice := sorted(set(table.columns[table.columns.duplicated()])):
        raise DataError(
            "two columns have one name, but for spaces around it",
            where=path,
            found=", ".join(map(repr, twice)),
            remedy="Rename one of them.",
        )
    return table


def _read_text(path: Path, encoding: str) -> pd.DataFrame:
    # Everything is text: a label 01 stays 01, and an empty field stays one. No column becomes an index: rows
    # with one field more than there are names would shift, or lose it with a mere warning.
    source = _unpacked(path)
    separator = _separator_of(source, encoding)

    def read(quoting: Literal[0, 3]) -> pd.DataFrame:
        with warnings.catch_warnings():
            warnings.simplefilter("error", pd.errors.ParserWarning)
            try:
                table = pd.read_csv(
                    _from_start(source),
                    sep=separator,
                    dtype=str,
                    keep_default_na=False,
                    encoding=encoding,
                    index_col=False,
                    quoting=quoting,
                )
            except pd.errors.ParserWarning:
                raise pd.errors.ParserError("rows have more fields than the first line has names") from None
        return table.fillna("")  # a row that ends early

    if separator != "\t":
        return read(csv.QUOTE_MINIMAL)
    try:
        table = read(csv.QUOTE_MINIMAL)
        if not _swallowed_rows(table):
            return table
    except pd.errors.ParserError:  # a quote that opens and never closes, among others
        pass
    logging.warning("%s: its quotes do not enclose fields; they are read as part of the text", path)
    return read(csv.QUOTE_NONE)


def _swallowed_rows(table: pd.DataFrame) -> bool:
    """Return whether a field holds both a tab and a line break, as one does that took in other rows."""
    return any(
        bool((values.str.contains("\t", regex=False) & values.str.contains("\n", regex=False)).any())
        for _, values in table.items()
    )


def _check_regular(path: Path) -> None:
    """Refuse a pipe or a device, also behind a link: reading it might never end."""
    if not stat.S_ISREG(path.stat().st_mode):
        raise DataError("is no regular file", where=path)


def _unpacked(path: Path) -> Path | io.BytesIO:
    """Return a plain file as it is, and the bytes of a packed one, up to a bound.

    Raises:
        DataError: if they are more.
    """
    unpack = _PACKED.get(path.suffix.lower())
    if unpack is None:
        return path
    most = min(_MOST_UNPACKED, max(_SMALL, _MOST_TIMES * path.stat().st_size))
    with unpack(path) as handle:
        content = handle.read(most + 1)
    if len(content) > most:
        raise DataError("unpacks to more than a table", where=path, expected=f"at most {most} bytes")
    return io.BytesIO(content)


def _from_start(source: Path | io.BytesIO) -> Path | io.BytesIO:
    """Return a file, or bytes that were read before; pandas closes what it has read."""
    return source if isinstance(source, Path) else io.BytesIO(source.getvalue())


def tables_in(folder: Path) -> list[Path]:
    """Return the tables that lie in a folder, those of training first."""
    found = sorted(file for file in folder.iterdir() if file.suffix.lower() in (".csv", ".tsv", *PARQUET))
    return sorted(found, key=lambda file: not file.stem.lower().startswith("train"))


def tables_of_splits(folder: Path) -> list[Path]:
    """Return the tables of a folder if there are several, each named after another split; else nothing."""
    files = tables_in(folder)
    names = {file.stem for file in files}
    return files if 1 < len(usual_splits(names)) == len(names) == len(files) else []


def encoding_of(path: Path) -> str | None:
    """Return how a text file is encoded; None for UTF-8, and for what is no plain text."""
    if path.suffix.lower() not in (".csv", ".tsv", ".txt", ".tab") or not path.is_file():
        return None
    data = path.read_bytes()
    if data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return "utf-16"
    for encoding in ("utf-8", "cp1252"):
        try:
            data.decode(encoding)
        except UnicodeDecodeError:
            continue
        return None if encoding == "utf-8" else encoding
    return None


def separator_of(path: Path, encoding: str) -> str:
    """Return the one of `SEPARATORS` that makes the most columns of the first line; a comma if none does."""
    return _separator_of(_unpacked(path), encoding)


def _separator_of(source: Path | io.BytesIO, encoding: str) -> str:
    counts = {
        mark: len(
            pd.read_csv(_from_start(source), sep=mark, nrows=0, encoding=encoding, index_col=False).columns
        )
        for mark in SEPARATORS
    }
    return max(counts, key=lambda mark: counts[mark])
