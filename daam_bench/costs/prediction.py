"""How long a replica will take, from the seconds of one step and the number of samples that it sees."""

from dataclasses import dataclass

from daam_bench.config import FoldRule, Protocol, TrainingConfig
from daam_bench.costs.sizes import DatasetSize, folds_of


@dataclass(frozen=True)
class StepCost:
    """Seconds of one training step, of scoring one sample, and of starting a replica."""

    step: float
    sample: float
    start: float

    def replica_seconds(self, training: TrainingConfig, fitted: int, scored: int) -> float:
        """Return the seconds of a replica that fits and, after each epoch, scores so many samples."""
        steps = -(-fitted // training.batch_size)
        return self.start + training.epochs * (steps * self.step + scored * self.sample)


def samples_seen(
    size: DatasetSize, rule: FoldRule, training: TrainingConfig, protocol: Protocol
) -> tuple[int, int] | None:
    """Return how many samples a replica fits and how many it scores after each epoch, the mean over folds.

    None if the samples are not counted yet.
    """
    folds = folds_of(rule, size.groups)
    if size.samples is None or folds is None:
        return None
    if rule.rule == "split_column":
        # Where the splits are not known: four fifths is the usual share to train on.
        train, validation = size.splits or (size.samples * 4 // 5, size.samples - size.samples * 4 // 5)
    else:
        validation = size.samples // folds
        train = size.samples - validation
    held_out = _held_out(train, size, rule, training.inner_fraction) if protocol.select == "inner" else 0
    return train - held_out, validation + held_out


def _held_out(train: int, size: DatasetSize, rule: FoldRule, fraction: float) -> int:
    """Return how many training samples choose the epoch: whole groups where there are several."""
    groups = size.groups or 1
    if rule.rule == "leave_one_group_out":
        groups -= 1
    if rule.rule == "stratified_by_group":
        groups -= groups // rule.count
    if 1 < groups < train:
        return train // min(round(1 / fraction), groups)
    return int(train * fraction)
