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
    weights = mask.to(torch.float32)
    weights = weights / weights.sum(dim=1, keepdim=True)
    # One pass over the states: a product reads them once and copies nothing.
    pooled = torch.bmm(weights.unsqueeze(1), states.float()).squeeze(1)
    if bool(torch.isfinite(pooled.sum())):
        return pooled
    # A padded position may hold NaN (fully masked attention rows), which zero weight alone would keep.
    kept = states.float().masked_fill(~mask.unsqueeze(-1), 0.0)
    return torch.bmm(weights.unsqueeze(1), kept).squeeze(1)
