"""How one replica is trained."""

from typing import Literal

from pydantic import Field

from daam_bench.config.protocol import USUAL_RATE
from daam_bench.config.section import MOST, Section

Loss = Literal["cross_entropy", "focal"]
Metric = Literal["accuracy", "balanced_accuracy", "macro_f1"]


class TrainingConfig(Section):
    """How one replica (variant x fold x seed) is trained (paper section 4)."""

    epochs: int = Field(35, ge=1, le=MOST)
    batch_size: int = Field(32, ge=1, le=MOST)
    learning_rate: float | None = Field(
        None,
        gt=0,
        description="by default the protocol's (D4). paper and corrected: 1e-4, and 5e-5 with Llama-2; "
        "released: 1e-4, on CIFAR-100 1e-5, on AG News 5e-5",
    )
    loss: Loss = Field(
        "cross_entropy",
        description="a dataset's own loss goes before this one. mixture_selected adds to it what the "
        "Bayesian information criterion asks for a Gaussian: cross-entropy is the log-likelihood that it is "
        "meant for, focal loss is not, and there the price is a rule of thumb",
    )
    metric: Metric = Field(
        "accuracy",
        description="what results are scored by, and epochs chosen by; a dataset's own goes before it",
    )
    focal_gamma: float = Field(2.5, ge=0)
    focal_alpha: float = Field(0.25, gt=0)
    precision: Literal["float32", "bfloat16"] = Field(
        "bfloat16",
        description="bfloat16: automatic mixed precision, which on a processor without bfloat16 is float32; "
        "float32: full precision throughout",
    )
    decoder_channels: int = Field(
        512, ge=1, le=MOST, description="channels between the decoder's two convolutions"
    )
    density_heads: int | None = Field(
        None,
        ge=1,
        le=MOST,
        description="heads of density attention over the layers, except DAAMv2's one; by default 8 where it "
        "can, else the largest divisor up to 8 of the number of layers that leaves two layers a head",
    )
    inner_fraction: float = Field(
        0.1, gt=0, lt=1, description="part of the training split that chooses the epoch when select: inner"
    )
    shuffle_mebibytes: float = Field(
        256.0,
        gt=0,
        le=16 * MOST,
        description="a cache up to this size is shuffled as a whole in each epoch; of a larger one, random "
        "short runs of rows are shuffled in parts of this size. Training from a cache that does not fit into "
        "memory holds two of them",
    )
    lora_plus_ratio: float = Field(2.828, gt=0, description="LoRA+: learning rate of B / learning rate of A")

    @property
    def rate(self) -> float:
        """Learning rate; where neither a configuration nor a protocol was asked, the usual one."""
        return USUAL_RATE if self.learning_rate is None else self.learning_rate

    @property
    def shuffle_bytes(self) -> int:
        """Size in bytes of what is shuffled at once."""
        return int(self.shuffle_mebibytes * 2**20)
