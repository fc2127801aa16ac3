"""How encoder LoRA and LoRA+ are trained."""

from typing import Literal

from pydantic import Field

from daam_bench.config.section import MOST, Section
from daam_bench.config.training import TrainingConfig


class TuningConfig(Section):
    """Encoder LoRA and LoRA+: low-rank updates inside the encoder, trained end to end on raw samples.

    What is not set here is as for the cached variants: folds, seeds, loss, metric, selection, optimiser,
    precision and `training.lora_plus_ratio`. Under `protocol.encoder_lora_budget: released` (D11) the
    published epochs, batch size and learning rate go before those given here.
    """

    alpha: float = Field(16.0, gt=0, description="the update B A is scaled by alpha / r, or by alpha (D8)")
    epochs: int | None = Field(None, ge=1, le=MOST, description="by default training.epochs")
    batch_size: int | None = Field(None, ge=1, le=MOST, description="by default training.batch_size")
    learning_rate: float | None = Field(None, gt=0, description="by default training.learning_rate")
    dtype: Literal["float32", "bfloat16", "float16"] | None = Field(
        None,
        description="precision that the frozen weights are loaded in; by default that of the encoder. The "
        "updates and the classifier are float32 always",
    )
    injection: Literal["auto", "modules", "weights"] = Field(
        "auto",
        description="modules: peft wraps the projections; weights: the same update is added to their "
        "weights, for attention that reads them past a wrapper (WavLM); auto: by architecture",
    )

    def applied_to(self, training: TrainingConfig) -> TrainingConfig:
        """Return training settings with the epochs, batch size and learning rate that are given here."""
        own = {name: getattr(self, name) for name in ("epochs", "batch_size", "learning_rate")}
        return training.model_copy(update={name: value for name, value in own.items() if value is not None})
