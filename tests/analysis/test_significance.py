"""Paired tests: closed forms, power, and how often tables without any difference are marked."""

import math
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from scipy import stats
from statsmodels.stats.contingency_tables import mcnemar

from benchmarks.significance import (
    FOLDS,
    THIS_FOLD,
    coverage,
    draw_scores,
    units_of,
    without_collecting,
    wrong_shares,
)
from daam_bench.analysis.comparisons import comparison_frame
from daam_bench.analysis.predictions import compare_predictions, pooled_correctness
from daam_bench.analysis.significance import (
    best_group,
    compare_pairs,
    compare_replicas,
    mean_interval,
    minimum_detectable,
    paired_units,
)
from daam_bench.errors import RecordError


def replicas(accuracies, train=70, validation=30):
    """Return replicas of {variant: [fold][seed]}."""
    rows = [
        {"variant": v, "kind": "attention", "fold": f, "seed": s, "score_percent": value}
        | {"train_samples": train, "validation_samples": validation}
        for v, folds in accuracies.items()
        for f, seeds in enumerate(folds)
        for s, value in enumerate(seeds)
    ]
    return pd.DataFrame(rows)


def test_a_unit_is_a_fold_with_seeds_averaged_and_a_seed_where_there_is_one_fold():
    many = paired_units(replicas({"a": [[1, 3], [5, 7]], "b": [[2, 2], [4, 8]]}))
    assert many.to_dict("list") == {"a": [2, 6], "b": [2, 6]}
    one = paired_units(replicas({"a": [[1, 3, 8]], "b": [[2, 2, 5]]}))
    assert one.to_dict("list") == {"a": [1, 3, 8], "b": [2, 2, 5]}


def test_only_shared_folds_and_seeds_are_compared():
    frame = replicas({"a": [[1], [5]], "b": [[2], [4]]}).drop(index=3)
    assert paired_units(frame).to_dict("list") == {"a": [1], "b": [2]}


def test_the_corrected_test_by_hand():
    units = pd.DataFrame({"a": [10.0, 14.0, 12.0], "b": [9.0, 11.0, 10.0]})
    row = compare_pairs(units, resampling_ratio=0.5).iloc[0]
    # Differences 1, 3, 2: mean 2, standard deviation 1; error sqrt(1/3 + 1/2).
    error = math.sqrt(1 / 3 + 1 / 2)
    assert (row["first"], row["difference"], row["effect"]) == ("a", pytest.approx(2), pytest.approx(2))
    assert row["p"] == pytest.approx(2 * stats.t.sf(2 / error, 2))
    half = stats.t.ppf(0.975, 2) * error
    assert (row["low"], row["high"]) == pytest.approx((2 - half, 2 + half))


def test_without_shared_training_data_it_is_the_paired_t_test():
    rng = np.random.default_rng(3)
    units = pd.DataFrame({"a": rng.normal(5, 1, 7), "b": rng.normal(4, 1, 7)})
    row = compare_pairs(units, resampling_ratio=0.0).iloc[0]
    assert row["p"] == pytest.approx(stats.ttest_rel(units["a"], units["b"]).pvalue)


def test_without_shared_training_data_the_interval_is_students():
    values = np.random.default_rng(19).normal(5, 2, 7)
    expected = stats.ttest_1samp(values, 0).confidence_interval(0.95)
    assert mean_interval(values, 0.0) == pytest.approx((expected.low, expected.high))


def test_the_interval_of_equal_values_and_of_one():
    assert mean_interval([3.0, 3.0, 3.0], 0.3) == (3.0, 3.0)
    assert all(math.isnan(end) for end in mean_interval([3.0], 0.3))


def test_intervals_hold_the_mean_although_seeds_share_their_fold():
    """4 folds x 3 seeds; what a fold does to all of its seeds is no repetition."""
    rng, tables, held = np.random.default_rng(23), 400, 0
    for _ in range(tables):
        values = rng.normal(0, 2, (4, 1)) + rng.normal(0, 1, (4, 3))
        low, high = mean_interval(values.mean(axis=1), 0.0)
        held += low <= 0 <= high
    assert stats.binom.ppf(0.001, tables, 0.95) <= held <= stats.binom.ppf(0.999, tables, 0.95)


def test_holm_orders_and_multiplies():
    rng = np.random.default_rng(5)
    units = pd.DataFrame({name: rng.normal(mean, 1, 5) for name, mean in (("a", 9), ("b", 5), ("c", 4.8))})
    found = compare_pairs(units, 0.25).sort_values("p")
    p = found["p"].to_numpy()
    expected = np.minimum(np.maximum.accumulate(p * [3, 2, 1]), 1)
    assert found["p_holm"].to_numpy() == pytest.approx(expected)


def test_one_unit_or_equal_variants_decide_nothing():
    assert compare_pairs(pd.DataFrame({"a": [1.0], "b": [2.0]}), 0.3)["p"].isna().all()
    same = compare_pairs(pd.DataFrame({"a": [1.0, 2.0, 3.0], "b": [0.5, 1.5, 2.5]}), 0.3)
    assert same["p"].tolist() == [1.0]
    assert best_group(same) == []


def pairs_of(significant, order="abcd"):
    rows = [
        {"first": order[i], "second": order[k], "p_holm": 0.01 if order[i] + order[k] in significant else 0.5}
        for i in range(len(order))
        for k in range(i + 1, len(order))
    ]
    return pd.DataFrame(rows)


@pytest.mark.parametrize(
    ("significant", "best"),
    [
        ([], []),
        (["ab", "ac", "ad"], ["a"]),
        (["ac", "ad", "bc", "bd"], ["a", "b"]),
        (["ad", "bd", "cd"], ["a", "b", "c"]),
        (["ab", "ac"], []),
    ],
)
def test_ties_share_the_mark(significant, best):
    assert best_group(pairs_of(significant)) == best


@pytest.mark.parametrize("shape", [*FOLDS, THIS_FOLD], ids=lambda shape: f"{shape.folds} x {shape.seeds}")
def test_at_most_one_in_twenty_null_tables_is_marked(shape):
    """Equal variants; each has its own luck on every fold, partly the same on all, every run its own noise.

    The fewer variants there are, the more tables are marked: `benchmarks/significance.py` has all 13, and
    the way from records to units.
    """
    marked, differ = 0, 0
    with without_collecting():
        for values in draw_scores(replace(shape, variants=3), np.random.default_rng(7), 1000):
            pairs = compare_pairs(pd.DataFrame(dict(enumerate(units_of(values)))), shape.ratio)
            marked += bool(best_group(pairs))
            differ += bool((pairs["p_holm"] < 0.05).any())
    # Of a thousand tables at 5 % more than 66 differ in less than one of a hundred such tests.
    assert differ <= stats.binom.ppf(0.99, 1000, 0.05)
    assert marked <= 50
    # Not for want of any finding.
    assert differ > 0


def test_runs_of_a_fold_are_no_units():
    """If they were, a difference would be found where there is none, and intervals would be too narrow."""
    found = wrong_shares(replace(FOLDS[0], variants=3), tables=200)
    assert found["differ"] <= stats.binom.ppf(0.99, 200, 0.05) / 200
    assert found["differ, runs as units"] > 0.4
    held = coverage(FOLDS[0], tables=400)
    assert held["interval holds"] >= stats.binom.ppf(0.01, 400, 0.95) / 400
    assert held["bootstrap of runs holds"] < 0.8


def test_a_large_difference_is_marked():
    rng = np.random.default_rng(11)
    values = {name: mean + rng.normal(0, 0.3, (5, 3)) for name, mean in (("a", 90), ("b", 60), ("c", 60))}
    assert best_group(compare_replicas(replicas(values))) == ["a"]


@pytest.mark.parametrize(("units", "ratio"), [(4, 0.33), (5, 0.25), (10, 0.0)])
def test_the_detectable_effect_is_found_with_power_080(units, ratio):
    effect = minimum_detectable(units, ratio)
    rng = np.random.default_rng(13)
    # The correction supposes this variance of a mean difference; draw means and spreads accordingly.
    means = rng.normal(effect, math.sqrt(1 / units + ratio), 20000)
    spreads = np.sqrt(rng.chisquare(units - 1, 20000) / (units - 1))
    t = means / (spreads * math.sqrt(1 / units + ratio))
    assert np.mean(t > stats.t.ppf(0.975, units - 1)) == pytest.approx(0.8, abs=0.015)


def predictions(rows):
    return pd.DataFrame(rows, columns=["fold", "seed", "sample_id", "label", "prediction"])


def test_a_sample_enters_once_by_vote_of_its_seeds():
    found = pooled_correctness(
        predictions(
            [
                *((0, seed, "x", 1, p) for seed, p in enumerate((1, 0, 1))),
                *((0, seed, "y", 1, p) for seed, p in enumerate((0, 0, 1))),
                *((1, seed, "x", 2, p) for seed, p in enumerate((2, 1, 0))),  # tied: the lowest seed
            ]
        )
    )
    assert found.to_dict() == {(0, "x"): True, (0, "y"): False, (1, "x"): True}


@pytest.mark.parametrize("seeds", [1, 2, 5])
def test_votes_are_those_of_pandas_with_the_first_seed_where_tied(seeds):
    rng = np.random.default_rng(31)
    names = [f"{row}" for row in range(211)]
    frame = predictions(
        [(f, s, name, 1, rng.integers(3)) for f in (0, 1) for s in range(seeds) for name in names]
    )
    wide = frame.pivot_table(index=["fold", "sample_id"], columns="seed", values="prediction")
    votes = wide.mode(axis=1)
    expected = votes[0].where(votes.notna().sum(axis=1) == 1, wide[0]) == 1
    assert pooled_correctness(frame).to_dict() == expected.to_dict()
    assert seeds < 2 or (votes.notna().sum(axis=1) > 1).any()


def test_a_seed_that_is_missing_on_a_fold_has_no_vote():
    rows = [(0, seed, "x", 1, p) for seed, p in enumerate((0, 1, 1))] + [(1, 1, "y", 2, 2)]
    assert pooled_correctness(predictions(rows)).to_dict() == {(0, "x"): True, (1, "y"): True}


def test_mcnemar_counts_the_samples_that_only_one_gets_right():
    index = pd.MultiIndex.from_product([[0], list("abcdefg")], names=["fold", "sample_id"])
    left = pd.Series([True, True, True, True, True, False, False], index=index)
    right = pd.Series([False, False, False, True, True, True, False], index=index)
    row = compare_predictions({"l": left, "r": right}).iloc[0]
    assert (row["only_first"], row["only_second"]) == (3, 1)
    assert row["mcnemar_p"] == pytest.approx(mcnemar([[2, 3], [1, 1]], exact=True).pvalue)
    assert row["mcnemar_p"] == pytest.approx(2 * stats.binom.cdf(1, 4, 0.5))


def test_the_comparison_table_says_what_is_compared(folders):
    found = comparison_frame(folders).iloc[0]
    assert (found["variant"], found["against"], found["unit"]) == ("daam_v1", "mha", "folds")
    assert found["difference_percent"] == pytest.approx(-5)
    assert found["against_is_best"]
    # Fold 0: 18 against 15 right (the first seed decides ties); fold 1: 18 against 21.
    assert (found["samples_only_variant"], found["samples_only_against"]) == (3, 3)


def test_missing_predictions_are_named(folders):
    (folders[0] / "fold1_seed0.parquet").unlink()
    with pytest.raises(RecordError, match=r"fold1_seed0.parquet.*run snakemake again"):
        comparison_frame(folders)
