"""What an encoder offers to extraction, and the table of modalities."""

from collections.abc import Sequence
from pathlib import Path
from pkgutil import resolve_name
from typing import Any, Protocol, runtime_checkable

import pandas as pd
from jaxtyping import Float
from torch import Tensor

from daam_bench.config import EncoderConfig
from daam_bench.errors import ConfigError, unknown_name

_MODALITIES = {"text": "daam_bench.encoders.text:TextEncoder"}


@runtime_checkable
class Encoder(Protocol):
    """A frozen transformer that turns prepared samples into pooled layers."""

    layers: int
    features: int

    def prepare(self, samples: pd.DataFrame) -> tuple[list[Any], list[int]]:
        """Return model-ready samples and their lengths (tokens, frames or patches), in the same order."""

    def encode(self, prepared: Sequence[Any]) -> Float[Tensor, "batch layer feature"]:
        """Return the masked mean over time of `hidden_states[1..N]`, float32, on the CPU."""

    def settings(self) -> dict[str, str]:
        """Return what determines the numbers beside the weights: processor, pooling, precision."""


def load_encoder(name: str, config: EncoderConfig) -> Encoder:
    """Load a frozen encoder in evaluation mode.

    Raises:
        ConfigError: if no adapter serves the modality, or a hub id has no pinned revision.
        EncoderError: if the model cannot be opened or does not return hidden states.
    """
    if config.modality not in _MODALITIES:
        raise unknown_name("modality", config.modality, _MODALITIES, f"encoders.{name}")
    if not Path(config.model).exists() and config.revision is None:
        raise ConfigError(
            "no such folder, and a hub id needs a pinned revision",
            where=f"encoders.{name}",
            found=config.model,
            remedy="Set encoders.<name>.revision to a commit of the model.",
        )
    encoder: Encoder = resolve_name(_MODALITIES[config.modality])(config)
    return encoder
