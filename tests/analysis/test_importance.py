import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from daam_bench.analysis.importance import importance_factor, layer_contribution, mean_density

MAPS = arrays(np.float64, (5, 7), elements=st.floats(0, 1, allow_subnormal=False))


@given(MAPS)
def test_importance_lies_in_zero_to_one_and_uses_the_whole_map(density):
    found = importance_factor(density)
    assert found.min() >= 0
    assert found.max() <= 1
    if found.any():
        assert (found.min(), found.max()) == (0, 1)


def test_importance_by_hand():
    found = importance_factor(np.array([[0.2, 0.4], [0.6, 1.0]]))
    np.testing.assert_allclose(found, [[0, 0.25], [0.5, 1]])


def test_constant_map_has_no_importance():
    assert not importance_factor(np.full((3, 5), 0.7)).any()
    noise = np.full((3, 5), 0.7, dtype=np.float32)
    noise[1, 2] = np.nextafter(np.float32(0.7), np.float32(1))
    assert not importance_factor(noise).any()


def test_layer_contribution_by_hand():
    found = layer_contribution(np.array([[1.0, 2.0], [3.0, 4.0], [0.0, 0.0]]))
    assert found.tolist() == pytest.approx([30, 70, 0])


def test_mean_density_is_over_runs():
    assert (
        mean_density([np.full((2, 3), 1.0), np.full((2, 3), 2.0)]).tolist() == np.full((2, 3), 1.5).tolist()
    )
