"""What one job of encoder LoRA computes."""

from daam_bench.adapters.presets import EncoderVariant, find_encoder_variant
from daam_bench.config import EncoderConfig, TrainingConfig, TuningConfig
from daam_bench.training.spec import JobSpec

# D11, released: one batch size each for IEMOCAP, AG News and CIFAR-100, read as those of their modalities.
RELEASED_BATCH = {"speech": 1, "text": 4, "vision": 16}
# D11, released: what the script of AG News does, read as that of text.
RELEASED_TEXT = {"epochs": 1, "learning_rate": 1e-6}
RELEASED_TOKENS = 128


class TuningSpec(JobSpec):
    """What one job of encoder LoRA computes; equal specs and equal caches give equal results.

    `training` is that of the cached variants; `budget` is what is trained by.
    """

    tuning: TuningConfig
    encoder_settings: EncoderConfig

    def entry(self) -> EncoderVariant:
        """Return the table entry of the variant.

        Raises:
            ConfigError: if there is none.
        """
        return find_encoder_variant(self.variant)

    @property
    def scale(self) -> float:
        """Factor of the update B A (D8)."""
        over = self.entry().rank if self.protocol.encoder_lora_scale == "alpha_over_r" else 1
        return self.tuning.alpha / over

    @property
    def budget(self) -> TrainingConfig:
        """Epochs, batch size and learning rate in force (D11), all else as in `training`."""
        own = self.tuning.applied_to(self.training)
        if self.protocol.encoder_lora_budget != "released":
            return own
        changes: dict[str, float] = {"batch_size": RELEASED_BATCH[self.encoder_settings.modality]}
        changes |= RELEASED_TEXT if self.encoder_settings.modality == "text" else {}
        return own.model_copy(update=changes)

    @property
    def tuned_encoder(self) -> EncoderConfig:
        """The encoder as it is tuned: its precision, and the longest text (D11)."""
        changes: dict[str, object] = {"dtype": self.tuning.dtype or self.encoder_settings.dtype}
        if self.protocol.encoder_lora_budget == "released" and self.encoder_settings.modality == "text":
            changes["max_length"] = min(self.encoder_settings.max_length or RELEASED_TOKENS, RELEASED_TOKENS)
        return self.encoder_settings.model_copy(update=changes)
