"""The address of a table's number: `TABLE:word:...:column`, the words being the cells that name its row.

Words are cells of the table's key columns in their order, or `name=value`; as many as make the row the only
one. `results/tables/accuracy_summary.csv:vader:minilm-l6:daam_v1:mean_percent` and
`accuracy_summary:variant=daam_v1` with `--column mean_percent` may mean the same.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from daam_bench.analysis.names import TABLES
from daam_bench.analysis.tables import Table, find_table
from daam_bench.analysis.tables.base import read_texts
from daam_bench.errors import RecordError, unknown_name

Row = dict[str, str]
# What the report shows of caches, and no table of runs has.
_RATES = "rates"


@dataclass(frozen=True)
class Cell:
    """One number of a table.

    Attributes:
        file: the CSV file.
        table: what the table is.
        row: the whole row, as text, by column.
        column: the column that is asked for.
    """

    file: Path
    table: Table
    row: Row
    column: str

    @property
    def value(self) -> str:
        """What the file has there."""
        return self.row[self.column]

    @property
    def measured(self) -> bool:
        """Whether a clock or a meter gave it: another run gives another number."""
        return self.column in self.table.measured

    @property
    def keys(self) -> Row:
        """The cells that say what the row is about, by column."""
        return {name: self.row[name] for name in self.table.keys}

    @property
    def address(self) -> str:
        """The address in one word, to be copied; a shell may need it quoted."""
        words = [_word(name, value) for name, value in self.keys.items() if value]
        return ":".join([str(self.file), *words, self.column])


def _word(name: str, value: str) -> str:
    """Return a cell as a word of an address; numbers and truth values follow the name of their column."""
    bare = value not in ("True", "False") and not value.lstrip("-").replace(".", "", 1).isdigit()
    return value if bare else f"{name}={value}"


def find_cell(address: str, options: Mapping[str, str], column: str | None, results: Path) -> Cell:
    """Return the one number that an address and options mean.

    Args:
        address: a table's name or CSV file, with or without words behind colons.
        options: cells by column (dataset, encoder, variant, fold, ...).
        column: the column of the number; the last word of the address may say it instead.
        results: folder of results, for a table that is given by name.

    Raises:
        RecordError: if there are no tables, or no row or several fit.
        ConfigError: if there is no such table, column or cell.
    """
    name, *words = address.split(":")
    file = _file_of(name, results)
    every, table = read_texts(file.read_text(encoding="utf-8")), find_table(file.stem)
    columns = list(every[0]) if every else [*table.keys, table.number]
    if words and words[-1] in columns and column is None:
        column = words.pop()
    column = column or table.number
    pairs = [word.partition("=") for word in words]
    named = {key: value for key, equals, value in pairs if equals and key in columns}
    wanted, bare = named | dict(options), [w for w in words if w.partition("=")[0] not in named]
    for asked in (*wanted, column):
        if asked not in columns:
            raise unknown_name("column", asked, columns, file)
    rows = _fitting(every, table.keys, wanted, bare)
    for name, value in wanted.items() if not rows else ():
        if value not in (known := sorted({row[name] for row in every})):
            raise unknown_name(name, value, known, file)
    cells = {row[name] for row in every for name in table.keys if row[name]}
    for word in bare if not rows else ():
        if word not in cells:
            raise unknown_name("cell or column", word, {*columns, *cells}, file)
    if len(rows) != 1:
        raise _not_one(rows or every, bool(rows), table, [*words, *_said(options)], file)
    return Cell(file, table, rows[0], column)


def _file_of(name: str, results: Path) -> Path:
    folder = results / "tables"
    if name == _RATES:
        raise RecordError(
            "rates of extraction are of caches, not of runs",
            where=results / "embeddings/<dataset>/<encoder>",
            remedy="`daam-bench cache info` of that folder shows them.",
        )
    file = Path(name) if name.endswith(".csv") else folder / f"{Path(name).stem}.csv"
    if name.endswith((".md", ".tex")):
        file = Path(name).with_suffix(".csv")
    if not file.is_file() or file.stem not in TABLES:
        there = sorted(path.stem for path in folder.glob("*.csv") if path.stem in TABLES)
        if there:
            raise unknown_name("table", file.stem, there, folder)
        raise RecordError(
            "no such table",
            where=file,
            remedy="`snakemake tables` writes them; --results says where results lie.",
        )
    return file


def _fitting(rows: list[Row], keys: tuple[str, ...], wanted: Row, bare: list[str]) -> list[Row]:
    """Return the rows with the wanted cells whose other keys are the bare words, or have them in order."""
    rows = [row for row in rows if all(row[name] == value for name, value in wanted.items())]
    others = [[row[name] for name in keys if row[name] and name not in wanted] for row in rows]
    if exact := [row for row, cells in zip(rows, others, strict=True) if cells == bare]:
        return exact
    return [row for row, cells in zip(rows, others, strict=True) if _in_order(bare, cells)]


def _in_order(words: list[str], cells: list[str]) -> bool:
    left = iter(cells)
    return all(word in left for word in words)


def _said(options: Mapping[str, str]) -> list[str]:
    return [f"{name}={value}" for name, value in options.items()]


def _not_one(rows: list[Row], several: bool, table: Table, asked: list[str], file: Path) -> RecordError:
    differing = [name for name in table.keys if len({row[name] for row in rows}) > 1]
    examples = [" ".join(f"{name}={row[name]}" for name in differing) for row in rows[:8]]
    return RecordError(
        f"{len(rows) if several else 'no'} rows fit {':'.join(asked)!r}" if asked else "it says no row",
        where=file,
        expected="one of " + ", ".join(examples) + (", ..." if len(rows) > len(examples) else ""),
        remedy="Name it as a further word of the address, such as variant=mha, or as an option.",
    )
