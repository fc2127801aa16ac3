"""Pooling over time."""

import torch
from jaxtyping import Bool, Float
from torch import Tensor


def masked_mean(
    states: Float[Tensor, "batch time feature"], mask: Bool[Tensor, "batch time"]
) -> Float[Tensor, "batch feature"]:
    """Return the mean over the positions where `mask` is true, computed in float32.

    A sample without any true position gives NaN. Source: method.md section 1, paper section 3.
    """
    weights = mean_weights(mask)
    pooled = weighted_sum(states, weights)
    if not bool(torch.isfinite(pooled.sum())):
        # A padded position may hold NaN (fully masked attention rows), which zero weight alone would keep.
        pooled = weighted_sum(states.float().masked_fill(~mask.unsqueeze(-1), 0.0), weights)
    return pooled.squeeze(1)


def mean_weights(mask: Bool[Tensor, "batch time"]) -> Float[Tensor, "batch 1 time"]:
    """Return what each position counts for in its sample's mean: one over their number, or zero."""
    weights = mask.to(torch.float32)
    return (weights / weights.sum(dim=1, keepdim=True)).unsqueeze(1)


def weighted_sum(
    states: Float[Tensor, "batch time feature"], weights: Float[Tensor, "batch 1 time"]
) -> Float[Tensor, "batch 1 feature"]:
    """Return the sum over time of weighted states, computed in float32."""
    # One pass over the states: a product reads them once and copies nothing.
    return torch.bmm(weights, states.float())
