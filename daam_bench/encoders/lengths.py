"""Samples of different lengths: in one batch where the model keeps them apart, else by length."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import torch
from jaxtyping import Float
from torch import Tensor

if TYPE_CHECKING:
    from daam_bench.encoders.base import OpenEncoder
    from daam_bench.encoders.hidden_states import LayerPooler


def pool_by_length(
    encoder: "OpenEncoder", pooler: "LayerPooler", prepared: Sequence[Any]
) -> Float[Tensor, "batch layer feature"]:
    """Return the pooled layers of prepared samples, float32, on the CPU, in their order."""
    if encoder.mixes_lengths:
        return pooler.pool(*encoder.batch(prepared))
    found = torch.empty(len(prepared), pooler.layers, pooler.features)
    for length in {len(sample) for sample in prepared}:
        rows = [row for row, sample in enumerate(prepared) if len(sample) == length]
        found[rows] = pooler.pool(*encoder.batch([prepared[row] for row in rows]))
    return found
