"""What a table is, and what it is made of."""

import io
from collections.abc import Callable, Iterable, Mapping, Sequence
from csv import DictReader
from dataclasses import dataclass
from functools import cached_property
from itertools import groupby
from pathlib import Path

import pandas as pd

from daam_bench.analysis.aggregate import order_of, replica_frame, summary_frame
from daam_bench.analysis.marks import MARK, NOTE, Place, add_optimistic, optimistic_places
from daam_bench.analysis.tables.sheet import Sheet
from daam_bench.records import RunRecord, read_records
from daam_bench.studies.names import StudyName


@dataclass(frozen=True)
class Run:
    """A record with the folder that it lies in; `study` is what a derived run changes."""

    folder: Path
    record: RunRecord
    study: StudyName | None = None

    @property
    def path(self) -> Path:
        """File of the record."""
        return self.folder / f"{self.record.stem}.json"

    @property
    def tree(self) -> Path:
        """The folder's place in a folder of results."""
        dataset, encoder, variant = self.place
        if self.study is None:
            return Path("runs", dataset, encoder, variant)
        return Path("studies", dataset, encoder, str(self.study), variant)

    @property
    def place(self) -> Place:
        """Dataset, encoder and variant."""
        return self.record.dataset, self.record.encoder, self.record.variant


@dataclass(frozen=True)
class Results:
    """The finished records of variant folders; each is read once.

    Attributes:
        folders: `results/runs/<dataset>/<encoder>/<variant>`, baselines among them.
        studies: `results/studies/<dataset>/<encoder>/<study>/<variant>`: derived runs.

    Raises:
        RecordError: on reading, if a record is missing or damaged.
    """

    folders: Sequence[Path]
    studies: Sequence[Path] = ()

    @cached_property
    def runs(self) -> list[Run]:
        """Every ordinary replica: caches by name, variants in the order of the presets."""
        found = [Run(folder, record) for folder in self.folders for record in read_records(folder)]
        return sorted(found, key=lambda run: order_of(run.record))

    @cached_property
    def derived(self) -> list[Run]:
        """Every replica of the studies, in the order of their folders."""
        found = []
        for folder in self.studies:
            study = StudyName.parse(folder.parent.name)
            here = [Run(folder, record, study) for record in read_records(folder)]
            found += sorted(here, key=lambda run: order_of(run.record))
        return found

    @cached_property
    def records(self) -> list[RunRecord]:
        """The records of `runs`."""
        return [run.record for run in self.runs]

    @cached_property
    def by_place(self) -> dict[Place, list[Run]]:
        """Ordinary replicas of each dataset, encoder and variant."""
        return {place: list(runs) for place, runs in groupby(self.runs, key=lambda run: run.place)}

    @cached_property
    def places(self) -> dict[Place, Path]:
        """Folder of each dataset, encoder and variant."""
        return {place: runs[0].folder for place, runs in self.by_place.items()}

    def of(self, dataset: str, encoder: str, *variants: str) -> list[Run]:
        """Return the ordinary replicas of variants of a cache; none of those that were not run."""
        return [run for variant in variants for run in self.by_place.get((dataset, encoder, variant), [])]

    def trained(self, dataset: str, encoder: str) -> list[Run]:
        """Return the ordinary replicas of every trained variant of a cache; baselines have no part."""
        here = [run for run in self.runs if (run.record.dataset, run.record.encoder) == (dataset, encoder)]
        return [run for run in here if run.record.kind != "baseline"]

    @cached_property
    def optimistic(self) -> set[Place]:
        """Dataset, encoder and variant of results whose epoch was chosen on their validation samples."""
        return optimistic_places(self.records)

    @cached_property
    def replicas(self) -> pd.DataFrame:
        """`aggregate.replica_frame` of the records."""
        return replica_frame(self.records)

    @cached_property
    def summary(self) -> pd.DataFrame:
        """`aggregate.summary_frame` of the records."""
        return summary_frame(self.replicas)


# The cells that say what a row is about, by column, as the CSV file has them.
Keys = Mapping[str, str]
Sources = Callable[[Keys, str, Results], list[Run]]


def of_fold(runs: Sequence[Run], keys: Keys) -> list[Run]:
    """Return the runs of a row's fold and seed, as far as it is of one."""
    wanted = {name: keys[name] for name in ("fold", "seed") if keys.get(name)}
    return [r for r in runs if all(str(getattr(r.record, n)) == value for n, value in wanted.items())]


def own_runs(keys: Keys, _column: str, results: Results) -> list[Run]:
    """Return the ordinary runs of a row's dataset, encoder, variant and, if it has any, fold and seed."""
    return of_fold(results.of(keys["dataset"], keys["encoder"], keys["variant"]), keys)


def distinct(runs: Iterable[Run]) -> list[Run]:
    """Return runs without repetition, in order."""
    return list({run.path: run for run in runs}.values())


@dataclass(frozen=True)
class Table:
    """One table.

    Attributes:
        title: heading in the report.
        caption: what it shows, with units; what an interval, a +/- mean and bold mean.
        section: of the report: scores, paper, importance, parameters, studies, cost or runs.
        keys: columns that say what a row is about, in the order of an address; no two rows have equal ones.
        number: the column that is meant where none is named.
        frame: labelled values in full precision.
        readable: the frame as a person reads it.
        sources: (keys of a row, column) -> the records that the number is computed from; none for what comes
            from elsewhere, such as the paper.
        measured: columns that a clock or a meter gave: another run gives other numbers.
    """

    title: str
    caption: str
    section: str
    keys: tuple[str, ...]
    number: str
    frame: Callable[[Results], pd.DataFrame]
    readable: Callable[[pd.DataFrame], Sheet]
    sources: Sources = own_runs
    measured: frozenset[str] = frozenset()

    def values(self, results: Results) -> pd.DataFrame:
        """Return the frame, with the column `optimistic` where its rows are of variants."""
        return add_optimistic(self.frame(results), results.optimistic)

    def full_caption(self, sheet: Sheet) -> str:
        """Return the caption, which explains the mark of optimistic results where the table has it."""
        texts = (cell.text for cells in sheet.columns.values() for cell in cells)
        return f"{self.caption} {NOTE}" if any(MARK in text for text in texts) else self.caption


def texts_of(frame: pd.DataFrame) -> list[dict[str, str]]:
    """Return the rows of a frame with their cells as its CSV file has them."""
    return read_texts(frame.to_csv(index=False))


def read_texts(csv: str) -> list[dict[str, str]]:
    """Return the rows of a CSV file, every cell as the text that it is."""
    return [dict(row) for row in DictReader(io.StringIO(csv, newline=""))]
