"""Our value and its interval for one printed cell."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import sqrt

import numpy as np
import numpy.typing as npt
from scipy import stats
from statsmodels.stats.proportion import proportion_confint

from daam_bench.analysis.aggregate import replica_frame, score_interval
from daam_bench.analysis.paper.ablation import QUANTITY as ABLATED
from daam_bench.analysis.paper.ablation import AblationCell
from daam_bench.analysis.significance import ALPHA, student_interval, unit_values
from daam_bench.records import RunRecord

NAN = float("nan")


@dataclass(frozen=True)
class Ours:
    """A value of ours with its 95 % interval; nan where there is none. `interval` says what it is of."""

    value: float
    low: float
    high: float
    interval: str
    runs: tuple[tuple[int, int], ...]


def _runs(records: Sequence[RunRecord]) -> tuple[tuple[int, int], ...]:
    return tuple((record.fold, record.seed) for record in records)


def further_run(values: npt.ArrayLike) -> tuple[float, float]:
    """Return the 95 % prediction interval of one further run, mean +- t s sqrt(1 + 1 / n); nan for one."""
    runs = np.asarray(values, dtype=np.float64)
    if len(runs) < 2:
        return NAN, NAN
    low, high = student_interval(runs.mean(), runs.std(ddof=1) * sqrt(1 + 1 / len(runs)), len(runs) - 1)
    return float(low), float(high)


def spread_interval(values: npt.ArrayLike) -> tuple[float, float]:
    """Return the 95 % interval of a population standard deviation (ddof 0) of as many normal values."""
    units = np.asarray(values, dtype=np.float64)
    count = len(units)
    if count < 2:
        return NAN, NAN
    tails = stats.chi2.ppf([1 - ALPHA / 2, ALPHA / 2], count - 1)
    # (n - 1) s^2 / tail bounds the variance; sqrt((n - 1) / n) turns its root into one of ddof 0.
    low, high = units.std(ddof=1) * (count - 1) / np.sqrt(count * tails)
    return float(low), float(high)


def accuracy(records: Sequence[RunRecord], cell: str, units: str) -> Ours | None:
    """Return the accuracy in percent of the fold or run that a cell such as F3 or R3 is of.

    A fold of several seeds, and any run where runs are seeds, has the prediction interval of one further run:
    the paper's runs are not ours with other numbers. A single run has the Wilson interval of its validation
    samples.
    """
    number = int(cell[1:]) - 1
    found = [r for r in records if r.fold == number] if units == "folds" else list(records)
    if not found:
        return None
    values = [100 * r.score for r in found]
    if len(found) > 1:
        return Ours(float(np.mean(values)), *further_run(values), "one further run", _runs(found))
    samples = found[0].validation_samples
    low, high = proportion_confint(round(found[0].score * samples), samples, ALPHA, method="wilson")
    return Ours(values[0], 100 * float(low), 100 * float(high), "validation samples", _runs(found))


def ablated_accuracy(records: Sequence[RunRecord], cell: str, _units: str) -> Ours | None:
    """Return the accuracy in percent on some layers, of the fold that a cell of the ablation is of.

    Where the paper prints one accuracy and does not say of how many runs, it is taken for that of one run:
    ours then has the wider interval, that of one further run.
    """
    fold = AblationCell.parse(cell).fold
    return accuracy(records, fold or "R1", "folds" if fold else "seeds")


def mean_accuracy(records: Sequence[RunRecord], _cell: str, _units: str) -> Ours:
    """Return the mean in percent over folds and seeds, with the interval of the tables."""
    frame = replica_frame(records)
    return Ours(
        float(frame["score_percent"].mean()),
        *score_interval(frame),
        "mean over folds or runs",
        _runs(records),
    )


def spread(records: Sequence[RunRecord], _cell: str, _units: str) -> Ours:
    """Return the population standard deviation over folds (seeds averaged) or runs in points of percent."""
    values = unit_values(replica_frame(records))
    return Ours(
        float(values.std(ddof=0)), *spread_interval(values), "spread over folds or runs", _runs(records)
    )


def _count(counting: str) -> Callable[[Sequence[RunRecord], str, str], Ours | None]:
    def count(records: Sequence[RunRecord], _cell: str, _units: str) -> Ours | None:
        number = getattr(records[0], f"parameters_{counting}")
        if number is None:
            return None
        return Ours(number / 1e6, number / 1e6, number / 1e6, "exact", _runs(records))

    return count


def _range(parameter: str) -> Callable[[Sequence[RunRecord], str, str], Ours | None]:
    def extreme(records: Sequence[RunRecord], cell: str, _units: str) -> Ours | None:
        known = [r for r in records if parameter in r.parameter_ranges]
        ends = [r.parameter_ranges[parameter][0 if cell == "min" else 1] for r in known]
        if not ends:
            return None
        value = min(ends) if cell == "min" else max(ends)
        return Ours(value, *further_run(ends), "one further run", _runs(known))

    return extreme


OURS: dict[str, Callable[[Sequence[RunRecord], str, str], Ours | None]] = {
    "accuracy": accuracy,
    ABLATED: ablated_accuracy,
    "mean accuracy": mean_accuracy,
    "spread": spread,
    "parameters": _count("with_decoder"),
    "attention parameters": _count("attention"),
    "mean offset": _range("mean_offset"),
    "scaled variance": _range("scaled_variance"),
}
