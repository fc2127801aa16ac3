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
    ONE_FOLD,
    OTHER_FOLDS,
    confirmed,
    coverage,
    draw_tables,
    pairs_of,
    without_collecting,
    wrong_shares,
)
from daam_bench.analysis.comparisons import mark_best
from daam_bench.analysis.predictions import compare_predictions, pooled_correctness
from daam_bench.analysis.significance import (
    best_group,
    compare_pairs,
    compare_replicas,
    is_better,
    mean_interval,
    minimum_detectable,
    paired_gain,
    paired_units,
)
from daam_bench.analysis.tables import make_tables
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


@pytest.mark.parametrize(
    "units",
    [
        {"a": [2.0], "b": [1.0]},
        {"a": [1.0, 2.0, 3.0], "b": [0.5, 1.5, 2.5]},
        {"a": [1.1, 2.2, 3.3], "b": [1.0, 2.1, 3.2]},  # 0.1 but for rounding
    ],
)
def test_without_a_variance_nothing_is_tested(units):
    row = compare_pairs(pd.DataFrame(units), 0.3).iloc[0]
    assert row["difference"] > 0
    assert row[["low", "high", "p", "p_holm", "effect", "detectable"]].isna().all()
    assert not row["significant"]
    assert best_group(compare_pairs(pd.DataFrame(units), 0.3)) == []
    gain, low, high = paired_gain(replicas({"a": [[v] for v in units["a"]]}), pd.Series(units["b"]))
    assert gain == pytest.approx(row["difference"])
    assert math.isnan(low) and math.isnan(high)
    assert not is_better(replicas({"a": [[v] for v in units["a"]]}), pd.Series(units["b"]))


def test_pairs_that_are_not_tested_count_in_holms_correction():
    units = pd.DataFrame({"a": [10.0, 14.0, 12.0], "b": [9.0, 11.0, 10.0], "c": [8.0, 10.0, 9.0]})
    found = compare_pairs(units, 0.25).set_index(["first", "second"])
    assert math.isnan(found.loc[("b", "c"), "p_holm"])
    assert found.loc[("a", "c"), "p_holm"] == pytest.approx(3 * found.loc[("a", "c"), "p"])


def test_a_gain_is_tested_as_a_difference_of_variants_is():
    scores = {"a": [[10, 12], [14, 12], [12, 16]], "b": [[9], [11], [11]]}
    row = compare_pairs(paired_units(replicas({"a": [[11], [13], [14]], "b": scores["b"]})), 3 / 7).iloc[0]
    runs = replicas({"a": scores["a"]})
    gain, low, high = paired_gain(runs, runs["fold"].map(pd.Series([9, 11, 11])))
    assert (gain, low, high) == pytest.approx((row["difference"], row["low"], row["high"]))
    assert is_better(runs, pd.Series([9, 11, 11])) == row["significant"] == (low > 0)


def judged(significant, order="abcd"):
    rows = [
        {"first": order[i], "second": order[k], "significant": order[i] + order[k] in significant}
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
    assert best_group(judged(significant)) == best


@pytest.mark.parametrize("shape", FOLDS, ids=lambda shape: f"{shape.folds} x {shape.seeds}")
def test_at_most_one_in_twenty_null_tables_is_marked(shape):
    """Equal variants; each has its own luck on every fold, partly the same on all, every run its own noise.

    The fewer variants there are, the more tables are marked: `benchmarks/significance.py` has all 13, and
    the way from records to units.
    """
    marked, differ = 0, 0
    setting = replace(shape, variants=3)
    with without_collecting():
        for scores, _ in draw_tables(setting, np.random.default_rng(7), 1000):
            pairs = pairs_of(setting, scores)
            marked += bool(best_group(pairs))
            differ += bool(pairs["significant"].any())
    # Of a thousand tables at 5 % more than 66 differ in less than one of a hundred such tests.
    assert differ <= stats.binom.ppf(0.99, 1000, 0.05)
    assert marked <= 50
    # Not for want of any finding.
    assert differ > 0


def test_luck_with_the_samples_of_one_fold_marks_at_most_one_null_table_in_twenty():
    """Equal variants, wrong on random samples; seeds alone take the luck of all of them for a difference."""
    setting, alone, marked = replace(ONE_FOLD, variants=2, samples=101), 0, 0
    with without_collecting():
        for scores, votes in draw_tables(setting, np.random.default_rng(7), 1000):
            pairs = pairs_of(setting, scores)
            alone += bool(best_group(pairs))
            marked += bool(best_group(confirmed(pairs, votes)))
    assert alone > 150
    assert 0 < marked <= 50


def test_a_mark_on_one_fold_says_nothing_of_other_folds():
    found = wrong_shares(replace(OTHER_FOLDS, variants=2), tables=60)
    assert found["marked best"] == found["differ"] > 0.15
    assert found["marked, seeds alone"] >= found["marked best"]


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


def runs_with_baselines(folds, baselines):
    """Return three variants, the first of which is best, and baselines of one seed: [fold] of each."""
    rng = np.random.default_rng(11)
    size = (folds, 3 if folds > 1 else 5)
    found = {name: mean + rng.normal(0, 0.3, size) for name, mean in (("a", 90), ("b", 60), ("c", 60))}
    lowest = replicas({name: [[score] for score in scores] for name, scores in baselines.items()})
    return pd.concat([replicas(found), lowest.assign(kind="baseline")], ignore_index=True)


BELOW, EQUAL, TOP = [70, 71, 70, 72, 70], [90.5, 89.4, 90.3, 89.8, 90.1], [95, 94, 96, 95, 95]


@pytest.mark.parametrize(
    ("baselines", "best"),
    [
        ({"majority": BELOW}, ["a"]),
        ({"majority": BELOW, "best_single_layer": BELOW}, ["a"]),
        ({"majority": BELOW, "best_single_layer": EQUAL}, []),
        ({"majority": BELOW, "best_single_layer": TOP}, []),
        ({"majority": TOP}, []),
    ],
)
def test_no_variant_is_best_under_a_baseline_or_beside_one(baselines, best):
    def never(variants):
        raise AssertionError("predictions are not needed where there are folds")

    assert mark_best(runs_with_baselines(5, baselines), never) == best


def right(share, of=100, start=0):
    """Return which of some samples are classified rightly: a run of them."""
    found = np.zeros(of, bool)
    found[start : start + share] = True
    return pd.Series(found)


@pytest.mark.parametrize(
    ("changed", "best"),
    [
        ({}, ["a"]),
        ({"c": right(85)}, []),  # McNemar's test does not tell a and c apart
        ({"c": right(100)}, []),  # it does, the other way round
        ({"layer": right(88)}, []),  # nor a and the baseline
    ],
)
def test_with_one_fold_the_samples_have_to_agree(changed, best):
    votes = {"a": right(90), "b": right(60), "c": right(60), "layer": right(70)} | changed
    table = runs_with_baselines(1, {"layer": [70]})
    assert mark_best(table, lambda variants: {variant: votes[variant] for variant in variants}) == best


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
    found = make_tables(folders)["comparisons"].iloc[0]
    assert (found["variant"], found["against"], found["unit"]) == ("daam_v1", "mha", "folds")
    assert found["difference_percent"] == pytest.approx(-5)
    assert found["against_is_best"]
    # Fold 0: 18 against 15 right (the first seed decides ties); fold 1: 18 against 21.
    assert (found["samples_only_variant"], found["samples_only_against"]) == (3, 3)


def test_missing_predictions_are_named(folders):
    (folders[0] / "fold1_seed0.parquet").unlink()
    with pytest.raises(RecordError, match=r"fold1_seed0.parquet.*run snakemake again"):
        make_tables(folders)["comparisons"]
