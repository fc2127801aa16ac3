"""The switches where the paper and its released scripts disagree (method.md section 5)."""

from fnmatch import fnmatch
from pathlib import PurePosixPath
from typing import Any, Literal, Self

from pydantic import Field, model_validator

from daam_bench.config.section import Section

ShortClips = Literal["masked", "zero_padded"]

# method.md section 5; one row per protocol, one column per switch.
PROTOCOLS: dict[str, dict[str, Any]] = {
    "corrected": {
        "density_exponent": "2c",
        "scaled_variance": "positive",
        "mixture_normalisation": "exact",
        "attention_axis": "layers",
        "grouped_queries": "separate",
        "optimizer": "adam",
        "weight_decay": 0.1,
        "schedule": "constant",
        "select": "inner",
        "gqdaam_heads": 8,
        "encoder_lora_targets": "query_key",
        "encoder_lora_scale": "alpha_over_r",
        "encoder_lora_classifier": "trained",
        "short_clips": "masked",
        "encoder_lora_budget": "as_others",
    },
    "paper": {
        "density_exponent": "2c2",
        "scaled_variance": "free",
        "mixture_normalisation": "clamped",
        "attention_axis": "layers",
        "grouped_queries": "separate",
        "optimizer": "adam",
        "weight_decay": 0.1,
        "schedule": "constant",
        "select": "last",
        "gqdaam_heads": 8,
        "encoder_lora_targets": "query_key",
        "encoder_lora_scale": "alpha_over_r",
        "encoder_lora_classifier": "trained",
        "short_clips": "masked",
        "encoder_lora_budget": "as_others",
    },
    "released": {
        "density_exponent": "2c",
        "scaled_variance": "free",
        "mixture_normalisation": "clamped",
        "attention_axis": "batch",
        "grouped_queries": "summed",
        "optimizer": "adamw",
        "weight_decay": 0.01,
        "schedule": "plateau",
        "select": "best_validation",
        "gqdaam_heads": "by_dataset",
        "encoder_lora_targets": "query_value",
        "encoder_lora_scale": "alpha",
        "encoder_lora_classifier": "as_released",
        "short_clips": "zero_padded",
        "encoder_lora_budget": "released",
    },
}

# A value that stands for the one that the released script of the dataset has.
BY_DATASET = "by_dataset"
# D4: what the paper and its scripts have, and what other datasets and encoders take.
USUAL_RATE = 1e-4
_PAPER_RATES = {"llama-2*": 5e-5, "llama2*": 5e-5}  # by the encoder's name
_RELEASED_RATES = {"iemocap": 1e-4, "cifar100": 1e-5, "ag_news": 5e-5}  # by dataset kind
# D7: the released script of CIFAR-100 alone has one head.
_RELEASED_HEADS = {"cifar100": 1}


def published_rate(protocol: str, kind: str, model: str) -> float:
    """Return the learning rate of a protocol (D4).

    Args:
        protocol: its name; released: by dataset; paper, and corrected, which follows it: by encoder.
        kind: dataset kind.
        model: hub id or folder of the encoder.
    """
    if protocol == "released":
        return _RELEASED_RATES.get(kind, USUAL_RATE)
    name = PurePosixPath(model).name.lower()
    return next((rate for pattern, rate in _PAPER_RATES.items() if fnmatch(name, pattern)), USUAL_RATE)


class Protocol(Section):
    """Where the paper and its released scripts disagree; a name sets all switches, each can be set alone.

    `protocol: released` is the whole protocol, also in an overlay, where it replaces what lies below it. The
    form `protocol: {name: released}` in an overlay keeps the switches that lie below it. D1 to D11 are the
    rows of method.md section 5. `scaled_variance` and `mixture_normalisation` have no row there: in them our
    own reading differs from the one that the paper and the released scripts share. D4's learning rates
    follow from name, dataset and encoder, unless `training.learning_rate` says another.
    """

    name: Literal["corrected", "paper", "released"] = "corrected"
    density_exponent: Literal["2c", "2c2"] = Field(
        description="D1: DA = exp(-z^2 / (2 c)) (Algorithm 1) or exp(-z^2 / (2 c^2)) (the paper's text)"
    )
    scaled_variance: Literal["positive", "free"] = Field(
        description="free: c may turn negative in training, as published, and exp(-z^2 / (2 c)) then grows "
        "above 1; positive: such a c acts as 1e-12, so that DA stays a density (no effect with 2c2)"
    )
    mixture_normalisation: Literal["exact", "clamped"] = Field(
        description="clamped: the mixture divides by at least 1e-8, as published, and fades where all its "
        "Gaussians are far away; exact: its density always sums to one over the layers of a head"
    )
    attention_axis: Literal["layers", "batch"] = Field(
        description="D2: what self-attention attends over; batch: samples of a batch attend to each other, "
        "in training and in validation"
    )
    grouped_queries: Literal["separate", "summed"] = Field(
        description="D3: every query head its own attention, or query heads of a group summed before the "
        "softmax with the scale applied twice"
    )
    optimizer: Literal["adam", "adamw"] = Field(
        description="D4: Adam adds the weight decay to the gradient, AdamW takes it off the weights; the "
        "learning rates are `training.learning_rate`'s"
    )
    weight_decay: float = Field(ge=0, description="D4: weight decay of the optimiser")
    schedule: Literal["constant", "plateau"] = Field(
        description="D5: plateau: learning rate / 10 after more than 10 epochs in a row without a better "
        "score (by a ten-thousandth of the best) on the samples that `select` looks at, the validation "
        "samples unless it is inner; the paper states no schedule"
    )
    select: Literal["inner", "last", "best_validation"] = Field(
        description="D6: the epoch that is reported: best on a part of the training split, the last, or best "
        "on the validation samples themselves (optimistic); the paper states none"
    )
    gqdaam_heads: Literal[8, 1, "by_dataset"] = Field(
        description="D7: heads of the density attention inside GQDAAM. 8: as many as DAAMv1, so 8 where they "
        "can share the layers; by_dataset: as released, 8, but 1 on CIFAR-100"
    )
    encoder_lora_targets: Literal["query_key", "query_value"] = Field(
        description="D8: projections of the encoder that encoder LoRA adapts"
    )
    encoder_lora_scale: Literal["alpha_over_r", "alpha"] = Field(
        description="D8: factor of encoder LoRA's update B A"
    )
    encoder_lora_classifier: Literal["trained", "as_released"] = Field(
        description="D9: trained: encoder LoRA and LoRA+ train the classifier (and WavLM's projector) beside "
        "A and B; as_released: the classifier stays at its random initialisation in LoRA+, and in LoRA on "
        "Llama-2; WavLM's projector stays so in both"
    )
    short_clips: ShortClips = Field(
        description="D10, of the extraction: a speech clip shorter than 5 s. masked: padding enters no mean "
        "(the paper does not say); zero_padded: zeros up to 5 s enter the mean, and the waveform is not "
        "normalised"
    )
    encoder_lora_budget: Literal["as_others", "released"] = Field(
        description="D11: as_others: the experiment's epochs, batch size, learning rate, length; released: "
        "batch sizes 1 / 4 / 16, which we read as those of speech / text / vision, and for text (AG News) 1 "
        "epoch at 1e-6 on 128 tokens"
    )

    @model_validator(mode="before")
    @classmethod
    def _fill(cls, data: Any) -> Any:
        if isinstance(data, str):
            data = {"name": data}
        if not isinstance(data, dict):
            return data
        name = data.get("name", "corrected")
        if not isinstance(name, str) or name not in PROTOCOLS:
            raise ValueError(f"unknown protocol {name!r}, expected one of {', '.join(PROTOCOLS)}")
        return PROTOCOLS[name] | {"name": name} | data

    def for_dataset(self, kind: str) -> Self:
        """Return it with the values in force on a dataset kind, instead of such as stand for them (D7)."""
        heads = _RELEASED_HEADS.get(kind, 8) if self.gqdaam_heads == BY_DATASET else self.gqdaam_heads
        return self.model_copy(update={"gqdaam_heads": heads})
