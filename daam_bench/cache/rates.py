"""How fast an extraction goes: for the bar while it runs, and for the record, to explain a slow run later."""

from time import perf_counter
from typing import Any

from rich.progress import Progress, TaskID

from daam_bench.encoders.base import Encoder


class Rates:
    """Counts samples and what they cost.

    Args:
        encoder: its `unit` is counted beside samples.
        progress: where the bar is shown.
        title: of the bar.
        total: number of samples that are to be computed or reused.
    """

    def __init__(self, encoder: Encoder, progress: Progress, title: str, total: int) -> None:
        self._encoder, self._progress = encoder, progress
        self._task: TaskID = progress.add_task(title, total=total, second="")
        self._start = perf_counter()
        self._samples, self._reused, self._positions = 0, 0, 0

    def encoded(self, samples: int, positions: int) -> None:
        """Count samples that went through the encoder, and the positions that they were pooled over."""
        self._samples += samples
        self._positions += positions
        rate = self._units / max(perf_counter() - self._start, 1e-9)
        second = f"{rate:,.3g} {self._encoder.unit}/s"
        self._progress.update(self._task, advance=samples, second=second)

    def reused(self, samples: int) -> None:
        """Count samples that an older cache had."""
        self._reused += samples
        self._progress.advance(self._task, samples)

    @property
    def _units(self) -> float:
        return self._positions * self._encoder.units_per_position

    def measured(self) -> dict[str, Any]:
        """Return numbers of samples and, if any was computed, seconds and rates since the start."""
        counts: dict[str, Any] = {"computed_samples": self._samples, "reused_samples": self._reused}
        if not self._samples:
            return counts
        seconds = perf_counter() - self._start
        return counts | {
            "seconds": seconds,
            "samples_per_second": self._samples / seconds,
            "unit": self._encoder.unit,
            "units_per_second": self._units / seconds,
        }
