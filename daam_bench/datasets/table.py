"""A CSV, TSV or Parquet file with a column of texts, or of paths of images or recordings."""

import codecs
import warnings
from pathlib import Path

import pandas as pd

from daam_bench.config import DatasetConfig
from daam_bench.datasets.base import DatasetKind
from daam_bench.datasets.declaration import as_text, check_columns, columns_of, use_of_splits, usual_splits
from daam_bench.errors import DataError

TABLE = DatasetKind(
    name="table",
    title="A table with a column of texts or of file paths",
    reader="daam_bench.datasets.table:read_table",
    settings=("modality", "columns", "labels", "splits", "encoding"),
)
SEPARATORS = {",": "comma", ";": "semicolon", "\t": "tab", "|": "bar"}
PARQUET = (".parquet", ".pq")
# Kinds of files that people call tables and that this does not read.
_OTHERS = (".xlsx", ".xls", ".ods", ".json", ".jsonl", ".arrow", ".feather", ".pkl", ".zip", ".rar", ".7z")


def read_table(config: DatasetConfig) -> pd.DataFrame:
    """Return one row a row of the table; labels stay as the file has them, as text without spaces around it.

    Raises:
        DataError: if the file cannot be read as a table.
        ConfigError: if a column is not there.
    """
    path = Path(config.path)
    table = open_table(path, config.encoding)
    modality = TABLE.modality_of(config, str(path))
    content, columns = columns_of(config, modality)
    check_columns([str(name) for name in table.columns], content, columns, path)
    parts = [as_text(table[name]) for name in content]
    texts = parts[0] if len(parts) == 1 else pd.concat(parts, axis=1).agg(" ".join, axis=1)
    splits = pd.Series("", index=table.index)
    if columns.split is not None:
        names = as_text(table[columns.split])
        splits = names.map(use_of_splits(sorted(set(names)), config.splits, path))
    numbers = pd.Series([str(row) for row in range(len(table))], index=table.index)
    frame = pd.DataFrame(
        {
            "sample_id": numbers if columns.sample_id is None else as_text(table[columns.sample_id]),
            "label": as_text(table[columns.label]).str.strip(),
            "group": "" if columns.group is None else as_text(table[columns.group]),
            "split": splits,
            "text" if modality == "text" else "file": texts,
        }
    )
    return frame[frame["split"].notna()]


def open_table(path: Path, encoding: str | None = None) -> pd.DataFrame:
    """Return a table as its file has it, every field of CSV and TSV as text; names of columns are stripped.

    Args:
        path: Parquet by its ending; anything else is text with one of `SEPARATORS`, whichever divides the
            first line into the most columns.
        encoding: of the text; UTF-8, with or without a byte order mark, by default.

    Raises:
        DataError: if the file cannot be read as a table.
    """
    ending = path.suffix.lower()
    if ending in _OTHERS:
        raise DataError(
            f"tables are read from CSV, TSV and Parquet, not from {ending}",
            where=path,
            remedy="Save it as CSV (UTF-8).",
        )
    try:
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
    except (OSError, ValueError, LookupError) as error:
        first = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise DataError(
            f"cannot be read as a table ({first})",
            where=path,
            expected="Parquet, or text with a line of column names and commas, semicolons, tabs or bars",
            remedy="A text that contains the separator needs double quotes around it."
            if isinstance(error, pd.errors.ParserError)
            else None,
        ) from None
    return table.rename(columns=lambda name: str(name).strip())


def _read_text(path: Path, encoding: str) -> pd.DataFrame:
    # Everything is text: a label 01 stays 01, and an empty field stays one. No column becomes an index: rows
    # with one field more than there are names would shift, or lose it with a mere warning.
    separator = separator_of(path, encoding)
    with warnings.catch_warnings():
        warnings.simplefilter("error", pd.errors.ParserWarning)
        try:
            table = pd.read_csv(
                path, sep=separator, dtype=str, keep_default_na=False, encoding=encoding, index_col=False
            )
        except pd.errors.ParserWarning:
            raise pd.errors.ParserError("rows have more fields than the first line has names") from None
    return table.fillna("")  # a row that ends early


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
    if path.suffix.lower() not in (".csv", ".tsv", ".txt", ".tab"):
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
    counts = {
        mark: len(pd.read_csv(path, sep=mark, nrows=0, encoding=encoding, index_col=False).columns)
        for mark in SEPARATORS
    }
    return max(counts, key=lambda mark: counts[mark])
