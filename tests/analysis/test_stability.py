import math

import numpy as np
import pytest
from analysis.conftest import make_record
from scipy import stats

from daam_bench.analysis.stability import importance_spread, pairs_of, rank_correlations


def test_pairs_of_folds_and_of_seeds():
    runs = [make_record("daam_v1", fold, seed, 0.5) for fold, seed in ((0, 0), (0, 1), (1, 0))]
    assert pairs_of(runs) == {"all": [(0, 1), (0, 2), (1, 2)], "folds": [(0, 2), (1, 2)], "seeds": [(0, 1)]}


@pytest.mark.parametrize(("kind", "by_hand"), [("spearman", 0.6), ("kendall", 2 / 3 - 1 / 3)])
def test_rank_correlations_by_hand(kind, by_hand):
    # Ranks 1 2 3 4 and 2 1 4 3: squared differences 4 of 60 / 6; 4 of 6 pairs agree, 2 do not.
    (found,) = rank_correlations([np.array([1.0, 2, 3, 4]), np.array([20.0, 10, 40, 30])], [(0, 1)], kind)
    assert found == pytest.approx(by_hand)


def test_constant_runs_have_no_rank():
    (found,) = rank_correlations([np.ones(4), np.arange(4.0)], [(0, 1)], "spearman")
    assert math.isnan(found)


def test_maps_are_compared_cell_by_cell():
    rng = np.random.default_rng(2)
    maps = [rng.random((5, 7)) for _ in range(2)]
    (found,) = rank_correlations(maps, [(0, 1)], "spearman")
    assert found == pytest.approx(stats.spearmanr(maps[0].ravel(), maps[1].ravel()).statistic)


def test_spread_is_of_importance_not_of_density():
    density = np.array([[0.0, 0.5], [0.75, 1.0]])
    assert not importance_spread([density, 3 * density]).any()
    assert importance_spread([density, 1 - density])[0].tolist() == [0.5, 0.0]
