"""The paper's layer ablation: what a printed cell is of, and which runs of ours are the same."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

from daam_bench.records import RunRecord
from daam_bench.studies.names import Pick

QUANTITY = "ablated accuracy"
_SIDES = {"high": "top", "low": "bottom"}
_CELL = re.compile(r"(high|low) IF, layers (\d+)(?:-(\d+))?(?:, (F\d+))?")


@dataclass(frozen=True)
class Ablated:
    """A run of ours on some layers, with the rule that chose them."""

    pick: Pick
    record: RunRecord


@dataclass(frozen=True)
class AblationCell:
    """What a printed accuracy of the ablation is of.

    Attributes:
        importance: high or low Importance Factor.
        first, last: numbers, from 1, of the ends of the block that the paper kept; equal for one layer.
        fold: F1 to F5; empty where the paper prints one accuracy and does not say of which run.
    """

    importance: str
    first: int
    last: int
    fold: str = ""

    @property
    def name(self) -> str:
        """Text of the cell, such as `high IF, layers 9, F1` or `low IF, layers 37-39`."""
        ending = f", {self.fold}" if self.fold else ""
        return f"{self.importance} IF, layers {_numbers(self.first, self.last)}{ending}"

    @classmethod
    def parse(cls, name: str) -> Self:
        """Return the cell of a text.

        Raises:
            ValueError: if it is none.
        """
        if (found := _CELL.fullmatch(name)) is None:
            raise ValueError(f"no cell of the layer ablation: {name!r}")
        importance, first, last, fold = found.groups()
        return cls(importance, int(first), int(last or first), fold or "")

    @property
    def size(self) -> int:
        """Number of layers kept."""
        return self.last - self.first + 1

    def is_of(self, pick: Pick) -> bool:
        """Say whether a pick follows the paper's rule: one layer, or neighbours, of the same importance."""
        block = pick.block or self.size == 1
        return (pick.side, pick.size, block) == (_SIDES[self.importance], self.size, True)


def runs_of(cell: str, variant: str, ablated: Sequence[Ablated]) -> list[RunRecord]:
    """Return our runs of the choice of layers that a printed cell is of."""
    wanted = AblationCell.parse(cell)
    return [a.record for a in ablated if a.record.variant == variant and wanted.is_of(a.pick)]


def missing(cell: str) -> str:
    """Return what of the ablation was not run, in words."""
    size = AblationCell.parse(cell).size
    return f"the ablation that keeps {'one layer' if size == 1 else f'a block of {size} layers'}"


def other_layers(cell: str, records: Sequence[RunRecord]) -> str:
    """Return which layers our runs kept if the paper kept others; empty if they are the same."""
    wanted = AblationCell.parse(cell)
    theirs = list(range(wanted.first, wanted.last + 1))
    kept = {tuple(record.layers) for record in records if record.layers not in (None, theirs)}
    ours = " or ".join(_numbers(min(layers), max(layers)) for layers in sorted(kept))
    return f"ours kept {ours}, the paper {_numbers(wanted.first, wanted.last)}" if kept else ""


def _numbers(first: int, last: int) -> str:
    return str(first) if first == last else f"{first}-{last}"
