import numpy as np
import pytest

from daam_bench.training.metrics import score

# Class 0: recall 3/4, precision 3/4; class 1: recall 0, never predicted; class 3: recall 1/1, precision 1/2.
LABELS = np.array([0, 0, 0, 0, 1, 1, 3])
PREDICTIONS = np.array([0, 0, 0, 3, 0, 2, 3])


@pytest.mark.parametrize(
    ("metric", "expected"),
    [
        ("accuracy", 4 / 7),
        ("balanced_accuracy", (3 / 4 + 0 + 1) / 3),
        ("macro_f1", (3 / 4 + 0 + 2 / 3) / 3),
    ],
)
def test_scores_are_those_worked_out_by_hand(metric, expected):
    assert score(metric, LABELS, PREDICTIONS) == pytest.approx(expected)
    assert score(metric, LABELS, LABELS) == 1.0
