"""Which differences between variants hold: paired tests on identical folds, seeds and samples.

The unit of every test is a fold: seeds of one fold share training and validation samples, so they are no
independent repetitions, and their mean is taken first. A single fold leaves the seeds as units: they speak of
that fold alone. Treating folds x seeds as independent instead finds a difference in most tables without any,
when variants differ in what they do to each fold (benchmarks/significance.py has the simulation).
"""

from functools import cache
from itertools import combinations
from math import sqrt

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy import stats
from scipy.optimize import brentq
from statsmodels.stats.multitest import multipletests
from statsmodels.stats.power import TTestPower

ALPHA = 0.05
POWER = 0.8
Values = npt.NDArray[np.float64]
_ROUNDING = 1e-9  # points of percent; smaller spreads are rounding, not variation


def paired_units(replicas: pd.DataFrame) -> pd.DataFrame:
    """Return accuracies in percent, [unit, variant]; a unit is a fold, or a seed if there is one fold.

    Only folds and seeds that every variant has are kept, so that all comparisons are paired.

    Args:
        replicas: rows of `aggregate.replica_frame` of the variants of one cache.
    """
    wide = replicas.pivot_table(index=["fold", "seed"], columns="variant", values="score_percent", sort=False)
    shared = wide.dropna()
    return shared.groupby("fold").mean() if unit_of(shared.index) == "folds" else shared.droplevel("fold")


def mean_interval(units: npt.ArrayLike, resampling_ratio: float) -> tuple[float, float]:
    """Return the 95 % interval of a mean over units, (nan, nan) if one unit gives none.

    Student's t with n - 1 degrees of freedom and the variance of `compare_pairs`. A bootstrap of folds x
    seeds is no substitute: with 4 folds x 3 seeds its 95 % intervals hold the true mean in little more than
    half of simulated tables (benchmarks/significance.py).

    Args:
        units: one value a fold, seeds averaged, or a seed if there is one fold; [unit].
        resampling_ratio: validation samples over training samples; units share training samples.
    """
    values = np.asarray(units, dtype=np.float64)
    if len(values) < 2:
        return float("nan"), float("nan")
    error = values.std(ddof=1) * sqrt(1 / len(values) + resampling_ratio)
    low, high = student_interval(values.mean(), error, len(values) - 1)
    return float(low), float(high)


def student_interval(mean: npt.ArrayLike, error: npt.ArrayLike, freedom: int) -> tuple[Values, Values]:
    """Return the ends of Student's 95 % intervals, mean +- t error; an error of 0 gives the mean itself.

    Args:
        mean: of each interval, any shape.
        error: standard error, of the same shape.
        freedom: degrees of freedom.
    """
    # scipy has no distribution of scale 0, hence its interval of scale 1.
    low, high = stats.t.interval(1 - ALPHA, freedom)
    middle, scale = np.asarray(mean, dtype=np.float64), np.asarray(error, dtype=np.float64)
    return middle + low * scale, middle + high * scale


def unit_values(replicas: pd.DataFrame, column: str = "score_percent") -> pd.Series:
    """Return one value a unit of one variant on one cache: a fold, or a seed if there is one fold."""
    indexed = replicas.set_index(["fold", "seed"])[column]
    return indexed.groupby("fold" if unit_of(indexed.index) == "folds" else "seed").mean()


def unit_of(replicas: pd.Index) -> str:
    """Return `folds` or `seeds`: what the tests take as units, given an index (fold, seed)."""
    return "folds" if len(replicas.unique("fold")) > 1 else "seeds"


def compare_pairs(units: pd.DataFrame, resampling_ratio: float) -> pd.DataFrame:
    """Test every pair of variants; return one row a pair, the variant with the higher mean first.

    Corrected resampled t test (Nadeau and Bengio 2003, doi:10.1023/A:1024068626366): units share training
    samples, so the variance of a mean difference over n units is (1 / n + n_test / n_train) s^2 instead of
    s^2 / n, with n - 1 degrees of freedom.

    Args:
        units: accuracies in percent, [unit, variant], as `paired_units` gives them.
        resampling_ratio: validation samples over training samples of one fold.

    Returns:
        Columns first, second, units, difference (points of percent), low and high (95 % interval of the
        difference, not corrected for the number of pairs), p, p_holm (Holm's correction over all pairs of
        the table), effect (mean over standard deviation of the differences, Cohen's d_z, ddof 1),
        detectable (points of percent, see `minimum_detectable`) and detectable_holm (the same at the level
        ALPHA / pairs, the strictest of Holm's). With fewer than two units nothing is tested (nan);
        differences that are equal on every unit give no variance to test against (p = 1).
    """
    order = units.mean().sort_values(ascending=False, kind="stable").index
    pairs = list(combinations(order, 2))
    first, second = [a for a, _ in pairs], [b for _, b in pairs]
    differences = units[first].to_numpy() - units[second].to_numpy()
    count, mean = len(units), differences.mean(axis=0)
    frame = pd.DataFrame({"first": first, "second": second, "units": count, "difference": mean})
    if count < 2 or not pairs:
        unknown = ["low", "high", "p", "p_holm", "effect", "detectable", "detectable_holm"]
        return frame.assign(**dict.fromkeys(unknown, float("nan")))
    spread = differences.std(axis=0, ddof=1)
    constant = np.ptp(differences, axis=0) <= _ROUNDING
    error = spread * sqrt(1 / count + resampling_ratio)
    p = np.ones(len(pairs))
    p[~constant] = 2 * stats.t.sf(np.abs(mean[~constant] / error[~constant]), count - 1)
    low, high = student_interval(mean, error, count - 1)
    varied = np.where(constant, np.nan, spread)
    return frame.assign(
        low=low,
        high=high,
        p=p,
        p_holm=multipletests(p, alpha=ALPHA, method="holm")[1],
        effect=mean / varied,
        detectable=varied * minimum_detectable(count, resampling_ratio),
        detectable_holm=varied * minimum_detectable(count, resampling_ratio, ALPHA / len(pairs)),
    )


@cache
def minimum_detectable(units: int, resampling_ratio: float, alpha: float = ALPHA) -> float:
    """Return the smallest effect that the corrected two-sided test finds, in its direction, with power 0.8.

    Args:
        units: number of folds (or seeds); at least 2.
        resampling_ratio: validation samples over training samples; the correction makes the units worth
            1 / (1 / units + resampling_ratio) independent ones.
        alpha: level of the test.

    Returns:
        The effect in standard deviations of the differences.
    """
    worth, test = 1 / (1 / units + resampling_ratio), TTestPower()

    def shortfall(effect: float) -> float:
        return float(test.power(effect, worth, alpha / 2, df=units - 1, alternative="larger")) - POWER

    # An effect of twice the critical value is found with power 0.95 or more at any number of units.
    largest = 2 * stats.t.ppf(1 - alpha / 2, units - 1) / sqrt(worth)
    return float(brentq(shortfall, 0.0, largest))


def best_group(pairs: pd.DataFrame) -> list[str]:
    """Return the variants to be marked as significantly best; none if the data do not single out a group.

    The smallest group at the top in which every variant is significantly better (p_holm < 0.05) than every
    variant outside it. Variants in it share the mark: they are not told apart. Holm's correction covers all
    pairs, so in at most 5 % of tables any mark is wrong, whichever variants are truly equal.

    Args:
        pairs: what `compare_pairs` returns.
    """
    order = list(dict.fromkeys([*pairs["first"], *pairs["second"]]))
    rank = {variant: place for place, variant in enumerate(order)}
    first, second = pairs["first"].map(rank).to_numpy(), pairs["second"].map(rank).to_numpy()
    significant = (pairs["p_holm"] < ALPHA).to_numpy()
    for size in range(1, len(order)):
        across = (first < size) & (second >= size)
        if significant[across].all():
            return order[:size]
    return []


def resampling_ratio(replicas: pd.DataFrame) -> float:
    """Return validation samples over training samples, mean over replicas: n_test / n_train of the test."""
    return float((replicas["validation_samples"] / replicas["train_samples"]).mean())


def compare_replicas(replicas: pd.DataFrame) -> pd.DataFrame:
    """Return `compare_pairs` of the trained variants of one cache; baselines take no part."""
    trained = replicas[replicas["kind"] != "baseline"]
    return compare_pairs(paired_units(trained), resampling_ratio(trained))
