"""Simulated tables: how often nothing is marked best, what is found, which intervals hold the true mean.

`python -m benchmarks.significance [page.md]` writes results/benchmarks/significance.json, and the figures
into a page. Scores are points of percent. Equal seeds give equal figures.
"""

import sys
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import numpy.typing as npt
import pandas as pd

from benchmarks.measure import write_results
from benchmarks.page import replace_figures
from daam_bench.analysis.significance import (
    ALPHA,
    best_group,
    compare_pairs,
    compare_replicas,
    mean_interval,
)
from daam_bench.heads.presets import VARIANTS

Scores = npt.NDArray[np.float64]
MEAN = 50.0
TABLES = 1000
SEED = 20240111
EFFECTS = (5, 10, 20)
RESAMPLES = 1000
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
        effect: by how much the first variant is better than the others, which are equal.
        remark: in words what one fold says nothing of.
    """

    folds: int
    seeds: int
    variants: int = len(VARIANTS)
    fold: float = 4.0
    own: float = 2.0
    seed: float = 1.0
    ratio: float = 0.25
    effect: float = 0.0
    remark: str = ""

    @property
    def name(self) -> str:
        """Size in words, such as `4 x 3, 13 variants`."""
        return f"{self.folds} x {self.seeds}{self.remark}, {self.variants} variants"


FOLDS = (Setting(4, 3, ratio=1 / 3), Setting(5, 5))
# What the only fold does to a variant is there in all of its seeds: they speak of this fold alone.
THIS_FOLD = Setting(1, 5, fold=0.0, own=0.0, remark=", of this fold")
OTHER_FOLDS = Setting(1, 5, remark=", of other folds")


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


def units_of(scores: Scores) -> Scores:
    """Return what the tests count, [..., unit], of scores [..., fold, seed]."""
    return scores.mean(axis=-1) if scores.shape[-2] > 1 else scores[..., 0, :]


def replica_tables(setting: Setting, rng: np.random.Generator, tables: int) -> Iterator[pd.DataFrame]:
    """Yield tables as `aggregate.replica_frame` gives them; variants are named by their number."""
    scores = draw_scores(setting, rng, tables)
    places = pd.MultiIndex.from_product(
        [range(n) for n in scores.shape[1:]], names=["variant", "fold", "seed"]
    )
    frame = places.to_frame(index=False).assign(kind="attention", train_samples=1000)
    frame["validation_samples"] = 1000 * setting.ratio
    for values in scores:
        yield frame.assign(score_percent=values.ravel())


def without_collecting() -> Any:
    """Return a context without forced garbage collection, which statsmodels does in every correction."""
    return mock.patch("gc.collect")


def wrong_shares(setting: Setting, tables: int = TABLES, seed: int = SEED) -> dict[str, float]:
    """Return in which share of tables without an effect something is claimed.

    That a variant is marked best; that two differ, by the tables' own test; and that two differ if every run
    counts as an independent unit.
    """
    rng, counts = np.random.default_rng(seed), Counter[str]()
    with without_collecting():
        for table in replica_tables(setting, rng, tables):
            runs = table.pivot_table(index=["fold", "seed"], columns="variant", values="score_percent")
            pairs = compare_replicas(table)
            counts["marked best"] += bool(best_group(pairs))
            counts["differ"] += bool((pairs["p_holm"] < ALPHA).any())
            counts["differ, runs as units"] += bool((compare_pairs(runs, 0.0)["p_holm"] < ALPHA).any())
    return {name: counts[name] / tables for name in ("marked best", "differ", "differ, runs as units")}


def power(setting: Setting, tables: int = TABLES, seed: int = SEED) -> float:
    """Return the share of tables in which the better variant alone is marked best."""
    rng, marked = np.random.default_rng(seed), 0
    with without_collecting():
        for values in draw_scores(setting, rng, tables):
            units = pd.DataFrame(dict(enumerate(units_of(values))))
            marked += best_group(compare_pairs(units, setting.ratio)) == [0]
    return marked / tables


def coverage(setting: Setting, tables: int = TABLES, seed: int = SEED) -> dict[str, float]:
    """Return how often the 95 % interval of a mean holds the true one: ours, and a bootstrap of all runs."""
    rng, held = np.random.default_rng(seed), Counter[str]()
    for values in draw_scores(replace(setting, variants=1), rng, tables)[:, 0]:
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
    for shape in (*FOLDS, THIS_FOLD, OTHER_FOLDS):
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
        f'{FOLDS[0].fold:g}, of a variant on a fold {FOLDS[0].own:g}, of a run {FOLDS[0].seed:g}; "of this '
        f'fold" the last alone. Made by `{COMMAND}`.'
    )
    return f"{shown.reset_index().to_markdown(index=False, disable_numparse=True)}\n\n{said}"


def main() -> None:
    """Simulate, print, and write the figures."""
    found = simulate(TABLES)
    shares = {f"{name}: {figure}": v for name, figures in found.items() for figure, v in figures.items()}
    write_results("significance", shares, {"tables": TABLES, "seed": SEED}, threads=1)
    for page in sys.argv[1:]:
        replace_figures(Path(page), COMMAND, table_of(found, TABLES))


if __name__ == "__main__":
    main()
