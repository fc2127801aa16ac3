"""THE table of the switches whose effect is measured one at a time (method.md section 5)."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, get_args

from daam_bench.config import BY_DATASET, PROTOCOLS, Protocol, TrainingConfig
from daam_bench.heads.presets import VARIANTS

PATIENCE = 10  # epochs of D5 without a better score before the learning rate falls
_BUILDERS = "daam_bench.heads.build:"


@dataclass(frozen=True)
class Switch:
    """One switch of the protocol.

    Attributes:
        field: name in `protocol`.
        label: row of method.md section 5; empty for the two that have none.
        touches: (variant, training settings) -> whether the results of the variant can depend on it.
        needs: what a table says of a switch that touched nothing that was trained.
    """

    field: str
    label: str
    touches: Callable[[str, TrainingConfig], bool]
    needs: str

    def others(self, protocol: Protocol) -> list[Any]:
        """Return the values other than the own one of a protocol in force, in their declaration's order."""
        choices = get_args(Protocol.model_fields[self.field].annotation)
        known = choices or [PROTOCOLS[name][self.field] for name in PROTOCOLS]
        left_out = (BY_DATASET, getattr(protocol, self.field))
        return [value for value in dict.fromkeys(known) if value not in left_out]


def _built_by(*functions: str) -> Callable[[str, TrainingConfig], bool]:
    builders = {f"{_BUILDERS}{function}" for function in functions}
    return lambda variant, _: variant in VARIANTS and VARIANTS[variant].builder in builders


def _every(_variant: str, _training: TrainingConfig) -> bool:
    return True


def _lasts(_variant: str, training: TrainingConfig) -> bool:
    # The first epoch sets the best score, ten are borne, the next one lowers the rate of the one after it.
    return training.epochs > PATIENCE + 2


def _encoder_lora(variant: str, _: TrainingConfig) -> bool:
    return variant.startswith("encoder_lora")


_DENSITY = _built_by("density", "grouped_query_density")
_TABLE = (
    Switch("density_exponent", "D1", _DENSITY, "a density variant"),
    Switch("scaled_variance", "", _DENSITY, "a density variant"),
    Switch("mixture_normalisation", "", _built_by("mixture"), "the mixture of densities"),
    Switch("attention_axis", "D2", _built_by("multi_head", "low_rank"), "MHA or cached LoRA"),
    Switch("grouped_queries", "D3", _built_by("grouped_query", "grouped_query_density"), "GQA or GQDAAM"),
    Switch("optimizer", "D4", _every, "a trained variant"),
    Switch("weight_decay", "D4", _every, "a trained variant"),
    Switch("schedule", "D5", _lasts, f"more than {PATIENCE + 2} epochs"),
    Switch("select", "D6", _every, "a trained variant"),
    Switch("gqdaam_heads", "D7", _built_by("grouped_query_density"), "GQDAAM"),
    Switch("encoder_lora_targets", "D8", _encoder_lora, "encoder LoRA"),
    Switch("encoder_lora_scale", "D8", _encoder_lora, "encoder LoRA"),
    Switch("encoder_lora_classifier", "D9", _encoder_lora, "encoder LoRA"),
    Switch("encoder_lora_budget", "D11", _encoder_lora, "encoder LoRA"),
)

SWITCHES: Mapping[str, Switch] = MappingProxyType({switch.field: switch for switch in _TABLE})
