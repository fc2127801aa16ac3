"""Tables of the page: text in cells, and links from numbers to the run records that they come from."""

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace

import pandas as pd

from daam_bench.analysis.report.links import Cell, Links, runs_anchor
from daam_bench.analysis.tables.base import Table, texts_of
from daam_bench.analysis.tables.sheet import Shown

_NAMES = ("Dataset", "Encoder")
_NUMBER = re.compile(r"\d")


@dataclass(frozen=True)
class Group:
    """Rows of one cache under its name; `anchor` is a place on the page that links lead to."""

    name: str
    rows: list[list[Cell]]
    anchor: str = ""


@dataclass(frozen=True)
class Grid:
    """A table of the page.

    Attributes:
        headings: of the columns; those of dataset and encoder have become the names of groups.
        groups: rows by cache; without datasets one group without a name.
        left: which columns are words.
    """

    headings: list[str]
    groups: list[Group]
    left: list[bool]


@dataclass(frozen=True)
class Section:
    """A table with its heading and caption."""

    title: str
    caption: str
    grid: Grid


def table_section(table: Table, frame: pd.DataFrame, links: Links) -> Section:
    """Return a table of results; every number leads to the records that it is computed from."""
    sheet = table.readable(frame)
    keys = dict(zip(frame.index, texts_of(frame[[*table.keys]]), strict=True))

    def linked(cell: Shown) -> Cell:
        if not cell.column or not _NUMBER.search(cell.text):
            return Cell(cell.text, best=cell.best)
        return links.cell(cell.text, table.sources(keys[cell.row], cell.column, links.results), cell.best)

    rows = [[linked(cell) for cell in line] for line in sheet.lines]
    words = [not any(cell.column for cell in cells) for cells in sheet.columns.values()]
    return Section(table.title, table.full_caption(sheet), _grouped([*sheet.columns], rows, words))


def anchored(grid: Grid) -> Grid:
    """Return the table of every run with the places that links to all runs of a cache lead to."""
    groups = [replace(group, anchor=runs_anchor(group.name)) for group in grid.groups]
    return replace(grid, groups=groups)


def frame_grid(frame: pd.DataFrame, address: Callable[[str, str], str]) -> Grid:
    """Return a table of texts; the numbers of a row lead to one address.

    Args:
        frame: has the columns Dataset and Encoder.
        address: (dataset, encoder) -> where a row leads to.
    """
    headings = [str(heading) for heading in frame.columns]
    rows = []
    for values in frame.to_dict("records"):
        to = address(*(str(values[name]) for name in _NAMES))
        linked = {name: to for name in headings if name not in _NAMES and _NUMBER.search(str(values[name]))}
        rows.append([Cell(str(values[name]), linked.get(name, "")) for name in headings])
    return _grouped(headings, rows, [name in _NAMES for name in headings])


def _grouped(headings: list[str], rows: list[list[Cell]], words: Sequence[bool]) -> Grid:
    """Take out the columns of dataset and encoder, the same for many rows, and those without a text."""
    left = [word or _mostly_words(row[place].text for row in rows) for place, word in enumerate(words)]
    there = set(_NAMES) <= set(headings)
    names = [headings.index(name) for name in _NAMES] if there else []
    kept = [p for p in range(len(headings)) if p not in names and (not rows or any(r[p].text for r in rows))]
    groups: dict[str, list[list[Cell]]] = {}
    for row in rows:
        name = " x ".join(row[place].text for place in names)
        groups.setdefault(name, []).append([row[place] for place in kept])
    if not groups:
        groups[""] = []
    found = [Group(name, members) for name, members in groups.items()]
    return Grid([headings[place] for place in kept], found, [left[place] for place in kept])


def _mostly_words(texts: Iterable[str]) -> bool:
    known = [text for text in texts if text not in ("", "none", "one run")]
    return 2 * sum(text[:1].isalpha() for text in known) > len(known)
