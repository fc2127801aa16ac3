"""Which modules of an encoder are its query, key and value projections."""

from typing import Literal

from torch import nn

from daam_bench.errors import EncoderError

Targets = Literal["query_key", "query_value"]

# Query, key and value as the architectures of transformers name them.
NAMES = (
    ("query", "key", "value"),  # BERT, RoBERTa
    ("q_proj", "k_proj", "v_proj"),  # Llama, Whisper, WavLM, wav2vec 2.0, HuBERT, BEiT, DINOv2, ViT
    ("q_lin", "k_lin", "v_lin"),  # DistilBERT
    ("query_proj", "key_proj", "value_proj"),  # DeBERTa
    ("q", "k", "v"),  # T5
)
_CHOICES: dict[Targets, tuple[int, int]] = {"query_key": (0, 1), "query_value": (0, 2)}

# Their attention hands the projections' weights to torch's own attention function: a wrapper is never called.
READS_WEIGHTS = frozenset({"wavlm"})


def find_projections(model: nn.Module, targets: Targets, layers: int) -> list[str]:
    """Return the qualified names of the projections to adapt, layer by layer, two each (D8).

    Args:
        model: the encoder.
        targets: query and key (the paper), or query and value (the released scripts).
        layers: number of layers N; each must have the projections once.

    Raises:
        EncoderError: if the attention of the encoder is not of a known form.
    """
    chosen = _CHOICES[targets]
    for names in NAMES:
        owners = [path for path, module in model.named_modules() if _has(module, names)]
        if len(owners) == layers:
            return [f"{owner}.{names[place]}" for owner in owners for place in chosen]
    linear = {path.rpartition(".")[2] for path, part in model.named_modules() if isinstance(part, nn.Linear)}
    raise EncoderError(
        "its query, key and value projections were not found once in every layer",
        where=type(model).__name__,
        expected=f"{layers} times linear modules named {' or '.join('/'.join(names) for names in NAMES)}",
        found=f"linear modules named {', '.join(sorted(linear))}",
        remedy="Leave encoder_variants out for this encoder, or add its names to adapters/targets.py.",
    )


def _has(module: nn.Module, names: tuple[str, str, str]) -> bool:
    return all(isinstance(getattr(module, name, None), nn.Linear) for name in names)
