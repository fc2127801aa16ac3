"""What was tried, what failed, and how each failure is made again."""

import time
from dataclasses import dataclass, field
from typing import Any


@dataclass
class Budget:
    """Seconds that a kind of torture may take; what was not tried in time is not counted."""

    seconds: float
    start: float = field(default_factory=time.monotonic)

    def left(self) -> bool:
        """Return whether there is time."""
        return time.monotonic() - self.start < self.seconds


@dataclass
class Tally:
    """Counts of one kind of torture.

    Attributes:
        tried: how many were made.
        failures: how each that failed is made again, and what was wrong.
        facts: further figures.
    """

    tried: int = 0
    failures: list[str] = field(default_factory=list)
    facts: dict[str, Any] = field(default_factory=dict)

    def note(self, recipe: str, problem: str | None) -> None:
        """Count one trial; a problem makes it a failure."""
        self.tried += 1
        if problem is not None:
            self.failures.append(f"{recipe}: {problem}")

    def count(self, fact: str, what: str) -> None:
        """Raise one figure of a further fact by one."""
        figures = self.facts.setdefault(fact, {})
        figures[what] = figures.get(what, 0) + 1

    def summary(self, seconds: float) -> dict[str, Any]:
        """Return plain data for the file of results."""
        counts = {"tried": self.tried, "failed": len(self.failures), "seconds": round(seconds, 1)}
        return counts | self.facts | {"failures": self.failures[:200]}
