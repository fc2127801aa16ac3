import numpy as np
import pytest

from daam_bench.training.baselines import predict_best_single_layer, predict_majority
from daam_bench.training.folds import Fold

LABELS = np.array([0, 1, 0, 1, 0, 1, 0, 1, 1])
FOLD = Fold(0, "a", np.arange(6), np.arange(6, 9))


def layers():
    """Three layers, of which the second alone tells the class."""
    noise = np.random.default_rng(0).normal(size=(3, 9, 5))
    noise[1] = LABELS[:, None]
    return noise


@pytest.mark.parametrize("inner", [(np.arange(4), np.arange(4, 6)), None], ids=["held out", "too few"])
def test_the_layer_that_tells_the_class_is_chosen(inner):
    found = predict_best_single_layer(layers(), LABELS, FOLD, inner, "accuracy")
    assert found.predictions.tolist() == [0, 1, 1]
    if inner is not None:
        assert found.note == "layer 2"
    else:
        assert found.note.endswith("too few to hold any out")


def test_the_majority_is_that_of_the_training_samples():
    labels = np.array([2, 2, 1, 0, 0, 0])
    found = predict_majority(labels, Fold(0, "a", np.arange(3), np.arange(3, 6)), ["low", "high", "none"])
    assert found.predictions.tolist() == [2, 2, 2]
    assert found.note == "class none"
