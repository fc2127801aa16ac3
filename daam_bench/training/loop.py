"""Train one replica (variant x fold x seed) on a resident cache: the plain loop, read top to bottom."""

import copy
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.optim.lr_scheduler import ReduceLROnPlateau

from daam_bench.config import Protocol, TrainingConfig
from daam_bench.heads.low_rank import lora_b_parameters
from daam_bench.heads.model import AttentionClassifier
from daam_bench.records import EpochRecord
from daam_bench.training.folds import Rows
from daam_bench.training.losses import loss_of
from daam_bench.training.metrics import score

_EVALUATION_BATCH = 512


@dataclass(frozen=True)
class Split:
    """Row numbers of one replica; `held_out` chooses the epoch when the protocol selects on it."""

    fitted: Rows
    held_out: Rows | None
    validation: Rows


@dataclass(frozen=True)
class Outcome:
    """What training one replica gave; the model has the parameters of the selected epoch."""

    model: nn.Module
    epochs: list[EpochRecord]
    selected_epoch: int
    predictions: Int[Tensor, " validation"]


def train_replica(
    model: AttentionClassifier,
    embeddings: Float[Tensor, "sample layer feature"],
    labels: Int[Tensor, " sample"],
    split: Split,
    training: TrainingConfig,
    protocol: Protocol,
    order_seed: tuple[int, ...],
    lora_plus: bool = False,
) -> Outcome:
    """Train for all epochs, then restore the selected epoch and predict the validation samples.

    Args:
        model: initialised attention classifier on the device of `embeddings`.
        embeddings: the whole cache.
        labels: class index of each sample.
        split: rows to fit, to choose on, to validate on.
        training: epochs, batch size, loss, precision.
        protocol: optimiser (D4), schedule (D5), selection (D6).
        order_seed: seed of the sample order; epoch e's order depends on (*order_seed, e) alone.
        lora_plus: whether the B matrices of low-rank updates learn `lora_plus_ratio` times faster.
    """
    model = model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    optimizer = build_optimizer(model, training, protocol, lora_plus)
    plateau = build_schedule(optimizer, protocol)
    epochs: list[EpochRecord] = []
    best, best_rank, best_state = 0, -1.0, model.state_dict()
    for epoch in range(1, training.epochs + 1):
        learning_rate = optimizer.param_groups[0]["lr"]
        model.train()
        total = torch.zeros((), device=embeddings.device)
        for rows in _batches(split.fitted, training.batch_size, order_seed, epoch):
            with _autocast(embeddings, training):
                logits = model(embeddings[rows])
            loss = loss_of(logits, labels[rows], training)
            penalty = model.penalty(len(split.fitted))  # of a variant that prunes itself
            optimizer.zero_grad(set_to_none=True)
            (loss if penalty is None else loss + penalty).backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            total += loss.detach() * len(rows)
        record = EpochRecord(
            epoch=epoch,
            learning_rate=learning_rate,
            train_loss=float(total) / len(split.fitted),
            validation_score=_score(model, embeddings, labels, split.validation, training),
        )
        if split.held_out is not None:
            inner = _score(model, embeddings, labels, split.held_out, training)
            record = record.model_copy(update={"inner_score": inner})
        epochs.append(record)
        rank = selection_score(record, protocol)
        if plateau is not None:
            plateau.step(watched_score(record, protocol))
        if rank > best_rank:
            best, best_rank, best_state = epoch, rank, copy.deepcopy(model.state_dict())
    model.load_state_dict(best_state)
    predictions = predict(model, embeddings, split.validation, training).argmax(dim=1).cpu()
    return Outcome(model, epochs, best, predictions)


def selection_score(record: EpochRecord, protocol: Protocol) -> float:
    """Return what the protocol (D6) ranks an epoch by; the first of equal epochs wins."""
    return float(record.epoch) if protocol.select == "last" else watched_score(record, protocol)


def watched_score(record: EpochRecord, protocol: Protocol) -> float:
    """Return the score on the samples that the protocol may look at in training: inner, or validation."""
    if protocol.select == "inner" and record.inner_score is not None:
        return record.inner_score
    return record.validation_score


def build_schedule(optimizer: torch.optim.Optimizer, protocol: Protocol) -> ReduceLROnPlateau | None:
    """Return the protocol's schedule (D5), to be stepped with a score after each epoch; None if constant.

    Every learning rate is divided by 10 after the 11th epoch in a row whose score is not above 1.0001
    times the best one so far; the count then starts again. Ten such epochs are borne (torch's `patience`).
    """
    if protocol.schedule == "constant":
        return None
    return ReduceLROnPlateau(
        optimizer, mode="max", factor=0.1, patience=10, threshold=1e-4, threshold_mode="rel"
    )


def build_optimizer(
    model: nn.Module, training: TrainingConfig, protocol: Protocol, lora_plus: bool = False
) -> torch.optim.Optimizer:
    """Return the protocol's optimiser (D4); LoRA+ gives its B matrices a higher learning rate."""
    fast = {id(p) for p in lora_b_parameters(model).values()} if lora_plus else set()
    trainable = [p for p in model.parameters() if p.requires_grad]
    groups: list[dict[str, Any]] = [{"params": [p for p in trainable if id(p) not in fast]}]
    if fast:
        ratio = training.lora_plus_ratio
        extra = {"params": [p for p in trainable if id(p) in fast], "lr": training.learning_rate * ratio}
        groups.append(extra)
    kind = {"adam": torch.optim.Adam, "adamw": torch.optim.AdamW}[protocol.optimizer]
    optimizer: torch.optim.Optimizer = kind(
        groups, lr=training.learning_rate, weight_decay=protocol.weight_decay, fused=True
    )
    return optimizer


@torch.inference_mode()
def predict(
    model: nn.Module, embeddings: Float[Tensor, "sample layer feature"], rows: Rows, training: TrainingConfig
) -> Float[Tensor, "row class"]:
    """Return the logits of rows, in evaluation mode.

    A model whose samples attend to each other (D2) is given batches of the size that it was trained with.
    """
    model.eval()
    batch = training.batch_size if getattr(model, "mixes_samples", False) else _EVALUATION_BATCH
    parts = [torch.from_numpy(rows[i : i + batch]) for i in range(0, len(rows), batch)]
    with _autocast(embeddings, training):
        return torch.cat([model(embeddings[part]).float() for part in parts])


def _score(
    model: nn.Module,
    embeddings: Float[Tensor, "sample layer feature"],
    labels: Int[Tensor, " sample"],
    rows: Rows,
    training: TrainingConfig,
) -> float:
    predictions = predict(model, embeddings, rows, training).argmax(dim=1)
    return score(training.metric, labels[rows].cpu().numpy(), predictions.cpu().numpy())


def _batches(rows: Rows, size: int, seed: tuple[int, ...], epoch: int) -> Iterator[Tensor]:
    order = np.random.default_rng([*seed, epoch]).permutation(rows)
    for start in range(0, len(order), size):
        yield torch.from_numpy(order[start : start + size])


def _autocast(embeddings: Tensor, training: TrainingConfig) -> torch.autocast:
    enabled = training.precision == "bfloat16"
    return torch.autocast(embeddings.device.type, dtype=torch.bfloat16, enabled=enabled)
