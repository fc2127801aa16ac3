"""Logits of a trained model."""

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor, nn

from daam_bench.config import TrainingConfig
from daam_bench.environment import has_bfloat16
from daam_bench.training.folds import Rows
from daam_bench.training.order import batches_of
from daam_bench.training.source import Buffer

_EVALUATION_BATCH = 512
# A batch of that many samples of 40 x 5120 values would take gigabytes in the decoder.
_EVALUATION_VALUES = 2**24


def predict(
    model: nn.Module,
    buffer: Buffer,
    rows: Rows,
    training: TrainingConfig,
    layers: Sequence[int] | None = None,
) -> Float[Tensor, "row class"]:
    """Return the logits of rows of a buffer, float32, in evaluation mode, in batches that fit into memory."""
    parts = batches_of(rows, evaluation_batch(buffer))
    return torch.cat([forward(model, buffer.take(part, layers), training) for part in parts])


@torch.inference_mode()
def forward(model: nn.Module, values: Tensor, training: TrainingConfig) -> Float[Tensor, "row class"]:
    """Return the logits of one batch, float32, in evaluation mode."""
    with autocast(values.device, training):
        logits: Tensor = model.eval()(values)
    return logits.float()


def evaluation_batch(buffer: Buffer) -> int:
    """Return how many samples of a buffer to evaluate at once."""
    return max(1, min(_EVALUATION_BATCH, _EVALUATION_VALUES // buffer.values[0].numel()))


def autocast(device: torch.device, training: TrainingConfig) -> torch.autocast:
    """Return the context that a forward pass of the configured precision runs in."""
    enabled = training.precision == "bfloat16" and has_bfloat16(device.type)
    return torch.autocast(device.type, dtype=torch.bfloat16, enabled=enabled)
