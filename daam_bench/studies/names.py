"""Names of studies in paths: `protocol-paper`, `switch-optimizer-adamw`, `layers-top-3`."""

from dataclasses import dataclass
from typing import Literal, Self, cast

Side = Literal["top", "bottom", "random"]


@dataclass(frozen=True)
class Pick:
    """Which layers are kept: by what, in one block or not, how many, and which random draw (from 1)."""

    side: Side
    size: int
    block: bool = False
    draw: int = 0

    @property
    def name(self) -> str:
        """Name in paths, such as `top-3`, `bottom_block-3` or `random-3-1`."""
        ending = f"-{self.draw}" if self.draw else ""
        return f"{self.side}{'_block' if self.block else ''}-{self.size}{ending}"

    @classmethod
    def parse(cls, name: str) -> Self:
        """Return the pick of a name."""
        side, size, *draw = name.split("-")
        kind, _, block = side.partition("_")
        return cls(cast(Side, kind), int(size), bool(block), int(draw[0]) if draw else 0)


@dataclass(frozen=True)
class StudyName:
    """What one derived run changes: kind is protocol, switch or layers."""

    kind: str
    subject: str
    value: str = ""

    def __str__(self) -> str:
        """Name of the folder."""
        return "-".join(filter(None, (self.kind, self.subject, self.value)))

    @classmethod
    def parse(cls, name: str) -> Self:
        """Return the parts of a folder's name."""
        kind, _, rest = name.partition("-")
        # A pick has hyphens of its own, a switch has a value behind its field.
        return cls(kind, *rest.split("-", 1)) if kind == "switch" else cls(kind, rest)
