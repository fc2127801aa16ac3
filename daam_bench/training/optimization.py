"""Optimiser, schedule and the epoch that is reported (D4 to D6)."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim.lr_scheduler import ReduceLROnPlateau

from daam_bench.config import Protocol, TrainingConfig
from daam_bench.heads.low_rank import lora_b_parameters
from daam_bench.records import EpochRecord

OPTIMIZERS: dict[str, type[torch.optim.Adam]] = {"adam": torch.optim.Adam, "adamw": torch.optim.AdamW}


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
    slow = [p for p in trainable if id(p) not in fast]
    groups: list[dict[str, Any]] = [{"params": slow, "lr": training.rate}]
    if fast:
        ratio = training.lora_plus_ratio
        extra = {"params": [p for p in trainable if id(p) in fast], "lr": training.rate * ratio}
        groups.append(extra)
    return _optimizer_of(groups, protocol)


def join_optimizers(optimizers: Sequence[torch.optim.Optimizer], protocol: Protocol) -> torch.optim.Optimizer:
    """Return one optimiser of the parameters of several: its step is one of each, on their own state."""
    rates: dict[float, list[Tensor]] = {}
    for optimizer in optimizers:
        for group in optimizer.param_groups:
            rates.setdefault(group["lr"], []).extend(group["params"])
    joint = _optimizer_of([{"params": params, "lr": rate} for rate, params in rates.items()], protocol)
    for optimizer in optimizers:
        joint.state.update(optimizer.state)
    return joint


def _optimizer_of(groups: list[dict[str, Any]], protocol: Protocol) -> torch.optim.Optimizer:
    return OPTIMIZERS[protocol.optimizer](groups, weight_decay=protocol.weight_decay, fused=True)
