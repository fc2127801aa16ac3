"""A CSV, TSV or Parquet file with a column of texts, or of paths of images or recordings."""

from pathlib import Path

import pandas as pd

from daam_bench.config import DatasetConfig
from daam_bench.datasets.base import DatasetKind
from daam_bench.datasets.declaration import check_columns, columns_of, use_of_splits
from daam_bench.errors import DataError

TABLE = DatasetKind(
    name="table",
    title="A table with a column of texts or of file paths",
    reader="daam_bench.datasets.table:read_table",
    settings=("modality", "columns", "labels", "splits"),
)


def read_table(config: DatasetConfig) -> pd.DataFrame:
    """Return one row a row of the table; labels stay as the file has them, as text.

    Raises:
        DataError: if the file cannot be read as a table.
        ConfigError: if a column is not there.
    """
    path = Path(config.path)
    table = open_table(path)
    modality = TABLE.modality_of(config, str(path))
    content, columns = columns_of(config, modality)
    check_columns([str(name) for name in table.columns], content, columns, path)
    texts = table[content].astype(str).agg(" ".join, axis=1) if len(content) > 1 else table[content[0]]
    splits = pd.Series("", index=table.index)
    if columns.split is not None:
        names = table[columns.split].astype(str)
        splits = names.map(use_of_splits(sorted(set(names)), config.splits, path))
    numbers = pd.Series([str(row) for row in range(len(table))], index=table.index)
    frame = pd.DataFrame(
        {
            "sample_id": numbers if columns.sample_id is None else table[columns.sample_id].astype(str),
            "label": table[columns.label].astype(str),
            "group": "" if columns.group is None else table[columns.group].astype(str),
            "split": splits,
            "text" if modality == "text" else "file": texts.astype(str),
        }
    )
    return frame[frame["split"].notna()]


def open_table(path: Path) -> pd.DataFrame:
    """Return a table as its file has it, every field of CSV and TSV as text.

    Raises:
        DataError: if the file cannot be read as a table.
    """
    try:
        if path.suffix == ".parquet":
            return pd.read_parquet(path)
        separator = "\t" if path.suffix == ".tsv" else ","
        # Everything is text: a label 01 stays 01, and an empty field stays one.
        return pd.read_csv(path, sep=separator, dtype=str, keep_default_na=False, encoding="utf-8-sig")
    except (OSError, ValueError) as error:
        raise DataError(
            f"cannot be read as a table ({str(error).splitlines()[0]})",
            where=path,
            expected="CSV (UTF-8, commas), TSV or Parquet, by its ending",
        ) from None
