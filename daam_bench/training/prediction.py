"""Logits of a trained model."""

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor, nn

from daam_bench.config import TrainingConfig
from daam_bench.training.folds import Rows
from daam_bench.training.order import batches_of
from daam_bench.training.source import Buffer

_EVALUATION_BATCH = 512
# A batch of that many samples of 40 x 5120 values would take gigabytes in the decoder.
_EVALUATION_VALUES = 2**24


@torch.inference_mode()
def predict(
    model: nn.Module,
    buffer: Buffer,
    rows: Rows,
    training: TrainingConfig,
    layers: Sequence[int] | None = None,
) -> Float[Tensor, "row class"]:
    """Return the logits of rows of a buffer, float32, in evaluation mode.

    A model whose samples attend to each other (D2) is given batches of the size that it was trained with.
    """
    model.eval()
    size = training.batch_size if getattr(model, "mixes_samples", False) else evaluation_batch(buffer)
    with autocast(buffer.device, training):
        return torch.cat([model(buffer.take(part, layers)).float() for part in batches_of(rows, size)])


def evaluation_batch(buffer: Buffer) -> int:
    """Return how many samples of a buffer to evaluate at once."""
    return max(1, min(_EVALUATION_BATCH, _EVALUATION_VALUES // buffer.values[0].numel()))


def autocast(device: torch.device, training: TrainingConfig) -> torch.autocast:
    """Return the context that a forward pass of the configured precision runs in."""
    enabled = training.precision == "bfloat16"
    return torch.autocast(device.type, dtype=torch.bfloat16, enabled=enabled)
