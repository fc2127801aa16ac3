"""What a check found."""

from dataclasses import dataclass
from typing import Literal

Level = Literal["ok", "warn", "fail"]


@dataclass(frozen=True)
class Finding:
    """One line of the doctor: how it is, what was found, and what to do if it is not well."""

    level: Level
    check: str
    found: str
    remedy: str = ""
