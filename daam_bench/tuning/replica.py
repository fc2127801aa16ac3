"""One replica of encoder LoRA: as a cached one, with steps in parts that fit into memory."""

import torch
from torch import Tensor

from daam_bench.config import Protocol, TrainingConfig
from daam_bench.training.folds import Rows
from daam_bench.training.losses import loss_of
from daam_bench.training.prediction import autocast
from daam_bench.training.replica import Replica, Split
from daam_bench.tuning.model import EncoderClassifier
from daam_bench.tuning.optimization import build_tuning_optimizer


class TunedReplica(Replica):
    """An adapted encoder in training; order, loss, schedule, selection and checkpoints are as of `Replica`.

    Args:
        model: adapted encoder with its head.
        labels, split, training, protocol, order_seed: as of `Replica`.
        lora_plus: whether B learns `lora_plus_ratio` times faster.

    Attributes:
        classifier: the model.
    """

    def __init__(
        self,
        model: EncoderClassifier,
        labels: Tensor,
        split: Split,
        training: TrainingConfig,
        protocol: Protocol,
        order_seed: tuple[int, ...],
        lora_plus: bool,
    ) -> None:
        optimizer = build_tuning_optimizer(model, training, protocol, lora_plus)
        super().__init__(model, labels, split, training, protocol, order_seed, optimizer=optimizer)
        self.classifier = model

    def _step(self, rows: Rows, values: Tensor) -> None:
        """Take one step on a batch; gradients of its parts add up to that of its mean loss."""
        self.optimizer.zero_grad(set_to_none=True)
        total = torch.zeros((), device=values.device)
        for part in self.classifier.parts(values):
            with autocast(values.device, self.training):
                logits = self.classifier(part)
            labels = self.labels[part].to(logits.device)
            loss = loss_of(logits, labels, self.training) * (len(part) / len(rows))
            loss.backward()  # type: ignore[no-untyped-call]
            total += loss.detach().to(total.device)
        self.optimizer.step()
        self.note_loss(total, len(rows))
