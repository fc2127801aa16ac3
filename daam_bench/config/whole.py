"""The whole configuration: what is computed."""

from typing import Any, Literal, Self

from pydantic import Field, model_validator

from daam_bench.config.cache import CacheConfig
from daam_bench.config.dataset import DatasetConfig
from daam_bench.config.encoder import EncoderConfig
from daam_bench.config.protocol import Protocol
from daam_bench.config.section import Name, Section, Seeds
from daam_bench.config.studies import Study
from daam_bench.config.training import TrainingConfig
from daam_bench.config.tuning import TuningConfig
from daam_bench.config.variant import VariantConfig


class Experiment(Section):
    """One dataset through one encoder, with the variants and seeds to train."""

    dataset: Name
    encoder: Name
    variants: list[str] | Literal["all"] = "all"
    encoder_variants: list[str] | Literal["all"] = Field(
        default_factory=list,
        description="encoder LoRA and LoRA+, trained end to end through the encoder: encoder_lora_r4, "
        "encoder_lora_r8, encoder_lora_plus_r4, encoder_lora_plus_r8; by default none",
    )
    seeds: Seeds = Field([0, 1, 2])
    training: dict[str, Any] = Field(
        default_factory=dict, description="training settings of this experiment alone"
    )
    tuning: dict[str, Any] = Field(
        default_factory=dict, description="tuning settings of this experiment alone"
    )


class Config(Section):
    """Everything that is computed."""

    title: str = "daam_bench"
    notes: list[str] = Field(default_factory=list, description="said at the head of the report")
    datasets: dict[Name, DatasetConfig]
    encoders: dict[Name, EncoderConfig]
    variants: dict[Name, VariantConfig] = Field(
        default_factory=dict, description="attention modules of one's own, by name; `all` includes them"
    )
    experiments: list[Experiment] = Field(min_length=1)
    cache: CacheConfig = CacheConfig()
    protocol: Protocol = Field(default_factory=lambda: Protocol.model_validate("corrected"))
    training: TrainingConfig = TrainingConfig()
    tuning: TuningConfig = TuningConfig()
    studies: list[Study] = Field(
        default_factory=list, description="runs derived from the experiments: protocols, switches, layers"
    )

    @model_validator(mode="after")
    def _no_experiment_twice(self) -> Self:
        pairs = [(e.dataset, e.encoder) for e in self.experiments]
        for pair in pairs:
            if pairs.count(pair) > 1:
                raise ValueError(f"experiments: dataset {pair[0]!r} with encoder {pair[1]!r} is listed twice")
        return self
