"""Addresses of what numbers come from, relative to the folder that the page lies in."""

import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import groupby
from pathlib import Path
from urllib.parse import quote

from daam_bench.analysis.aggregate import title_of
from daam_bench.analysis.tables import Results, Run
from daam_bench.records import FINISHED

# Single runs, and further variants, that a cell names one by one.
_RUNS, _FOLDERS = 8, 3


@dataclass(frozen=True)
class Link:
    """A small link beside a number: its text, what it says when it is pointed at, and where it leads."""

    text: str
    title: str
    address: str


@dataclass(frozen=True)
class Cell:
    """Text with the record that it leads to, if any; `more` are the other records behind it."""

    text: str
    address: str = ""
    more: Sequence[Link] = ()
    best: bool = False


def relative(path: Path, folder: Path) -> str:
    """Return the address of a file for a page that lies in a folder."""
    return quote(Path(os.path.relpath(path, folder)).as_posix())


def runs_anchor(cache: str) -> str:
    """Return the place on the page where every run of a cache is listed, given `dataset x encoder`."""
    return f"runs-{cache.replace(' x ', '-')}"


class Links:
    """Where the numbers of a page lead to.

    Args:
        results: the records.
        page: the HTML file.
        manifests: file of the manifest of each dataset and encoder.
    """

    def __init__(self, results: Results, page: Path, manifests: Mapping[tuple[str, str], Path]) -> None:
        self.results, self.folder, self._manifests = results, page.parent, manifests

    @cached_property
    def _sizes(self) -> dict[Path, int]:
        every = [*self.results.runs, *self.results.derived]
        return {folder: len(list(runs)) for folder, runs in groupby(every, key=lambda run: run.folder)}

    def to(self, path: Path) -> str:
        """Return the address of a file."""
        return relative(path, self.folder)

    def manifest(self, dataset: str, encoder: str) -> str:
        """Return the address of a cache's manifest; empty if it is not known."""
        path = self._manifests.get((dataset, encoder))
        return "" if path is None else self.to(path)

    def variant(self, dataset: str, encoder: str, variant: str) -> str:
        """Return the address of a variant's list of finished records; empty if it was not run."""
        place = self.results.places.get((dataset, encoder, variant))
        return "" if place is None else self.to(place / FINISHED)

    def cell(self, text: str, runs: Iterable[Run], best: bool = False) -> Cell:
        """Return a number with the records that it is computed from; without any it is bare text.

        A number of one run leads to its record; a mean to the list of finished records of its variant, with
        small links to the runs where it is of some of them only, and to the lists of other variants that have
        a part in it.
        """
        folders = {folder: list(group) for folder, group in groupby(runs, key=lambda run: run.folder)}
        if not folders:
            return Cell(text, best=best)
        (folder, own), *others = folders.items()
        if len(own) == 1:
            return Cell(text, self.to(own[0].path), self._further(others), best)
        parts = self._singles(own) if len(own) < self._sizes[folder] else []
        return Cell(text, self.to(folder / FINISHED), [*parts, *self._further(others)], best)

    def _singles(self, runs: Sequence[Run]) -> list[Link]:
        if len(runs) > _RUNS:
            return []
        one_fold = len({run.record.fold for run in runs}) == 1
        return [
            Link(
                f"s{r.seed}" if one_fold else f"f{r.fold}s{r.seed}",
                f"seed {r.seed}" if one_fold else f"fold {r.fold}, seed {r.seed}",
                self.to(run.path),
            )
            for run in runs
            for r in [run.record]
        ]

    def _further(self, others: Sequence[tuple[Path, list[Run]]]) -> list[Link]:
        if len(others) > _FOLDERS:
            record = others[0][1][0].record
            ordinary = all(run.study is None for _, runs in others for run in runs)
            anchor = runs_anchor(f"{record.dataset} x {record.encoder}") if ordinary else "study-records"
            return [Link("all", f"{len(others)} more lists of records have a part in it", f"#{anchor}")]
        return [
            Link("+", f"and {_name(runs[0])}", self.to(runs[0].path if len(runs) == 1 else folder / FINISHED))
            for folder, runs in others
        ]


def _name(run: Run) -> str:
    return title_of(run.record.variant) + (f", {run.study}" if run.study else ", ordinary run")
