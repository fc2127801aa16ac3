"""How fast an extraction goes: for the bar while it runs, and for the record, to explain a slow run later."""

import json
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from time import perf_counter
from typing import Any

from rich.progress import Progress, TaskID

from daam_bench.encoders.base import Encoder

_SUMS = ("computed_samples", "reused_samples", "units", "seconds")
_RATES = {"samples_per_second": "computed_samples", "units_per_second": "units"}


class Rates:
    """Counts samples, what they cost and how long they took.

    Args:
        encoder: its `unit` is counted beside samples.
        progress: where the bar is shown.
        title: of the bar.
        total: number of samples that are to be computed or reused.
        journal: file to which each chunk adds a line, so that a killed run is counted, too; None for none.
    """

    def __init__(
        self, encoder: Encoder, progress: Progress, title: str, total: int, journal: Path | None = None
    ) -> None:
        self._encoder, self._progress, self._journal = encoder, progress, journal
        self._task: TaskID = progress.add_task(title, total=total, second="")
        self._start = self._noted = perf_counter()
        self._lines: list[dict[str, Any]] = []
        self._all_units = 0.0
        self._samples, self._reused, self._positions = 0, 0, 0

    def encoded(self, samples: int, positions: int) -> None:
        """Count samples that went through the encoder, and the positions that they were pooled over."""
        self._samples += samples
        self._positions += positions
        self._all_units += positions * self._encoder.units_per_position
        second = f"{self._all_units / max(perf_counter() - self._start, 1e-9):,.3g} {self._encoder.unit}/s"
        self._progress.update(self._task, advance=samples, second=second)

    def reused(self, samples: int) -> None:
        """Count samples that an older cache had."""
        self._reused += samples
        self._progress.advance(self._task, samples)

    def note(self) -> None:
        """Write down what was counted since the last call, and the time since then."""
        if not self._samples and not self._reused:
            return
        now = perf_counter()
        line = {
            "computed_samples": self._samples,
            "reused_samples": self._reused,
            "units": self._positions * self._encoder.units_per_position,
            "seconds": now - self._noted,
            "unit": self._encoder.unit,
        }
        self._noted, self._samples, self._reused, self._positions = now, 0, 0, 0
        self._lines.append(line)
        if self._journal is not None:
            self._journal.parent.mkdir(parents=True, exist_ok=True)
            with self._journal.open("a", encoding="utf-8") as handle:
                handle.write("\n" + json.dumps(line))  # begins a line also behind one that a kill tore

    def measured(self) -> dict[str, Any]:
        """Return what was measured since the start (see `sum_measurements`)."""
        self.note()
        return sum_measurements(self._lines)


def sum_measurements(parts: Iterable[dict[str, Any]]) -> dict[str, Any]:
    """Return the sums of samples, units and seconds, and the rates that follow from them.

    Seconds are those of all jobs together, whether they ran at once or one after another: a rate is what one
    job did on average. Without computed samples there are no rates. What else a part measured is kept.
    """
    sums: dict[str, Any] = dict.fromkeys(_SUMS[:2], 0)
    for part in parts:
        for key, value in part.items():
            sums[key] = sums.get(key, 0) + value if key in _SUMS else value
    if not sums["computed_samples"]:
        return {key: value for key, value in sums.items() if key not in ("units", "unit", "seconds")}
    seconds = max(sums["seconds"], 1e-9)
    rates = {name: sums[key] / seconds for name, key in _RATES.items()}
    return sums | rates


def journal_of(parts: Path, store: str, part: tuple[int, int]) -> Path:
    """Return the file in which one part of a store's extraction writes down its rates."""
    return parts / f"{store}.{part[0]}-of-{part[1]}.rates.jsonl"


def read_journals(parts: Path, store: str) -> list[dict[str, Any]]:
    """Return the lines of all runs that filled a store; one that a kill tore is left out."""
    found = []
    for file in sorted(parts.glob(f"{store}.*.rates.jsonl")):
        for line in file.read_text(encoding="utf-8", errors="replace").splitlines():
            with suppress(
                ValueError, TypeError, LookupError, ArithmeticError, RecursionError, AttributeError
            ):
                facts = json.loads(line)
                sum_measurements([facts])
                found.append(facts)
    return found
