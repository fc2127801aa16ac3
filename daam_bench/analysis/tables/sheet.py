"""The readable form of a table: text in cells; each number knows the cell of the frame that it is of."""

from collections.abc import Hashable, Iterable, Sequence
from dataclasses import dataclass

import pandas as pd


@dataclass(frozen=True)
class Shown:
    """One cell.

    Attributes:
        text: what a person reads.
        row: the row of the frame that its number lies in.
        column: the column of the frame; of several numbers the one that most records stand behind. Empty for
            words that name something.
        best: to be emphasised.
    """

    text: str
    row: Hashable = None
    column: str = ""
    best: bool = False


class Sheet:
    """Columns of cells under their headings.

    Args:
        rows: for each line the row of the frame that it is of, in a wide table the first one.
    """

    def __init__(self, rows: Iterable[Hashable]) -> None:
        self.rows = list(rows)
        self.columns: dict[str, list[Shown]] = {}

    def words(self, heading: str, texts: Iterable[object]) -> None:
        """Add a column that names what the lines are about."""
        self.cells(heading, [Shown(str(text)) for text in texts])

    def numbers(
        self, heading: str, column: str, texts: Iterable[str], best: Iterable[bool] | None = None
    ) -> None:
        """Add a column of numbers; `column` is theirs in the frame."""
        flags = [False] * len(self.rows) if best is None else best
        lines = zip(self.rows, texts, flags, strict=True)
        self.cells(heading, [Shown(text, row, column, bool(flag)) for row, text, flag in lines])

    def cells(self, heading: str, cells: Sequence[Shown]) -> None:
        """Add a column cell by cell."""
        if len(cells) != len(self.rows):
            raise ValueError(f"{heading}: {len(cells)} cells for {len(self.rows)} lines")
        self.columns[heading] = list(cells)

    @property
    def lines(self) -> list[list[Shown]]:
        """The cells line by line."""
        return [list(cells) for cells in zip(*self.columns.values(), strict=True)]

    def plain(self) -> pd.DataFrame:
        """Return the texts alone; the index holds `rows`."""
        texts = {heading: [cell.text for cell in cells] for heading, cells in self.columns.items()}
        return pd.DataFrame(texts, index=pd.Index(self.rows, dtype=object), dtype=object)
