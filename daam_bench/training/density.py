"""What the attention of trained replicas looks like, for the analysis."""

import copy
import io
from pathlib import Path
from typing import cast

import numpy as np
import torch
from jaxtyping import Float
from safetensors.torch import save
from torch import Tensor

from daam_bench.heads.model import Classifier, HasDensity
from daam_bench.records import write_atomically
from daam_bench.training.folds import Fold, Rows
from daam_bench.training.order import batches_of
from daam_bench.training.prediction import evaluation_batch
from daam_bench.training.replica import Replica
from daam_bench.training.source import Buffer


class MeanDensity:
    """A replica's DA averaged over samples, in evaluation mode, float32 (paper section 3.4).

    Made when the last epoch is trained but perhaps not scored: both states that may then be selected, that
    epoch's and the best one before it, are looked at in the pass that scores it.

    Args:
        replica: at the end of its training; its attention must have `density(x)`.
        fold: `density` is over its validation samples, as in the paper; `training_density` over its training
            samples, for choices that must not see the others.
    """

    def __init__(self, replica: Replica, fold: Fold) -> None:
        self._replica = replica
        self._parts = {"density": fold.validation, "training_density": fold.train}
        self._attentions = {} if replica.pending is None else {replica.pending[0]: replica.model.attention}
        if replica.best_epoch:
            best = copy.deepcopy(replica.model)
            best.load_state_dict(replica.best_state)
            self._attentions[replica.best_epoch] = best.attention
        self._sums: dict[int, dict[str, Tensor]] = {epoch: {} for epoch in self._attentions}

    @property
    def rows(self) -> Rows:
        """All rows that it needs, ascending."""
        return np.unique(np.concatenate(list(self._parts.values())))

    @torch.inference_mode()
    def see(self, buffer: Buffer) -> None:
        """Add the densities of the rows that a buffer holds."""
        for name, part in self._parts.items():
            for rows in batches_of(buffer.own(part), evaluation_batch(buffer)):
                values = buffer.take(rows, self._replica.layers)
                for epoch, attention in self._attentions.items():
                    found = cast(HasDensity, attention.eval()).density(values).float().sum(dim=0)
                    sums = self._sums[epoch]
                    sums[name] = sums[name] + found if name in sums else found

    def maps(self) -> dict[str, Float[Tensor, "layer feature"]]:
        """Return the means of the selected epoch, by name."""
        sums = self._sums[self._replica.best_epoch]
        return {name: total / len(self._parts[name]) for name, total in sums.items()}


def save_attention(model: Classifier, maps: dict[str, Tensor], stem: Path) -> None:
    """Write the trained attention as safetensors and its mean density maps, if it has any, as npz."""
    state = {name: tensor.cpu().contiguous() for name, tensor in model.attention.state_dict().items()}
    write_atomically(stem.with_suffix(".safetensors"), save(state))
    if maps:
        buffer = io.BytesIO()
        np.savez(buffer, **{name: found.cpu().numpy() for name, found in maps.items()})  # type: ignore[arg-type]
        write_atomically(stem.with_suffix(".density.npz"), buffer.getvalue())
