"""What an encoder offers to extraction, and the table of modalities."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from pkgutil import resolve_name
from typing import Any, Protocol, runtime_checkable

import pandas as pd
from jaxtyping import Float
from torch import Tensor

from daam_bench.allocator import keep_memory_flat
from daam_bench.config import EncoderConfig, ShortClips
from daam_bench.errors import ConfigError, unknown_name

_MODALITIES = {
    "text": "daam_bench.encoders.text:TextEncoder",
    "speech": "daam_bench.encoders.speech:SpeechEncoder",
    "vision": "daam_bench.encoders.vision:VisionEncoder",
}


@dataclass
class Prepared:
    """Model-ready samples.

    Attributes:
        inputs: one entry a sample; None where `problems` has a reason.
        lengths: number of positions (tokens, frames, patches) that each sample is pooled over.
        positions: number of positions that each sample costs, padding that the model asks for included.
        problems: reason by row, for samples that cannot be used.
    """

    inputs: list[Any] = field(default_factory=list)
    lengths: list[int] = field(default_factory=list)
    positions: list[int] = field(default_factory=list)
    problems: dict[int, str] = field(default_factory=dict)

    def add(self, prepared: Any, length: int, positions: int | None = None) -> None:
        """Append a sample; it costs as many positions as it is long, if not said otherwise."""
        self.inputs.append(prepared)
        self.lengths.append(length)
        self.positions.append(length if positions is None else positions)

    def refuse(self, reason: str) -> None:
        """Append a sample that cannot be used."""
        self.problems[len(self.inputs)] = reason
        self.add(None, -1, 0)


@runtime_checkable
class Encoder(Protocol):
    """A frozen transformer that turns prepared samples into pooled layers.

    Attributes:
        layers: number of layers N.
        features: width d of each.
        window: number of samples that may be prepared at once without costing much memory.
        unit: what its speed is told in beside samples, such as tokens.
        units_per_position: how many of them one position is, such as seconds of audio a frame.
    """

    layers: int
    features: int
    window: int
    unit: str
    units_per_position: float

    def prepare(self, samples: pd.DataFrame, folder: Path) -> Prepared:
        """Return model-ready samples in the same order; `file` is relative to `folder`."""

    def encode(self, prepared: Sequence[Any]) -> Float[Tensor, "batch layer feature"]:
        """Return the masked mean over time of `hidden_states[1..N]`, float32, on the CPU.

        Several threads may call it at once.
        """

    def settings(self) -> Mapping[str, str]:
        """Return what determines the numbers beside the weights: processor, pooling, precision."""


@runtime_checkable
class OpenEncoder(Encoder, Protocol):
    """An encoder whose transformer can be run by others, and adapted.

    Attributes:
        model: the transformer; its output has `last_hidden_state` [batch, time, feature].
        mixes_lengths: whether samples of different lengths may be in one batch.
    """

    model: Any
    mixes_lengths: bool

    def batch(self, prepared: Sequence[Any]) -> tuple[dict[str, Tensor], Tensor]:
        """Return the model's inputs, and the mask [batch, time] of the positions that the mean is over."""


def load_encoder(name: str, config: EncoderConfig, short_clips: ShortClips = "masked") -> OpenEncoder:
    """Load a frozen encoder in evaluation mode.

    Args:
        name: named in errors.
        config: which model, and how it is pooled.
        short_clips: what is done with short speech clips (D10).

    Raises:
        ConfigError: if no adapter serves the modality, a hub id has no pinned revision, or a folder has one.
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
    if Path(config.model).exists() and config.revision is not None:
        raise ConfigError(
            "a folder has no revision",
            where=f"encoders.{name}",
            found=config.model,
            remedy="Remove the revision, or take another path for the hub's model: this one exists here.",
        )
    keep_memory_flat()
    options = {"short_clips": short_clips} if config.modality == "speech" else {}
    encoder: OpenEncoder = resolve_name(_MODALITIES[config.modality])(config, **options)
    return encoder
