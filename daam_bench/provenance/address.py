"""The address of a table's number: `TABLE:word:...:column`, the words being cells of its row from left on.

`results/tables/accuracy_summary.csv:vader:minilm-l6:daam_v1:mean_percent` and
`accuracy_summary:vader:minilm-l6:daam_v1` with `--column mean_percent` mean the same.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from daam_bench.errors import RecordError, unknown_name

# Columns that say what a row is about; all others hold what was found.
KEYS = (
    "dataset",
    "encoder",
    "variant",
    "against",
    "protocol",
    "switch",
    "fold",
    "fold_name",
    "seed",
    "parameter",
    "layers",
    "k",
    "entropy",
    "paper_dataset",
    "paper_variant",
    "quantity",
    "cell",
)


@dataclass(frozen=True)
class Cell:
    """One number of a table.

    Attributes:
        file: the CSV file.
        table: its name.
        row: the whole row, as text, by column.
        column: the column that is asked for.
        value: what the file has there, as text.
    """

    file: Path
    table: str
    row: dict[str, str]
    column: str

    @property
    def value(self) -> str:
        """What the file has there."""
        return self.row[self.column]

    @property
    def keys(self) -> dict[str, str]:
        """The cells that say what the row is about, by column."""
        return {name: value for name, value in self.row.items() if name in KEYS and value != ""}

    @property
    def address(self) -> str:
        """The address in one word, to be copied."""
        names = ("fold_name",) if "fold" in self.row else ()
        words = [value for name, value in self.keys.items() if name not in names]
        return ":".join([str(self.file), *words, self.column])


def find_cell(address: str, options: Mapping[str, str], column: str | None, results: Path) -> Cell:
    """Return the one number that an address and options mean.

    Args:
        address: a table's name or CSV file, with or without words behind colons.
        options: cells by column (dataset, encoder, variant, fold, ...).
        column: the column of the number; the last word of the address may say it instead.
        results: folder of results, for a table that is given by name.

    Raises:
        RecordError: if there is no such table, no such row, or several.
        ConfigError: if a column does not exist.
    """
    name, *words = address.split(":")
    file = _file_of(name, results)
    frame = pd.read_csv(file, dtype=str, keep_default_na=False)
    columns = list(frame.columns)
    if words and words[-1] in columns and column is None:
        column = words.pop()
    for option in options:
        if option not in columns:
            raise unknown_name("column", option, columns, file)
    values = [name for name in columns if name not in KEYS]
    column = column or next((n for n in values if n in ("mean_percent", "difference_percent")), values[-1])
    if column not in columns:
        raise unknown_name("column", column, columns, file)
    rows = [row for row in frame.to_dict("records") if _fits(row, words, options)]
    if len(rows) != 1:
        raise _not_one(rows, frame, words, options, file)
    return Cell(file, file.stem, {str(k): str(v) for k, v in rows[0].items()}, column)


def _file_of(name: str, results: Path) -> Path:
    folder = results / "tables"
    file = Path(name) if name.endswith(".csv") else folder / f"{Path(name).stem}.csv"
    if name.endswith((".md", ".tex")):
        file = Path(name).with_suffix(".csv")
    if not file.is_file():
        there = sorted(path.stem for path in folder.glob("*.csv"))
        raise RecordError(
            "no such table",
            where=file,
            expected=f"one of {', '.join(there)}" if there else None,
            remedy=None if there else "`snakemake tables` writes them; --results says where results lie.",
        )
    return file


def _fits(row: Mapping[Any, Any], words: list[str], options: Mapping[str, str]) -> bool:
    """Whether the words occur among the row's keys in their order, and the options are its cells."""
    cells = iter([row[name] for name in KEYS if name in row])
    return all(word in cells for word in words) and all(row[name] == value for name, value in options.items())


def _not_one(
    rows: list[Any], frame: pd.DataFrame, words: list[str], options: Mapping[str, str], file: Path
) -> RecordError:
    keys = [name for name in KEYS if name in frame.columns]
    shown = rows or frame.to_dict("records")
    differing = [name for name in keys if len({row[name] for row in shown}) > 1]
    examples = [" ".join(f"{name}={row[name]}" for name in differing) for row in shown[:8]]
    asked = ":".join([*words, *(f"{name}={value}" for name, value in options.items())]) or "nothing"
    return RecordError(
        f"{len(rows) or 'no'} rows fit {asked!r}",
        where=file,
        expected="one of " + ", ".join(examples) + (", ..." if len(shown) > len(examples) else ""),
        remedy="Name it as a further word of the address, or as an option.",
    )
