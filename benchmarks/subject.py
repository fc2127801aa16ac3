"""What the benchmarks of training train: DAAMv1 with the paper's decoder, on values of 24 x 1024 a sample."""

from typing import Any

import numpy as np
import torch

from daam_bench.config import Protocol, TrainingConfig
from daam_bench.heads import build_model
from daam_bench.training.replica import Replica, Split

LAYERS, FEATURES, CLASSES = 24, 1024, 4
ROW_BYTES = LAYERS * FEATURES * 2
STEPS = 8
PROTOCOL = Protocol.model_validate({"name": "corrected", "select": "last"})


def model_of(channels: int = 512, seed: int = 0) -> Any:
    torch.manual_seed(seed)
    return build_model("daam_v1", LAYERS, FEATURES, CLASSES, PROTOCOL, decoder_channels=channels)


def replica_of(samples: int, batch: int, precision: str, channels: int = 512, **settings: Any) -> Replica:
    """Return a replica that fits all but the last two of some samples."""
    training = TrainingConfig.model_validate({"batch_size": batch, "precision": precision, **settings})
    rows = np.arange(samples)
    labels = torch.arange(samples) % CLASSES
    return Replica(model_of(channels), labels, Split(rows[:-2], None, rows[-2:]), training, PROTOCOL, (0, 0))
