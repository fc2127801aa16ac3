"""Tables as files: CSV (full precision), Markdown and LaTeX (booktabs)."""

from collections.abc import Sequence
from pathlib import Path
from pkgutil import resolve_name

import pandas as pd

from daam_bench.analysis.marks import caption_with_note
from daam_bench.analysis.names import TABLES
from daam_bench.analysis.tables.base import Results, Table
from daam_bench.records import write_atomically


def find_table(name: str) -> Table:
    """Return a table by its name in `analysis.names.TABLES`."""
    table: Table = resolve_name(f"daam_bench.analysis.tables.{name}:TABLE")
    return table


def make_tables(folders: Sequence[Path]) -> dict[str, pd.DataFrame]:
    """Return the frame of every table by name.

    Raises:
        RecordError: if a record or its predictions are missing or damaged.
    """
    return _frames(Results(folders))


def write_tables(folders: Sequence[Path], out: Path) -> list[Path]:
    """Write every table of the records of variant folders; return the paths.

    Raises:
        RecordError: if a record or its predictions are missing or damaged.
    """
    paths, results = [], Results(folders)
    for name, frame in _frames(results).items():
        table = find_table(name)
        shown = table.shown(frame, results)
        paths += write_table(out, name, frame, shown, caption_with_note(table.caption, shown))
    return paths


def _frames(results: Results) -> dict[str, pd.DataFrame]:
    return {name: find_table(name).values(results) for name in TABLES}


def write_table(out: Path, name: str, frame: pd.DataFrame, shown: pd.DataFrame, caption: str) -> list[Path]:
    """Write one table: `frame` in full precision as CSV, `shown` as Markdown and LaTeX; return the paths."""
    escaped = caption.replace("%", r"\%").replace("_", r"\_")
    texts = {
        "csv": frame.to_csv(index=False),
        "md": f"{caption}\n\n{shown.to_markdown(index=False, disable_numparse=True)}\n",
        "tex": shown.to_latex(index=False, escape=True, caption=escaped, label=f"tab:{name}"),
    }
    for ending, text in texts.items():
        write_atomically(out / f"{name}.{ending}", text.encode())
    return [out / f"{name}.{ending}" for ending in texts]
