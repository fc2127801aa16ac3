"""Tables of the page: text in cells, and links from numbers to the run records that they come from."""

import os
import re
from collections.abc import Hashable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import quote

import pandas as pd

from daam_bench.analysis.aggregate import title_of
from daam_bench.analysis.marks import MARK
from daam_bench.analysis.tables.base import Results, Table
from daam_bench.records import FINISHED, RunRecord

_NAMES = ("Modality", "Dataset", "Encoder", "Variant", "Against", "Metric", "Folds or runs", "Folds x seeds")
_OF_THE_PAPER = ("Paper's dataset", "Source", "Quantity", "Cell", "Interval of", "Verdict", "Why")
_WORDS = (*_NAMES, *_OF_THE_PAPER)
_UNLINKED = (*_WORDS, "Printed")
_NUMBER = re.compile(r"\d")


@dataclass(frozen=True)
class Cell:
    """Text with the record that it leads to, if any; `runs` are (text, address) of single runs behind it."""

    text: str
    address: str = ""
    runs: list[tuple[str, str]] = field(default_factory=list)


@dataclass(frozen=True)
class Grid:
    """A table of the page.

    Attributes:
        headings: of the columns; those of dataset and encoder have become the names of groups.
        groups: (name, rows); without datasets one group without a name.
        left: which columns are words.
    """

    headings: list[str]
    groups: list[tuple[str, list[list[Cell]]]]
    left: list[bool]


@dataclass(frozen=True)
class Section:
    """A table with its heading and caption."""

    title: str
    caption: str
    grid: Grid


class Links:
    """Addresses of records, relative to the folder that the page lies in.

    Args:
        results: the records.
        page: the HTML file.
    """

    def __init__(self, results: Results, page: Path) -> None:
        self.results, self.folder = results, page.parent

    def of_variant(self, dataset: str, encoder: str, variant: str) -> str:
        """Return the address of a variant's list of finished records; empty if there is no such variant."""
        place = self.results.places.get((dataset, encoder, variant))
        return "" if place is None else relative(place / FINISHED, self.folder)

    def of_run(self, record: RunRecord) -> str:
        """Return the address of one replica's record."""
        place = self.results.places[record.dataset, record.encoder, record.variant]
        return relative(place / f"{record.stem}.json", self.folder)


def relative(path: Path, folder: Path) -> str:
    """Return the address of a file for a page that lies in a folder."""
    return quote(Path(os.path.relpath(path, folder)).as_posix())


def plain_grid(shown: pd.DataFrame) -> Grid:
    """Return a table without links."""
    headings = [str(heading) for heading in shown.columns]
    rows = [[Cell(str(value)) for value in row] for row in shown.itertuples(index=False)]
    return _grouped(headings, rows)


def linked_grid(table: Table, frame: pd.DataFrame, links: Links) -> Grid:
    """Return the readable form of a table; every number leads to the records that it comes from.

    A number that is a mean leads to the list of finished records of its variant; one of a single run, or the
    small numbers behind a mean over a few, to the record of that run.
    """
    shown = table.shown(frame, links.results)
    behind = table.cell_runs(frame, links.results) if table.cell_runs else {}
    headings = [str(heading) for heading in shown.columns]
    rows = []
    for index, values in zip(shown.index, shown.itertuples(index=False), strict=True):
        dataset, encoder, variant = (str(frame.loc[index, k]) for k in ("dataset", "encoder", "variant"))
        place = (dataset, encoder, variant)
        row = [
            _cell(str(value), heading, place, behind.get((index, heading), []), links)
            for heading, value in zip(headings, values, strict=True)
        ]
        if "against" in frame:
            other = str(frame.loc[index, "against"])
            row[headings.index("Against")] = Cell(
                row[headings.index("Against")].text, links.of_variant(dataset, encoder, other)
            )
        rows.append(row)
    return _grouped(headings, rows)


def _grouped(headings: list[str], rows: list[list[Cell]]) -> Grid:
    """Take the columns of dataset and encoder out: they are the same for many rows."""
    if not {"Dataset", "Encoder"} <= set(headings):
        return Grid(headings, [("", rows)], _words(headings, rows))
    names = [headings.index("Dataset"), headings.index("Encoder")]
    kept = [place for place in range(len(headings)) if place not in names]
    groups: dict[str, list[list[Cell]]] = {}
    for row in rows:
        name = " x ".join(row[place].text for place in names)
        groups.setdefault(name, []).append([row[place] for place in kept])
    left = _words(headings, rows)
    return Grid([headings[place] for place in kept], list(groups.items()), [left[place] for place in kept])


def _cell(
    text: str, heading: str, place: tuple[str, str, str], runs: Sequence[tuple[int, int]], links: Links
) -> Cell:
    if heading in _UNLINKED or not _NUMBER.search(text):
        return Cell(text)
    whole = links.of_variant(*place)
    known = {(r.fold, r.seed): r for r in links.results.records if (r.dataset, r.encoder, r.variant) == place}
    single = [(f"seed {seed}", links.of_run(known[fold, seed])) for fold, seed in runs]
    return Cell(text, single[0][1]) if len(single) == 1 else Cell(text, whole, single)


def _words(headings: Sequence[str], rows: Sequence[Sequence[Cell]]) -> list[bool]:
    """Say for each column whether most of its cells are words and stand on the left."""
    left = []
    for place, heading in enumerate(headings):
        texts = [row[place].text for row in rows if row[place].text not in ("", "none", "one run")]
        words = sum(text[:1].isalpha() for text in texts)
        left.append(heading in _WORDS or (2 * words > len(texts) and bool(texts)))
    return left


def every_run(links: Links) -> Grid:
    """Return one row a replica with its score, which leads to its record."""
    headings = ["Dataset", "Encoder", "Variant", "Fold", "Seed", "Metric", "Score (%)"]
    rows = []
    for r in links.results.records:
        optimistic = (r.dataset, r.encoder, r.variant) in links.results.optimistic
        title = title_of(r.variant) + (MARK if optimistic else "")
        names: list[Hashable] = [r.dataset, r.encoder, title, r.fold_name, r.seed, r.metric]
        score = Cell(f"{100 * r.score:.1f}", links.of_run(r))
        rows.append([*(Cell(str(name)) for name in names), score])
    return _grouped(headings, rows)
