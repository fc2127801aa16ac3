"""Train replicas together: one pass through the values of an epoch serves all of them."""

from collections.abc import Callable, Sequence

import numpy as np
from jaxtyping import Float, Int
from torch import Tensor

from daam_bench.config import Protocol, TrainingConfig
from daam_bench.heads.model import AttentionClassifier
from daam_bench.training.batched import BatchedReplicas, batch_replicas
from daam_bench.training.replica import Evaluation, Outcome, Replica, Split
from daam_bench.training.source import Onlooker, ResidentSource, Source


def train_together(
    replicas: Sequence[Replica],
    source: Source,
    after_epoch: Callable[[], None] = lambda: None,
    at_once: bool | None = None,
) -> None:
    """Train replicas to their last epoch and score it; arguments as of `train_epochs`."""
    score_together(train_epochs(replicas, source, after_epoch, at_once), source)


def train_epochs(
    replicas: Sequence[Replica],
    source: Source,
    after_epoch: Callable[[], None] = lambda: None,
    at_once: bool | None = None,
) -> list[Evaluation]:
    """Train replicas to their last epoch, each as if it were alone; return what is left to be scored.

    A source that is read from a disk is read once an epoch: an epoch is scored while the next one trains, by
    a copy of its models, and the last one in the pass that the caller makes (`score_together`). Two kinds of
    replica cannot wait, so each of their epochs has a second pass over the rows that score it: those whose
    schedule follows the scores (D5), and those whose samples attend to each other (D2), which must come in
    their order.

    Args:
        replicas: of equal numbers of epochs and one protocol; some may be ahead of others.
        source: of the values.
        after_epoch: called when every replica has ended an epoch.
        at_once: whether replicas take their steps at once, which a GPU is faster at and a processor is not;
            by default on a GPU, where there are several.
    """
    if at_once is None:
        at_once = len(replicas) > 1 and replicas[0].labels.device.type != "cpu"
    batched = batch_replicas(replicas, source) if at_once else None
    first = min(replica.trained_epochs for replica in replicas) + 1
    waits = replicas[0].plateau is None and not replicas[0].model.mixes_samples
    later = waits and not source.in_memory
    waiting = _evaluations(replicas, later)
    if not later:  # what a job left that read from a disk, before its memory sufficed
        score_together(waiting, source)
        waiting = []
    for epoch in range(first, replicas[0].training.epochs + 1):
        # A job may have been killed while some had saved this epoch and others had not.
        behind = [replica for replica in replicas if replica.trained_epochs < epoch]
        _pass(source, epoch, behind, batched, waiting)
        _close(waiting)
        for replica in behind:
            replica.end_training(epoch)
        waiting = _evaluations(replicas, later)
        if not later:
            score_together(waiting, source)
            waiting = []
        after_epoch()
    return waiting


def _pass(
    source: Source,
    epoch: int,
    behind: Sequence[Replica],
    batched: BatchedReplicas | None,
    waiting: Sequence[Evaluation],
) -> None:
    """Train an epoch, and score the one before; no buffer is held when this returns."""
    for buffer in source.epoch(epoch):
        if batched is not None:
            batched.train_on(buffer, epoch, behind)
        else:
            for replica in behind:
                replica.train_on(buffer, epoch)
        for evaluation in waiting:
            evaluation.see(buffer)


def score_together(
    evaluations: Sequence[Evaluation], source: Source, beside: Sequence[Onlooker] = ()
) -> None:
    """Score epochs in one pass over what is needed, in ascending order; others may look on."""
    onlookers: list[Onlooker] = [*evaluations, *beside]
    if onlookers:
        for buffer in source.subset(np.unique(np.concatenate([one.rows for one in onlookers]))):
            for one in onlookers:
                one.see(buffer)
        _close(evaluations)


def _evaluations(replicas: Sequence[Replica], later: bool) -> list[Evaluation]:
    return [Evaluation(replica, later) for replica in replicas if replica.pending is not None]


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
    """Train one replica on values in memory and return what came out; arguments as of `Replica`."""
    replica = Replica(model, labels, split, training, protocol, order_seed, lora_plus)
    row_bytes = embeddings[0].numel() * embeddings.element_size()
    train_together([replica], ResidentSource(embeddings, row_bytes, training.shuffle_bytes))
    return replica.outcome()


def _close(evaluations: Sequence[Evaluation]) -> None:
    for evaluation in evaluations:
        evaluation.replica.end_epoch(evaluation)
