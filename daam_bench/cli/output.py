"""How commands print: a table for people, JSON for scripts."""

import json
import sys
from collections.abc import Mapping, Sequence
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer


class OutputFormat(StrEnum):
    """How a command prints its result."""

    TABLE = "table"
    JSON = "json"


Format = Annotated[OutputFormat, typer.Option("--format", help="how to print")]
AsJson = Annotated[bool, typer.Option("--json", help="print JSON, as --format json does")]
Overlays = Annotated[
    list[Path] | None,
    typer.Option("--configfile", help="overlay over config.yaml; repeat it for several, as with snakemake"),
]
Base = Annotated[Path, typer.Option("--base", help="the configuration that overlays lie on")]
Results = Annotated[Path, typer.Option("--results", help="folder of results")]
BASE, RESULTS = Path("config.yaml"), Path("results")


def print_json(value: object) -> None:
    """Print a value as JSON; what JSON does not know (a path) is printed as text."""
    typer.echo(json.dumps(value, indent=1, default=str))


def print_rows(rows: Sequence[Mapping[str, object]], as_json: bool = False) -> None:
    """Print rows of equal keys as a table, or as a JSON list."""
    if as_json:
        print_json(rows)
        return
    if not rows:
        return
    from rich import box
    from rich.console import Console
    from rich.table import Table

    table = Table(box=box.SIMPLE_HEAD)
    for name in rows[0]:
        numeric = any(isinstance(row[name], int | float) for row in rows)
        table.add_column(name, justify="right" if numeric else "left", overflow="fold")
    for row in rows:
        table.add_row(*[_cell(value) for value in row.values()])
    # A pipe has no width: leave lines whole.
    Console(width=None if sys.stdout.isatty() else 200).print(table)


def _cell(value: object) -> str:
    if value is None:
        return "?"
    if isinstance(value, float):
        return f"{value:.4g}"
    is_number = isinstance(value, int) and not isinstance(value, bool)
    return f"{value:,}" if is_number else str(value).replace("[", "\\[")
