"""Scores of predicted classes."""

import numpy as np
from sklearn.metrics import accuracy_score, f1_score, recall_score

from daam_bench.config import Metric
from daam_bench.training.folds import Rows


def score(metric: Metric, labels: Rows, predictions: Rows) -> float:
    """Return a score in [0, 1].

    Classes that no sample has are left out of the means over classes; a class that is never predicted
    counts as 0.

    Args:
        metric: accuracy; balanced_accuracy, the mean recall of the classes; macro_f1, their mean F1.
        labels: class index of each sample.
        predictions: predicted class index of each sample.
    """
    if metric == "accuracy":
        return float(accuracy_score(labels, predictions))
    over_classes = {"balanced_accuracy": recall_score, "macro_f1": f1_score}[metric]
    return float(
        over_classes(labels, predictions, labels=np.unique(labels), average="macro", zero_division=0)
    )
