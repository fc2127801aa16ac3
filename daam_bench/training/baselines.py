"""Baselines that need no attention: what a reader compares the variants with."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from daam_bench.config import Metric
from daam_bench.training.folds import Fold, Rows
from daam_bench.training.metrics import score

if TYPE_CHECKING:
    from sklearn.pipeline import Pipeline


@dataclass(frozen=True)
class BaselineOutcome:
    """Predicted classes of a fold's validation samples, and what was chosen on its training samples."""

    predictions: Rows
    note: str


def predict_majority(labels: Rows, fold: Fold, class_names: Sequence[str]) -> BaselineOutcome:
    """Predict the training split's most frequent class for every sample; the lower index wins a tie."""
    most_frequent = int(np.bincount(labels[fold.train]).argmax())
    predictions = np.full(len(fold.validation), most_frequent, dtype=np.int64)
    return BaselineOutcome(predictions, f"class {class_names[most_frequent]}")


def predict_best_single_layer(
    layers: Iterable[npt.NDArray[np.floating]],
    labels: Rows,
    fold: Fold,
    inner: tuple[Rows, Rows] | None,
    metric: Metric,
) -> BaselineOutcome:
    """Logistic regression on one layer, chosen on a held-out part of the training split.

    Args:
        layers: values [sample, feature] of each layer, one after another.
        labels: class index of each sample.
        fold: its training rows choose the layer and fit, its validation rows are predicted.
        inner: the training rows divided in two: a layer is fitted on the first part, chosen on the second;
            None if they are too few, then it is chosen on what it is fitted on.
        metric: what the layer is chosen by.
    """
    fitted, held_out = inner or (fold.train, fold.train)
    best, best_score, predictions = 0, -1.0, np.empty(0, np.int64)
    for number, values in enumerate(layers, 1):
        model = _logistic_regression(values[fitted], labels[fitted])
        found = score(metric, labels[held_out], model.predict(values[held_out]))
        if found > best_score:
            whole = _logistic_regression(values[fold.train], labels[fold.train])
            best, best_score, predictions = number, found, whole.predict(values[fold.validation])
    how = "" if inner else ", chosen on the samples that it is fitted on: too few to hold any out"
    return BaselineOutcome(predictions, f"layer {best}{how}")


def _logistic_regression(features: npt.NDArray[np.floating], labels: Rows) -> "Pipeline":
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    # C = 0.05: standardised features outnumber what a few thousand samples can fit without shrinkage.
    model = make_pipeline(StandardScaler(), LogisticRegression(C=0.05, max_iter=300))
    return model.fit(features, labels)
