"""Tables as files: CSV (full precision), Markdown and LaTeX (booktabs), and what they are made of."""

import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from pkgutil import resolve_name

import pandas as pd

from daam_bench.analysis.names import main_tables, study_tables
from daam_bench.analysis.tables.base import Results, Table
from daam_bench.analysis.tables.made_of import write_made_of
from daam_bench.analysis.tables.sheet import Sheet, Shown
from daam_bench.records import write_atomically

_MINUS = re.compile(r"(?<![\w.])-(?=\d)")
_LATEX = {
    "\\": r"\textbackslash{}",
    **{sign: f"\\{sign}" for sign in "&%$#_{}"},
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": "$<$",
    ">": "$>$",
    "±": r"$\pm$",
}


def find_table(name: str) -> Table:
    """Return a table by its name in `analysis.names.TABLES`."""
    table: Table = resolve_name(f"daam_bench.analysis.tables.{name}:TABLE")
    return table


def tables_of(results: Results) -> list[str]:
    """Return the names of the tables that results give: all but those of studies that there are not."""
    return [*main_tables(), *study_tables({run.study.kind for run in results.derived if run.study})]


def make_tables(folders: Sequence[Path], studies: Sequence[Path] = ()) -> dict[str, pd.DataFrame]:
    """Return the frame of every table by name.

    Args:
        folders: of ordinary runs.
        studies: of derived ones.

    Raises:
        RecordError: if a record or its predictions are missing or damaged.
    """
    results = Results(folders, studies)
    return {name: find_table(name).values(results) for name in tables_of(results)}


def write_tables(folders: Sequence[Path], out: Path) -> list[Path]:
    """Write every table of the ordinary runs in variant folders; return the paths.

    Raises:
        RecordError: if a record or its predictions are missing or damaged.
    """
    return _write(main_tables(), Results(folders), out)


def write_study_tables(folders: Sequence[Path], studies: Sequence[Path], out: Path) -> list[Path]:
    """Write every table of the studies; return the paths.

    Raises:
        RecordError: if a record is missing or damaged.
    """
    results = Results(folders, studies)
    return _write([name for name in tables_of(results) if name not in main_tables()], results, out)


def _write(names: Iterable[str], results: Results, out: Path) -> list[Path]:
    return [path for name in names for path in _write_table(name, results, out)]


def _write_table(name: str, results: Results, out: Path) -> list[Path]:
    table = find_table(name)
    frame = table.values(results)
    sheet = table.readable(frame)
    caption = table.full_caption(sheet)
    texts = {
        "csv": frame.to_csv(index=False),
        "md": f"{caption}\n\n{markdown(sheet)}\n",
        "tex": latex(sheet, caption, f"tab:{name}"),
    }
    paths = [out / f"{name}.{ending}" for ending in texts]
    for path, text in zip(paths, texts.values(), strict=True):
        write_atomically(path, text.encode())
    return [*paths, write_made_of(paths[0], results)]


def markdown(sheet: Sheet) -> str:
    """Return a table in Markdown; what is best is bold."""
    rows = [[_markdown_cell(cell) for cell in line] for line in sheet.lines]
    headings = [escape_markdown(heading) for heading in sheet.columns]
    frame = pd.DataFrame(rows, columns=headings, dtype=object)
    return frame.to_markdown(index=False, disable_numparse=True)


def _markdown_cell(cell: Shown) -> str:
    text = escape_markdown(cell.text)
    return f"**{text}**" if cell.best else text


def escape_markdown(text: str) -> str:
    """Return a text that stays in its cell: a bar is escaped, a line break is a space."""
    return _one_line(text).replace("|", "\\|")


def latex(sheet: Sheet, caption: str, label: str) -> str:
    """Return a table in LaTeX, with rules of booktabs; what is best is bold."""
    rows = [[_latex_cell(cell) for cell in line] for line in sheet.lines]
    headings = [escape_latex(heading) for heading in sheet.columns]
    frame = pd.DataFrame(rows, columns=headings, dtype=object)
    numbers = (any(cell.column for cell in cells) for cells in sheet.columns.values())
    written: str = frame.to_latex(
        index=False,
        escape=False,
        column_format="".join("r" if number else "l" for number in numbers),
        caption=escape_latex(caption),
        label=label,
    )
    return written


def _latex_cell(cell: Shown) -> str:
    text = escape_latex(cell.text)
    if cell.column:
        text = _MINUS.sub("$-$", text)
    return rf"\textbf{{{text}}}" if cell.best else text


def escape_latex(text: str) -> str:
    """Return a text as LaTeX prints it; a line break, of which two end a paragraph, is a space."""
    return "".join(_LATEX.get(sign, sign) for sign in _one_line(text))


def _one_line(text: str) -> str:
    return " ".join(text.splitlines())
