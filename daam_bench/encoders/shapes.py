"""How many layers and features an encoder has, before it is opened and, for some, before it is fetched."""

import json
from pathlib import Path

from daam_bench.config import EncoderConfig

# Layers and features of models that a configuration names before they are fetched, by the end of their path.
_KNOWN_SHAPES = {
    "wavlm-large": (24, 1024),
    "Llama-2-13b-hf": (40, 5120),
    "beit-large": (24, 1024),
    "minilm-l6": (6, 384),
    "whisper-tiny-en": (4, 384),
    "dinov2-small-shaped": (12, 384),
}
# What model families call the depth and the width of their encoder, in the order in which they are asked.
DEPTHS = ("encoder_layers", "num_hidden_layers", "n_layers", "n_layer", "num_layers")
_WIDTHS = ("d_model", "hidden_size", "dim", "n_embd", "emb_dim")


def shape_in(file: Path) -> tuple[int, int] | None:
    """Return (layers, features) by the usual names in a model's config.json; None if it has none of them.

    Raises:
        OSError: if it cannot be read.
        ValueError: if it is no JSON object.
    """
    facts = json.loads(file.read_text(encoding="utf-8"))
    if not isinstance(facts, dict):
        raise ValueError("it is no JSON object")
    depth, width = (
        next((facts[name] for name in names if isinstance(facts.get(name), int)), None)
        for names in (DEPTHS, _WIDTHS)
    )
    return (depth, width) if depth and width else None


def known_shape(config: EncoderConfig) -> tuple[int, int] | None:
    """Return (layers, features) of an encoder as far as they are known before anything is fetched.

    A hub id that lies in the hub's cache does not count: it comes while a run goes on, whose jobs must stay
    the same.
    """
    file = Path(config.model) / "config.json"
    if not file.is_file():
        return _KNOWN_SHAPES.get(Path(config.model).name)
    try:
        return shape_in(file)
    except (OSError, ValueError, RecursionError):
        return None
