"""What a table is, and what it is made of."""

from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import pandas as pd

from daam_bench.analysis.aggregate import read_all, replica_frame
from daam_bench.analysis.marks import Place, add_optimistic, mark_optimistic, optimistic_places
from daam_bench.records import RunRecord


@dataclass(frozen=True)
class Results:
    """The finished records of variant folders.

    Attributes:
        folders: `results/runs/<dataset>/<encoder>/<variant>`, baselines among them.

    Raises:
        RecordError: on reading, if a record is missing or damaged.
    """

    folders: Sequence[Path]

    @cached_property
    def places(self) -> dict[tuple[str, str, str], Path]:
        """Folder of each dataset, encoder and variant."""
        return {(r.dataset, r.encoder, r.variant): f for f in self.folders for r in read_all([f])[:1]}

    @cached_property
    def records(self) -> list[RunRecord]:
        """Every replica: caches by name, variants in the order of the presets."""
        return read_all(self.folders)

    @cached_property
    def optimistic(self) -> set[Place]:
        """Dataset, encoder and variant of results whose epoch was chosen on their validation samples."""
        return optimistic_places(self.records)

    @cached_property
    def replicas(self) -> pd.DataFrame:
        """`aggregate.replica_frame` of the records."""
        return replica_frame(self.records)


# Row of a frame and heading of its readable form -> (fold, seed) of the replicas that a cell is the mean of.
CellRuns = Mapping[tuple[Hashable, str], list[tuple[int, int]]]


@dataclass(frozen=True)
class Table:
    """One table.

    Attributes:
        title: heading in the report.
        caption: what it shows, with units; what an interval and a +/- mean.
        frame: labelled values in full precision.
        readable: the frame as a person reads it, text alone; its index holds rows of the frame, so that a
            number can be traced to the runs of that row's dataset, encoder and variant.
        cell_runs: the replicas behind single cells of the readable form; by default only rows are traced.
    """

    title: str
    caption: str
    frame: Callable[[Results], pd.DataFrame]
    readable: Callable[[pd.DataFrame], pd.DataFrame]
    cell_runs: Callable[[pd.DataFrame, Results], CellRuns] | None = None

    def values(self, results: Results) -> pd.DataFrame:
        """Return the frame, with the column `optimistic` where its rows are of variants."""
        return add_optimistic(self.frame(results), results.optimistic)

    def shown(self, frame: pd.DataFrame, results: Results) -> pd.DataFrame:
        """Return the readable form; variants with optimistic results have a mark."""
        return mark_optimistic(self.readable(frame), frame, results.optimistic)
