"""5 folds x 5 seeds at once on a GPU, one after another, and their convolutions alone."""

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from measure import interleave, median_ratio
from subject import CLASSES, FEATURES, LAYERS, PROTOCOL, ROW_BYTES, STEPS, model_of

from daam_bench.config import TrainingConfig
from daam_bench.training.batched import batch_replicas
from daam_bench.training.replica import Replica, Split
from daam_bench.training.source import ResidentSource

BATCH = 8
SAMPLES = BATCH * STEPS * 5 // 4  # four fifths are fitted, in STEPS batches
Work = Callable[[], None]


def measure_replicas(device: torch.device, count: int = 25) -> tuple[dict[str, float], dict[str, Any]]:
    """Time an epoch of all replicas in three ways.

    The convolutions are the library's, as one model on the samples of all replicas, which is the least that
    they take.
    """
    source = ResidentSource(torch.randn(SAMPLES, LAYERS, FEATURES, device=device), ROW_BYTES, 2**30)
    ways = training(device, source, count) | {"convolutions": convolutions(device, count)}
    seconds = interleave({name: synchronised(work, device) for name, work in ways.items()})
    ratios = {
        "replicas_25_speedup_over_sequential": median_ratio(seconds["one_after_another"], seconds["at_once"]),
        "replicas_25_over_convolutions": median_ratio(seconds["at_once"], seconds["convolutions"]),
    }
    return ratios, {"seconds": seconds, "replicas": count, "steps": STEPS}


def training(device: torch.device, source: ResidentSource, count: int) -> dict[str, Work]:
    """Return an epoch of all replicas at once, and of one after another."""
    together, alone = replicas(device, count), replicas(device, count)
    batched = batch_replicas(together, source)
    assert batched is not None
    epochs = iter(range(1, 1000))

    def at_once() -> None:
        number = next(epochs)
        for buffer in source.epoch(number):
            batched.train_on(buffer, number, together)

    def one_after_another() -> None:
        number = next(epochs)
        for replica in alone:
            for buffer in source.epoch(number):
                replica.train_on(buffer, number)

    return {"at_once": at_once, "one_after_another": one_after_another}


def replicas(device: torch.device, count: int) -> list[Replica]:
    """Return replicas on five folds in turn."""
    training = TrainingConfig(batch_size=BATCH, precision="bfloat16")
    labels, rows = torch.arange(SAMPLES, device=device) % CLASSES, np.arange(SAMPLES)
    splits = [Split(np.setdiff1d(rows, rows[fold::5]), None, rows[fold::5]) for fold in range(5)]
    return [
        Replica(model_of().to(device), labels, splits[i % 5], training, PROTOCOL, (i, i % 5))
        for i in range(count)
    ]


def convolutions(device: torch.device, count: int) -> Work:
    """Return the convolutions of an epoch, forward and backward, on the samples of all replicas."""
    layers = model_of().decoder.convolutions.to(device, memory_format=torch.channels_last)
    image = torch.randn(count * BATCH, LAYERS, 32, 32, device=device)
    image = image.to(memory_format=torch.channels_last).requires_grad_()

    def run() -> None:
        for _ in range(STEPS):
            with torch.autocast(device.type, dtype=torch.bfloat16):
                found = layers(image)
            found.backward(torch.ones_like(found))

    return run


def synchronised(work: Work, device: torch.device) -> Work:
    """Return work that ends when the GPU has done it."""

    def run() -> None:
        work()
        if device.type == "cuda":
            torch.cuda.synchronize(device)

    return run
