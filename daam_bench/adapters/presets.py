"""THE table of encoder variants. Imports neither torch nor peft."""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from daam_bench.errors import unknown_name

# The `kind` of their records; cached variants have `attention`.
KIND = "encoder_tuning"


@dataclass(frozen=True)
class EncoderVariant:
    """A way to adapt the encoder itself, end to end on raw samples (the paper's baselines).

    Attributes:
        name: key in configurations, paths and results; never that of a cached variant.
        title: name in tables and figures.
        rank: r of the update B A.
        lora_plus: whether B learns faster than A.
        description: one sentence for a reader of the report.
        source: where it comes from.
    """

    name: str
    title: str
    rank: int
    lora_plus: bool
    description: str
    source: str


def _low_rank(rank: int, plus: bool) -> EncoderVariant:
    kind, learning = ("LoRA+", ", B learning faster than A") if plus else ("LoRA", "")
    return EncoderVariant(
        name=f"encoder_lora_{'plus_' if plus else ''}r{rank}",
        title=f"Encoder {kind}, r = {rank}",
        rank=rank,
        lora_plus=plus,
        description=f"rank-{rank} updates of two attention projections of every layer{learning}; "
        "a linear classifier on the mean of the encoder's last hidden state",
        source="arXiv 2402.12354" if plus else "arXiv 2106.09685",
    )


_ENTRIES = tuple(_low_rank(rank, plus) for plus in (False, True) for rank in (4, 8))

ENCODER_VARIANTS: Mapping[str, EncoderVariant] = MappingProxyType({entry.name: entry for entry in _ENTRIES})


def find_encoder_variant(name: str, where: object = None) -> EncoderVariant:
    """Return an encoder variant by its name; `where` is the configuration key that an error should name.

    Raises:
        ConfigError: if there is none, with the nearest names.
    """
    if name not in ENCODER_VARIANTS:
        raise unknown_name("encoder variant", name, ENCODER_VARIANTS, where)
    return ENCODER_VARIANTS[name]
