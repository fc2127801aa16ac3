"""An attention module and the decoder as one classifier, and how many parameters each part trains."""

from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from jaxtyping import Float
from torch import Tensor, nn

from daam_bench.errors import ConfigError
from daam_bench.heads.decoder import ConvolutionalDecoder, LinearDecoder


@runtime_checkable
class HasDensity(Protocol):
    """An attention module that can show its density."""

    def density(self, x: Tensor) -> Tensor:
        """Return DA [batch, layer, feature]."""


@runtime_checkable
class HasAttentionWeights(Protocol):
    """An attention module that can show its softmax weights."""

    def attention_weights(self, x: Tensor, /) -> Tensor:
        """Return weights [any, head, query, key] that sum to one over the last axis.

        The modules of this package take a mask as `forward` does: padded keys have weight 0.
        """


@runtime_checkable
class HasPenalty(Protocol):
    """An attention module that adds to the loss, for example to prune itself in training."""

    def penalty(self, samples: int) -> Tensor:
        """Return what to add to the mean loss of so many training samples."""


@runtime_checkable
class HasNote(Protocol):
    """An attention module that chooses something about itself in training."""

    def note(self) -> str:
        """Say what was chosen."""


@dataclass(frozen=True)
class ParameterCounts:
    """Numbers of trainable parameters, weights and biases, each including the one before it."""

    attention: int
    with_decoder: int
    with_classifier: int


class Classifier(nn.Module):
    """What training asks of a model that gives class logits.

    Attributes:
        attention: the part that is compared: attention over the layers, or the updates of an encoder's own.
        mixes_samples: whether a prediction depends on the other samples of its batch (D2), so that
            validation must keep the batch size of training.
    """

    attention: nn.Module
    mixes_samples = False

    def penalty(self, samples: int) -> Float[Tensor, ""] | None:
        """Return what is added to the mean loss of so many training samples; mostly None."""
        return None

    def note(self) -> str:
        """Say what the model chose about itself in training; mostly nothing."""
        return ""

    def parameter_counts(self) -> ParameterCounts:
        """Count the parameters that training changes; frozen ones are left out.

        Raises:
            NotImplementedError: if the model does not say.
        """
        raise NotImplementedError


class AttentionClassifier(Classifier):
    """Class logits from the hidden states of all layers.

    Args:
        attention: maps [batch, layer, feature] to [batch, layer, feature'].
        decoder: maps [batch, layer, feature'] to [batch, class].
    """

    def __init__(self, attention: nn.Module, decoder: ConvolutionalDecoder | LinearDecoder) -> None:
        super().__init__()
        self.attention = attention
        self.decoder = decoder
        self.mixes_samples = bool(getattr(attention, "mixes_samples", False))

    def forward(self, x: Float[Tensor, "batch layer feature"]) -> Float[Tensor, "batch class"]:
        """Return one logit per class."""
        logits: Tensor = self.decoder(self.attention(x))
        return logits

    def density(self, x: Float[Tensor, "batch layer feature"]) -> Float[Tensor, "batch layer feature"]:
        """Return the density that the attention gives to each layer and feature.

        Raises:
            ConfigError: if the attention has no density.
        """
        if not isinstance(self.attention, HasDensity):
            raise ConfigError(
                "this attention has no density",
                where=type(self.attention).__name__,
                remedy="Ask only variants with has_density for it.",
            )
        return self.attention.density(x)

    def penalty(self, samples: int) -> Float[Tensor, ""] | None:
        """Return what the attention adds to the mean loss of so many training samples; mostly None."""
        return self.attention.penalty(samples) if isinstance(self.attention, HasPenalty) else None

    def note(self) -> str:
        """Say what the attention chose about itself in training; mostly nothing."""
        return self.attention.note() if isinstance(self.attention, HasNote) else ""

    def parameter_counts(self) -> ParameterCounts:
        """Count the parameters that training changes; frozen ones are left out."""
        every = trainable(self)
        return ParameterCounts(trainable(self.attention), every - trainable(self.decoder.classifier), every)


def trainable(module: nn.Module) -> int:
    """Return the number of parameters of a module that require gradients."""
    return sum(parameter.numel() for parameter in module.parameters() if parameter.requires_grad)
