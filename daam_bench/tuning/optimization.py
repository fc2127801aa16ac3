"""The optimiser of encoder LoRA and LoRA+, and what is trained beside A and B."""

import torch

from daam_bench.adapters.presets import EncoderVariant
from daam_bench.config import Protocol, TrainingConfig
from daam_bench.training.optimization import OPTIMIZERS, build_optimizer
from daam_bench.tuning.model import ClassificationHead, EncoderClassifier

# transformers calls Llama's classification head `score`, a name that the released script does not look for.
_HEAD_NOT_FOUND = frozenset({"llama"})


def freeze_head(
    head: ClassificationHead, variant: EncoderVariant, model_type: str, protocol: Protocol
) -> None:
    """Keep parts of the head at their random initialisation, as the protocol says (D9).

    `trained`: nothing. `as_released`: the projector always; the classifier in LoRA+, and in LoRA on Llama.

    Args:
        head: it is changed in place.
        variant: LoRA or LoRA+.
        model_type: of the encoder's configuration.
        protocol: the switch.
    """
    if protocol.encoder_lora_classifier == "trained":
        return
    if head.projector is not None:
        head.projector.requires_grad_(False)
    if variant.lora_plus or model_type in _HEAD_NOT_FOUND:
        head.classifier.requires_grad_(False)


def build_tuning_optimizer(
    model: EncoderClassifier, training: TrainingConfig, protocol: Protocol, lora_plus: bool
) -> torch.optim.Optimizer:
    """Return the protocol's optimiser (D4) over all that is trained; of LoRA+, peft's.

    peft's `create_loraplus_optimizer` makes four groups: A and other matrices at the learning rate;
    embeddings, of which there are none; B at the learning rate x `lora_plus_ratio`; and at that same higher
    rate, without weight decay, every vector, so the biases of projector and classifier. Left alone it takes
    no weight decay at all: it is given the protocol's, by the name that it reads.
    """
    if not lora_plus:
        return build_optimizer(model, training, protocol)
    from peft.optimizers import create_loraplus_optimizer

    optimizer: torch.optim.Optimizer = create_loraplus_optimizer(
        model,  # type: ignore[arg-type]
        OPTIMIZERS[protocol.optimizer],
        lr=training.rate,
        loraplus_lr_ratio=training.lora_plus_ratio,
        loraplus_weight_decay=protocol.weight_decay,
        fused=True,
    )
    return optimizer
