"""Simulated tables: how often nothing is marked best, what is found, which intervals hold the true mean.

`python -m benchmarks.significance [page.md]` writes results/benchmarks/significance.json, and the figures
into a page. Scores are points of percent. Equal seeds give equal figures.
"""

import sys
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cache
from math import isnan
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy import stats

from benchmarks.measure import write_results
from benchmarks.page import replace_figures
from daam_bench.analysis.comparisons import confirm, mark_best
from daam_bench.analysis.significance import (
    ALPHA,
    best_group,
    compare_pairs,
    mean_interval,
)
from daam_bench.heads.presets import VARIANTS

Scores = npt.NDArray[np.float64]
Votes = dict[int, "pd.Series[bool]"]
MEAN = 50.0
TABLES = 1000
SEED = 20240111
EFFECTS = (5, 10, 20)
RESAMPLES = 1000
# What is alike in the answers of two variants to one sample, and in those of two seeds of a variant.
ALIKE, SEEDS_ALIKE = 0.5, 0.9
COMMAND = "python -m benchmarks.significance docs/results.md"


@dataclass(frozen=True)
class Setting:
    """How the scores of a table vary: standard deviations in points of percent.

    Attributes:
        folds, seeds, variants: size of the table.
        fold: what a fold does to all variants (IEMOCAP's sessions, as printed: 2 to 4).
        own: what it does to one variant alone, equal for all seeds.
        seed: what is left, of every run its own.
        ratio: validation samples over training samples. Folds share training samples, so a variant's own
            luck is correlated between folds by ratio / (1 + ratio), as Nadeau and Bengio (2003) assume.
        samples: validation samples that are drawn (`draw_right`); none where scores are drawn in points.
        effect: by how much the first variant is better than the others, which are equal.
        remark: what else the name says.
    """

    folds: int
    seeds: int
    variants: int = len(VARIANTS)
    fold: float = 4.0
    own: float = 2.0
    seed: float = 1.0
    ratio: float = 0.25
    samples: int = 0
    effect: float = 0.0
    remark: str = ""

    @property
    def name(self) -> str:
        """Size in words, such as `4 x 3, 13 variants`."""
        drawn = f", {self.samples:,} samples" if self.samples else ""
        return f"{self.folds} x {self.seeds}{drawn}{self.remark}, {self.variants} variants"


FOLDS = (Setting(4, 3, ratio=1 / 3), Setting(5, 5))
# What a variant's luck with the validation samples of the only fold does to it is there in all of its seeds.
ONE_FOLD = Setting(1, 5, own=0.0, samples=400)
# So is its luck with the training samples, which no test on this fold can tell from being better.
OTHER_FOLDS = Setting(1, 5, samples=2000, remark=", of other folds")


def draw_scores(setting: Setting, rng: np.random.Generator, tables: int) -> Scores:
    """Return scores in percent, [table, variant, fold, seed]."""
    size = (tables, setting.variants, setting.folds, setting.seeds)
    shared = setting.ratio / (1 + setting.ratio)
    luck = np.sqrt(shared) * rng.normal(size=(*size[:2], 1, 1))
    luck = luck + np.sqrt(1 - shared) * rng.normal(size=(*size[:3], 1))
    folds = setting.fold * rng.normal(size=(tables, 1, setting.folds, 1))
    scores: Scores = MEAN + folds + setting.own * luck + setting.seed * rng.normal(size=size)
    scores[:, 0] += setting.effect
    return scores


def draw_right(setting: Setting, rng: np.random.Generator) -> npt.NDArray[np.bool_]:
    """Return which runs of a table of one fold classify which validation samples rightly.

    A variant is right on a sample if a normal variable lies below a threshold, the chance of which is MEAN
    percent, with the setting's effect and `own` luck. The variable is partly the sample's, equal for all
    variants, partly the variant's, equal for its seeds, and partly the run's.

    Returns:
        Booleans, [variant, seed, sample].
    """
    size = (setting.variants, setting.seeds, setting.samples)
    chance = MEAN + setting.own * rng.normal(size=(setting.variants, 1, 1))
    chance[0] += setting.effect
    answers = np.sqrt(ALIKE) * rng.normal(size=(1, 1, size[2]))
    answers = answers + np.sqrt(SEEDS_ALIKE - ALIKE) * rng.normal(size=(size[0], 1, size[2]))
    answers = answers + np.sqrt(1 - SEEDS_ALIKE) * rng.normal(size=size)
    right: npt.NDArray[np.bool_] = answers < stats.norm.ppf(chance / 100)
    return right


def draw_tables(setting: Setting, rng: np.random.Generator, tables: int) -> Iterator[tuple[Scores, Votes]]:
    """Yield scores, [variant, fold, seed], and of every variant what its seeds' vote is right on."""
    if not setting.samples:
        yield from ((scores, {}) for scores in draw_scores(setting, rng, tables))
        return
    for _ in range(tables):
        right = draw_right(setting, rng)
        votes = {variant: pd.Series(runs.mean(axis=0) > 0.5) for variant, runs in enumerate(right)}
        yield 100 * right.mean(axis=-1)[:, np.newaxis], votes


def units_of(scores: Scores) -> Scores:
    """Return what the tests count, [..., unit], of scores [..., fold, seed]."""
    return scores.mean(axis=-1) if scores.shape[-2] > 1 else scores[..., 0, :]


@cache
def _replicas(setting: Setting) -> pd.DataFrame:
    sizes = setting.variants, setting.folds, setting.seeds
    places = pd.MultiIndex.from_product([range(size) for size in sizes], names=["variant", "fold", "seed"])
    frame = places.to_frame(index=False).assign(kind="attention", train_samples=1000)
    return frame.assign(validation_samples=1000 * setting.ratio)


def replica_table(setting: Setting, scores: Scores) -> pd.DataFrame:
    """Return scores as `aggregate.replica_frame` gives them; variants are named by their number."""
    return _replicas(setting).assign(score_percent=scores.ravel())


def pairs_of(setting: Setting, scores: Scores) -> pd.DataFrame:
    """Return the tests of a table on its units."""
    units = pd.DataFrame(dict(enumerate(units_of(scores))))
    return compare_pairs(units, setting.ratio).assign(unit="folds" if setting.folds > 1 else "seeds")


def confirmed(pairs: pd.DataFrame, votes: Votes) -> pd.DataFrame:
    """Return tests on units, with those on samples where these are drawn."""
    return confirm(pairs, chosen(votes)) if votes and pairs["significant"].any() else pairs


def chosen(votes: Votes) -> Any:
    """Return what gives the votes of some variants."""
    return lambda variants: {variant: votes[variant] for variant in variants}


def without_collecting() -> Any:
    """Return a context without forced garbage collection, which statsmodels does in every correction."""
    return mock.patch("gc.collect")


def wrong_shares(setting: Setting, tables: int = TABLES, seed: int = SEED) -> dict[str, float]:
    """Return in which share of tables without an effect something is claimed.

    That a variant is marked best; that it would be without a test on samples, where there is one; that two
    differ, by the tables' own tests; and that two differ if every run counts as an independent unit.
    """
    rng, counts = np.random.default_rng(seed), Counter[str]()
    with without_collecting():
        for scores, votes in draw_tables(setting, rng, tables):
            runs = pd.DataFrame(dict(enumerate(scores.reshape(len(scores), -1))))
            pairs = pairs_of(setting, scores)
            counts["marked best"] += bool(mark_best(replica_table(setting, scores), chosen(votes)))
            counts["marked, seeds alone"] += bool(best_group(pairs))
            counts["differ"] += bool(confirmed(pairs, votes)["significant"].any())
            counts["differ, runs as units"] += bool(compare_pairs(runs, 0.0)["significant"].any())
    names = ("marked best", "marked, seeds alone", "differ", "differ, runs as units")
    shares = {name: counts[name] / tables for name in names}
    return shares if setting.samples else shares | {"marked, seeds alone": float("nan")}


def power(setting: Setting, tables: int = TABLES, seed: int = SEED) -> float:
    """Return the share of tables in which the better variant alone is marked best."""
    rng, marked = np.random.default_rng(seed), 0
    with without_collecting():
        for scores, votes in draw_tables(setting, rng, tables):
            marked += best_group(confirmed(pairs_of(setting, scores), votes)) == [0]
    return marked / tables


def coverage(setting: Setting, tables: int = TABLES, seed: int = SEED) -> dict[str, float]:
    """Return how often the 95 % interval of a mean holds the true one: ours, and a bootstrap of all runs."""
    rng, held = np.random.default_rng(seed), Counter[str]()
    for (values,), _ in draw_tables(replace(setting, variants=1), rng, tables):
        runs = values.ravel()
        means = runs[rng.integers(len(runs), size=(RESAMPLES, len(runs)))].mean(axis=1)
        intervals = {
            "interval holds": mean_interval(units_of(values), setting.ratio),
            "bootstrap of runs holds": np.quantile(means, [ALPHA / 2, 1 - ALPHA / 2]),
        }
        held.update(name for name, (low, high) in intervals.items() if low <= MEAN <= high)
    return {name: held[name] / tables for name in ("interval holds", "bootstrap of runs holds")}


def simulate(tables: int) -> dict[str, dict[str, float]]:
    """Return all figures by setting; shares of tables."""
    found: dict[str, dict[str, float]] = {}
    for shape in (*FOLDS, ONE_FOLD, OTHER_FOLDS):
        for setting in (replace(shape, variants=2), shape):
            figures = wrong_shares(setting, tables) | coverage(setting, tables)
            if shape is not OTHER_FOLDS:
                figures |= {f"+{d} found": power(replace(setting, effect=d), tables) for d in EFFECTS}
            found[setting.name] = figures
            print(setting.name, figures, flush=True)
    return found


def table_of(found: dict[str, dict[str, float]], tables: int) -> str:
    """Return the figures as Markdown, in percent of tables."""
    shown = (100 * pd.DataFrame(found).T).map("{:.1f}".format).replace("nan", "")
    shown.index.name = "folds x seeds"
    said = (
        f"In % of {tables:,} tables each (seed {SEED}). Standard deviations in points: of a fold "
        f"{FOLDS[0].fold:g}, of a variant on a fold {FOLDS[0].own:g}, of a run {FOLDS[0].seed:g}. With one "
        f"fold variants are right on a sample with a chance of {MEAN:g} %, and what decides correlates by "
        f'{ALIKE:g} between variants, by {SEEDS_ALIKE:g} between seeds; "of other folds": the chance itself '
        f"has a standard deviation of {OTHER_FOLDS.own:g} points. Made by `{COMMAND}`."
    )
    return f"{shown.reset_index().to_markdown(index=False, disable_numparse=True)}\n\n{said}"


def main() -> None:
    """Simulate, print, and write the figures."""
    found = simulate(TABLES)
    every = {f"{name}: {figure}": v for name, figures in found.items() for figure, v in figures.items()}
    shares = {name: share for name, share in every.items() if not isnan(share)}
    write_results("significance", shares, {"tables": TABLES, "seed": SEED}, threads=1)
    for page in sys.argv[1:]:
        replace_figures(Path(page), COMMAND, table_of(found, TABLES))


if __name__ == "__main__":
    main()
