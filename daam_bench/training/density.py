"""What the attention of trained replicas looks like, for the analysis."""

import io
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float
from safetensors.torch import save
from torch import Tensor

from daam_bench.heads.model import Classifier, HasDensity
from daam_bench.records import write_atomically
from daam_bench.training.folds import Fold
from daam_bench.training.order import batches_of
from daam_bench.training.prediction import evaluation_batch
from daam_bench.training.replica import Replica
from daam_bench.training.source import Source


@torch.inference_mode()
def mean_densities(
    replicas: Sequence[Replica], source: Source, folds: Sequence[Fold]
) -> list[dict[str, Float[Tensor, "layer feature"]]]:
    """Return each replica's DA averaged over samples, in evaluation mode, float32 (paper section 3.4).

    One pass serves all replicas. `density` is over the validation samples, as in the paper;
    `training_density` over the training samples, for choices that must not see the others. A replica without
    a density has neither.
    """
    wanted = [
        {"density": fold.validation, "training_density": fold.train}
        if isinstance(replica.model.attention, HasDensity)
        else {}
        for replica, fold in zip(replicas, folds, strict=True)
    ]
    sums: list[dict[str, Tensor]] = [{} for _ in replicas]
    rows = [part for parts in wanted for part in parts.values()]
    for buffer in source.subset(np.unique(np.concatenate(rows))) if rows else ():
        for replica, parts, total in zip(replicas, wanted, sums, strict=True):
            attention = replica.model.eval().attention
            for name, part in parts.items():
                for some in batches_of(buffer.own(part), evaluation_batch(buffer)):
                    assert isinstance(attention, HasDensity)  # others have no parts
                    found = attention.density(buffer.take(some, replica.layers)).float().sum(dim=0)
                    total[name] = total[name] + found if name in total else found
    return [
        {name: total / len(parts[name]) for name, total in maps.items()}
        for maps, parts in zip(sums, wanted, strict=True)
    ]


def save_attention(model: Classifier, maps: dict[str, Tensor], stem: Path) -> None:
    """Write the trained attention as safetensors and its mean density maps, if it has any, as npz."""
    state = {name: tensor.cpu().contiguous() for name, tensor in model.attention.state_dict().items()}
    write_atomically(stem.with_suffix(".safetensors"), save(state))
    if maps:
        buffer = io.BytesIO()
        np.savez(buffer, **{name: found.cpu().numpy() for name, found in maps.items()})  # type: ignore[arg-type]
        write_atomically(stem.with_suffix(".density.npz"), buffer.getvalue())
