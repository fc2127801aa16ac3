"""One replica (variant x fold x seed): what it learns from a buffer, and which epoch it keeps."""

import copy
import logging
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from time import perf_counter, process_time

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from daam_bench.config import Protocol, TrainingConfig
from daam_bench.heads.convolution import convolution_pair
from daam_bench.heads.decoder import ConvolutionalDecoder
from daam_bench.heads.model import AttentionClassifier, Classifier
from daam_bench.records import EpochRecord, diverged_in
from daam_bench.training.batches import Batch, WholeBatches
from daam_bench.training.folds import Rows
from daam_bench.training.losses import loss_of
from daam_bench.training.metrics import score
from daam_bench.training.optimization import build_optimizer, build_schedule, selection_score, watched_score
from daam_bench.training.order import order_in_buffer
from daam_bench.training.prediction import autocast, forward, predict
from daam_bench.training.source import Buffer


@dataclass(frozen=True)
class Split:
    """Row numbers of one replica, ascending; `held_out` chooses the epoch when the protocol selects on it."""

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


class Replica:
    """A model in training. It is given buffers; it never asks where they come from.

    Args:
        model: initialised classifier on the device of the buffers.
        labels: class index of each sample.
        split: rows to fit, to choose on, to validate on.
        training: epochs, batch size, loss, precision.
        protocol: optimiser (D4), schedule (D5), selection (D6).
        order_seed: seed of the sample order.
        lora_plus: whether the B matrices of low-rank updates learn `lora_plus_ratio` times faster.
        layers: the layers of the cache, counted from 1, that the model sees; by default all.
        optimizer: of the model's parameters; by default the protocol's.
    """

    def __init__(
        self,
        model: Classifier,
        labels: Int[Tensor, " sample"],
        split: Split,
        training: TrainingConfig,
        protocol: Protocol,
        order_seed: tuple[int, ...],
        lora_plus: bool = False,
        layers: Sequence[int] | None = None,
        optimizer: torch.optim.Optimizer | None = None,
    ) -> None:
        self.model = model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        if isinstance(model, AttentionClassifier) and isinstance(model.decoder, ConvolutionalDecoder):
            on_cpu = next(model.parameters()).device.type == "cpu"
            model.decoder.training_pair = convolution_pair if on_cpu else None
        self.labels, self.split, self.training, self.protocol = labels, split, training, protocol
        self.layers = layers
        self.optimizer = optimizer or build_optimizer(model, training, protocol, lora_plus)
        self.plateau = build_schedule(self.optimizer, protocol)
        self.epochs: list[EpochRecord] = []
        self.best_epoch, self.best_rank = 0, -1.0
        self.best_state = _copied(model)
        self.best_predictions: Tensor = torch.empty(0, dtype=torch.int64)
        self.pending: tuple[int, float, float] | None = None  # epoch, learning rate, loss: not scored yet
        self.wall_seconds, self.cpu_seconds, self.loading_seconds = 0.0, 0.0, 0.0
        self.energy_joules: float | None = 0.0  # None once it could not be read
        # Some modules draw noise: each replica has its own, whoever trains beside it.
        self.noise = state_of_noise(labels.device)
        self._seed = order_seed
        self._loss_sum = torch.zeros((), dtype=torch.float64, device=labels.device)
        self._batches = WholeBatches(training.batch_size, layers)

    @property
    def divergence(self) -> str:
        """What to say of a replica whose training loss did not stay finite; empty of any other."""
        epoch = diverged_in(self.epochs)
        return "" if epoch is None else f"diverged: no finite training loss in epoch {epoch}"

    def train_on(self, buffer: Buffer, epoch: int) -> None:
        """Take the optimiser's steps of all full batches up to the end of a buffer."""
        with _Watch(self):
            for rows, values in self.batches(buffer, epoch):
                self._step(rows, buffer.take(rows, self.layers) if values is None else values)

    def batches(self, buffer: Buffer, epoch: int) -> Iterator[Batch]:
        """Yield each full batch up to the end of a buffer; what is left waits for the next one."""
        rows = order_in_buffer(buffer.own(self.split.fitted), self._seed, epoch, buffer.number)
        return self._batches.cut(rows, buffer)

    def note_loss(self, loss: Float[Tensor, ""], samples: int) -> None:
        """Add the loss of a batch to that of its epoch."""
        # Small tensors that outlive a step would each pin memory between blocks that come and go.
        self._loss_sum += loss.to(self._loss_sum) * samples

    @property
    def trained_epochs(self) -> int:
        """Number of epochs that were trained; the last one may not have been scored yet."""
        return len(self.epochs) + (self.pending is not None)

    def end_training(self, epoch: int) -> None:
        """Take the step of the last batch of an epoch, which may be smaller."""
        with _Watch(self):
            if (rest := self._batches.rest()) is not None:
                self._step(*rest)
            loss = float(self._loss_sum) / len(self.split.fitted)
            self._loss_sum.zero_()
        self.pending = (epoch, float(self.optimizer.param_groups[0]["lr"]), loss)

    def end_epoch(self, found: "Evaluation") -> None:
        """Record an epoch, keep it if it is the best one so far, and let the schedule see it."""
        found.finish()
        validation, held_out = found.predictions()
        labels = self.labels.cpu().numpy()
        metric = self.training.metric
        record = EpochRecord(
            epoch=found.epoch,
            learning_rate=found.learning_rate,
            train_loss=found.train_loss,
            validation_loss=found.validation_loss(),
            validation_score=score(metric, labels[self.split.validation], validation.numpy()),
            inner_score=None
            if self.split.held_out is None
            else score(metric, labels[self.split.held_out], held_out.numpy()),
        )
        if not math.isfinite(record.train_loss):
            logging.warning("epoch %d: no finite training loss; try a lower learning rate", record.epoch)
        self.epochs.append(record)
        self.pending = None
        rank = selection_score(record, self.protocol)
        if rank > self.best_rank:
            self.best_epoch, self.best_rank, self.best_predictions = record.epoch, rank, validation
            self.best_state = _copied(found.model)
        if self.plateau is not None:
            self.plateau.step(watched_score(record, self.protocol))

    def outcome(self) -> Outcome:
        """Return the model of the selected epoch with its predictions."""
        self.model.load_state_dict(self.best_state)
        return Outcome(self.model, self.epochs, self.best_epoch, self.best_predictions)

    def _step(self, rows: Rows, values: Tensor) -> None:
        self.model.train()
        labels = self.labels[torch.from_numpy(rows)]
        with autocast(values.device, self.training):
            logits = self.model(values)
        loss = loss_of(logits, labels, self.training)
        penalty = self.model.penalty(len(self.split.fitted))  # of a variant that prunes itself
        self.optimizer.zero_grad(set_to_none=True)
        (loss if penalty is None else loss + penalty).backward()
        self.optimizer.step()
        self.note_loss(loss.detach(), len(rows))


class Evaluation:
    """What a replica's model says after an epoch; where reading is dear, one pass later than it trained.

    Samples that attend to each other (D2) do so in the consecutive batches of their part, whatever buffers
    they come in; buffers must then come in ascending order.

    Args:
        replica: which has just trained an epoch.
        later: keep a copy of the model, because training goes on before the values come by again.
    """

    def __init__(self, replica: Replica, later: bool) -> None:
        assert replica.pending is not None  # it has just trained
        self.replica = replica
        self.epoch, self.learning_rate, self.train_loss = replica.pending
        self.model = copy.deepcopy(replica.model) if later else replica.model
        split, size = replica.split, replica.training.batch_size
        self._rows = [split.validation, np.empty(0, np.int64) if split.held_out is None else split.held_out]
        self._logits: list[list[Tensor]] = [[], []]
        mixes = replica.model.mixes_samples
        self._whole = [WholeBatches(size, replica.layers) for _ in self._rows] if mixes else None

    @property
    def rows(self) -> Rows:
        """All rows that it needs, ascending."""
        return np.unique(np.concatenate(self._rows))

    def see(self, buffer: Buffer) -> None:
        """Predict the rows that a buffer holds."""
        training, layers = self.replica.training, self.replica.layers
        with _Watch(self.replica):
            for part, rows in enumerate(self._rows):
                own = buffer.own(rows)
                if self._whole is not None:
                    for some, values in self._whole[part].cut(own, buffer):
                        values = buffer.take(some, layers) if values is None else values
                        self._note(part, some, forward(self.model, values, training))
                elif len(own):
                    self._note(part, own, predict(self.model, buffer, own, training, layers))

    def finish(self) -> None:
        """Predict the last batch of each part, which may be smaller."""
        with _Watch(self.replica):
            for part, whole in enumerate(self._whole or ()):
                if (rest := whole.rest()) is not None:
                    self._note(part, rest[0], forward(self.model, rest[1], self.replica.training))

    def predictions(self) -> tuple[Tensor, Tensor]:
        """Return predicted classes of the validation rows and of the held-out rows, both ascending by row."""
        validation, held_out = (self._ordered(part).argmax(dim=1) for part in (0, 1))
        return validation, held_out

    def validation_loss(self) -> float:
        """Return the mean loss on the validation rows."""
        labels = self.replica.labels.cpu()[torch.from_numpy(self._rows[0])]
        return float(loss_of(self._ordered(0).float(), labels, self.replica.training))

    def _note(self, part: int, rows: Rows, logits: Tensor) -> None:
        found = torch.cat([torch.from_numpy(rows)[:, None], logits.cpu().double()], dim=1)
        self._logits[part].append(found)

    def _ordered(self, part: int) -> Tensor:
        if not self._logits[part]:
            return torch.empty(0, 1)
        found = torch.cat(self._logits[part])
        return found[found[:, 0].argsort(), 1:]


def _copied(model: nn.Module) -> dict[str, Tensor]:
    return {name: value.clone() for name, value in model.state_dict().items()}


class _Watch:
    """Adds the time of a block to a replica, and gives it its own noise."""

    def __init__(self, replica: Replica) -> None:
        self._replica = replica

    def __enter__(self) -> None:
        self._device = self._replica.labels.device
        self._start, self._outside = (perf_counter(), process_time()), state_of_noise(self._device)
        set_noise(self._replica.noise, self._device)

    def __exit__(self, *_: object) -> None:
        self._replica.noise = state_of_noise(self._device)
        set_noise(self._outside, self._device)
        self._replica.wall_seconds += perf_counter() - self._start[0]
        self._replica.cpu_seconds += process_time() - self._start[1]


def state_of_noise(device: torch.device) -> Tensor:
    """Return the state of torch's generators: the processor's, and behind it that of a GPU."""
    states = [torch.get_rng_state()]
    if device.type == "cuda":
        states.append(torch.cuda.get_rng_state(device))
    return torch.cat(states)


def set_noise(state: Tensor, device: torch.device) -> None:
    """Bring torch's generators to a state from `state_of_noise`."""
    size = len(torch.get_rng_state())
    torch.set_rng_state(state[:size])
    if device.type == "cuda":
        torch.cuda.set_rng_state(state[size:], device)
