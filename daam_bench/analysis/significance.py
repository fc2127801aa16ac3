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


def paired_gain(replicas: pd.DataFrame, reference: pd.Series) -> tuple[float, float, float]:
    """Return the mean gain of a variant over a baseline in points, with the 95 % interval of `mean_interval`.

    Gains that are equal on every unit give no interval, as in `compare_pairs`.

    Args:
        replicas: rows of the variant on one cache.
        reference: score of the baseline on the fold of each row; folds without one take no part.
    """
    gains = replicas.assign(gain=replicas["score_percent"] - reference).dropna(subset="gain")
    units = unit_values(gains, "gain")
    varied = bool(len(units)) and np.ptp(units) > _ROUNDING
    low, high = mean_interval(units, resampling_ratio(gains)) if varied else (float("nan"), float("nan"))
    return float(gains["gain"].mean()), low, high


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
        the table), significant (p_holm < 0.05), effect (mean over standard deviation of the differences,
        Cohen's d_z, ddof 1), detectable (points of percent, see `minimum_detectable`) and detectable_holm
        (the same at the level ALPHA / pairs, the strictest of Holm's). With fewer than two units, and where
        differences are equal on every unit, there is no variance to test against: interval, p and the rest
        are nan, and nothing is significant. Holm's correction counts such pairs all the same.
    """
    order = units.mean().sort_values(ascending=False, kind="stable").index
    pairs = list(combinations(order, 2))
    first, second = [a for a, _ in pairs], [b for _, b in pairs]
    differences = units[first].to_numpy() - units[second].to_numpy()
    count, mean = len(units), differences.mean(axis=0)
    columns = {"first": first, "second": second, "units": [count] * len(pairs), "difference": mean}
    if count < 2 or not pairs:
        unknown = ["low", "high", "p", "p_holm", "effect", "detectable", "detectable_holm"]
        nothing = dict.fromkeys(unknown, np.full(len(pairs), np.nan))
        return pd.DataFrame(columns | nothing | {"significant": np.zeros(len(pairs), bool)})
    varied = np.ptp(differences, axis=0) > _ROUNDING
    spread = np.where(varied, differences.std(axis=0, ddof=1), np.nan)
    error = spread * sqrt(1 / count + resampling_ratio)
    p = 2 * stats.t.sf(np.abs(mean / error), count - 1)
    low, high = student_interval(mean, error, count - 1)
    corrected = multipletests(np.where(varied, p, 1.0), alpha=ALPHA, method="holm")[1]
    columns |= {
        "low": low,
        "high": high,
        "p": p,
        "p_holm": np.where(varied, corrected, np.nan),
        "significant": varied & (corrected < ALPHA),
        "effect": mean / spread,
        "detectable": spread * minimum_detectable(count, resampling_ratio),
        "detectable_holm": spread * minimum_detectable(count, resampling_ratio, ALPHA / len(pairs)),
    }
    return pd.DataFrame(columns)


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
    """Return the variants that stand out from the others; none if the data do not single out a group.

    The smallest group at the top in which every variant is significantly better than every variant outside
    it. Variants in it are not told apart. Holm's correction covers all pairs, so in at most 5 % of tables any
    group is wrong, whichever variants are truly equal. `comparisons.mark_best` asks more of it.

    Args:
        pairs: what `compare_pairs` returns.
    """
    order = list(dict.fromkeys([*pairs["first"], *pairs["second"]]))
    rank = {variant: place for place, variant in enumerate(order)}
    first, second = pairs["first"].map(rank).to_numpy(), pairs["second"].map(rank).to_numpy()
    significant = pairs["significant"].to_numpy(bool)
    for size in range(1, len(order)):
        across = (first < size) & (second >= size)
        if significant[across].all():
            return order[:size]
    return []


def resampling_ratio(replicas: pd.DataFrame) -> float:
    """Return validation samples over training samples, mean over replicas: n_test / n_train of the test."""
    return float((replicas["validation_samples"] / replicas["train_samples"]).mean())


def compare_replicas(replicas: pd.DataFrame) -> pd.DataFrame:
    """Return `compare_pairs` of the trained variants of one cache, with `unit` (folds or seeds)."""
    trained = replicas[replicas["kind"] != "baseline"]
    units = paired_units(trained)
    return compare_pairs(units, resampling_ratio(trained)).assign(unit=f"{units.index.name}s")


def baseline_scores(replicas: pd.DataFrame) -> dict[str, pd.Series]:
    """Return the score in percent on each fold of every baseline that was run on one cache, by name."""
    rows = replicas[replicas["kind"] == "baseline"]
    return {str(name): part.groupby("fold")["score_percent"].mean() for name, part in rows.groupby("variant")}


def is_better(replicas: pd.DataFrame, baseline: pd.Series) -> bool:
    """Tell whether a variant is significantly better than a baseline: its whole interval of the gain above 0.

    That is the test of `compare_pairs` of one pair. A baseline has one seed, so the variant's mean over seeds
    stands against it on each fold; with one fold each seed does.

    Args:
        replicas: rows of the variant on one cache.
        baseline: its score on each fold, as `baseline_scores` has it.
    """
    _, low, _ = paired_gain(replicas, replicas["fold"].map(baseline))
    return low > 0
