"""Losses."""

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn import functional as F

from daam_bench.config import TrainingConfig


def focal_loss(
    logits: Float[Tensor, "batch class"],
    labels: Int[Tensor, " batch"],
    gamma: float = 2.5,
    alpha: float = 0.25,
) -> Float[Tensor, ""]:
    """Return alpha * (1 - p_t + 1e-6)^gamma * cross-entropy, mean over the batch (method.md section 2)."""
    cross_entropy = F.cross_entropy(logits, labels, reduction="none")
    probability = torch.exp(-cross_entropy)
    return (alpha * (1 - probability + 1e-6) ** gamma * cross_entropy).mean()


def loss_of(
    logits: Float[Tensor, "batch class"], labels: Int[Tensor, " batch"], training: TrainingConfig
) -> Float[Tensor, ""]:
    """Return the configured loss, computed in float32."""
    if training.loss == "focal":
        return focal_loss(logits.float(), labels, training.focal_gamma, training.focal_alpha)
    return F.cross_entropy(logits.float(), labels)
