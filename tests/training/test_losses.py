import math

import pytest
import torch

from daam_bench.config import TrainingConfig
from daam_bench.training.losses import focal_loss, loss_of


def test_focal_loss_of_equal_logits_by_hand():
    # Two classes at p = 1/2: 0.25 * (0.5 + 1e-6)^2.5 * ln 2.
    found = focal_loss(torch.zeros(3, 2), torch.tensor([0, 1, 1]))
    assert float(found) == pytest.approx(0.25 * (0.5 + 1e-6) ** 2.5 * math.log(2), rel=1e-6)


def test_focal_loss_without_focus_is_cross_entropy():
    logits, labels = torch.randn(7, 5), torch.arange(7) % 5
    expected = torch.nn.functional.cross_entropy(logits, labels)
    torch.testing.assert_close(focal_loss(logits, labels, gamma=0.0, alpha=1.0), expected)


def test_focal_gradient_is_finite_for_a_certain_prediction():
    logits = torch.tensor([[200.0, 0.0]], requires_grad=True)
    focal_loss(logits, torch.tensor([0])).backward()
    assert logits.grad.isfinite().all()


def test_configured_loss_is_the_one_used():
    logits, labels = torch.randn(5, 3), torch.tensor([0, 1, 2, 1, 0])
    focal = loss_of(logits, labels, TrainingConfig(loss="focal", focal_gamma=1.5, focal_alpha=0.5))
    torch.testing.assert_close(focal, focal_loss(logits, labels, 1.5, 0.5))
    torch.testing.assert_close(
        loss_of(logits, labels, TrainingConfig()), torch.nn.functional.cross_entropy(logits, labels)
    )
