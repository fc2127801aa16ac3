"""An adapted encoder with pooling and a classifier, as training sees it."""

from collections.abc import Sequence
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from daam_bench.adapters.low_rank import LowRankAdapters
from daam_bench.cache.batches import batches_by_length
from daam_bench.encoders.base import OpenEncoder
from daam_bench.encoders.onednn import OneDnn
from daam_bench.encoders.pooling import MaskedMean
from daam_bench.heads.model import Classifier, ParameterCounts, trainable
from daam_bench.tuning.samples import Sample, SampleReader

# Tokens, frames or patches that go through the encoder at once: activations of all layers are kept for them.
_POSITIONS_AT_ONCE = 8192
# Of the weights of transformers' own classification heads (`initializer_range`).
_SPREAD = 0.02


class ClassificationHead(nn.Module):
    """Class logits from one vector a sample: a linear classifier, behind a projector where models have one.

    Models of speech are classified through a projector in transformers (WavLM's is 1024 to 256). Both are
    linear, so that projecting before the mean over time, as there, or after it is the same. Weights are drawn
    from N(0, 0.02^2), biases are zero, on the CPU from torch's global generator.

    Args:
        features: width d of the encoder.
        projection: width of the projector; None for none.
        classes: number of classes.
    """

    def __init__(self, features: int, projection: int | None, classes: int) -> None:
        super().__init__()
        self.projector = None if projection is None else nn.Linear(features, projection)
        self.classifier = nn.Linear(projection or features, classes)
        for layer in (self.projector, self.classifier):
            if layer is not None:
                nn.init.normal_(layer.weight, std=_SPREAD)
                nn.init.zeros_(layer.bias)

    def forward(self, pooled: Float[Tensor, "batch feature"]) -> Float[Tensor, "batch class"]:
        """Return one logit per class."""
        logits: Tensor = self.classifier(pooled if self.projector is None else self.projector(pooled))
        return logits


def last_hidden_mean(encoder: OpenEncoder, prepared: Sequence[Any]) -> Float[Tensor, "sample feature"]:
    """Return the masked mean over time of the encoder's last hidden state, float32, with its gradient.

    The mask is that of extraction: padding takes no part.
    """
    if encoder.mixes_lengths:
        return _mean(encoder, prepared)
    lengths = [len(sample) for sample in prepared]
    groups = [[row for row, found in enumerate(lengths) if found == n] for n in dict.fromkeys(lengths)]
    pooled = torch.cat([_mean(encoder, [prepared[row] for row in group]) for group in groups])
    return pooled[_inverse(groups)]


def _mean(encoder: OpenEncoder, prepared: Sequence[Any]) -> Tensor:
    inputs, mask = encoder.batch(prepared)
    states = encoder.model(**inputs).last_hidden_state
    with torch.autocast(states.device.type, enabled=False):
        pooled: Tensor = MaskedMean(mask.to(states.device))(states)
        return pooled


def _inverse(groups: Sequence[Sequence[int]]) -> Tensor:
    """Return where each row lies in the groups, one after another."""
    return torch.tensor([row for group in groups for row in group]).argsort()


class EncoderClassifier(Classifier):
    """Class logits of raw samples, by an encoder with low-rank updates; its inputs are row numbers.

    The encoder is no part of it: `parameters` and `state_dict` are those of the updates (`attention`) and of
    the head, which alone are trained and saved, and the encoder stays in evaluation mode (no dropout, no
    masking of inputs), so that a run is determined by its seed.

    Args:
        encoder: frozen, with the updates attached.
        reader: of its samples.
        adapters: the updates.
        head: classifier, on the device of the encoder's output.
    """

    def __init__(
        self,
        encoder: OpenEncoder,
        reader: SampleReader,
        adapters: LowRankAdapters,
        head: ClassificationHead,
    ) -> None:
        super().__init__()
        self._encoder, self._reader = encoder, reader
        self.attention, self.head = adapters, head

    def forward(self, rows: Int[Tensor, " batch"]) -> Float[Tensor, "batch class"]:
        """Return one logit per class for samples by their rows; whatever their number, in bounded batches."""
        samples = self._reader.take(rows.tolist())
        parts = self._divide(samples)
        # oneDNN takes part only where no gradient is asked for.
        with OneDnn():
            logits = [self._logits([samples[place] for place in part]) for part in parts]
        return torch.cat(logits)[_inverse(parts)]

    def parts(self, rows: Int[Tensor, " batch"]) -> list[Int[Tensor, " part"]]:
        """Divide rows so that the activations of each part fit into memory."""
        return [rows[part] for part in self._divide(self._reader.take(rows.tolist()))]

    def parameter_counts(self) -> ParameterCounts:
        """Count what is trained: the updates; there is no decoder; and with projector and classifier."""
        updates = trainable(self.attention)
        return ParameterCounts(updates, updates, trainable(self))

    def _divide(self, samples: Sequence[Sample]) -> list[list[int]]:
        return list(batches_by_length([sample.positions for sample in samples], _POSITIONS_AT_ONCE))

    def _logits(self, samples: Sequence[Sample]) -> Tensor:
        pooled = last_hidden_mean(self._encoder, [sample.prepared for sample in samples])
        logits: Tensor = self.head(pooled.to(self.head.classifier.weight.device))
        return logits.float()
