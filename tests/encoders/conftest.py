"""Randomly initialised models of the true architectures, saved as Hugging Face folders."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import Whitespace
from transformers import (
    BeitConfig,
    BeitModel,
    BertConfig,
    BertModel,
    BitImageProcessor,
    Dinov2Config,
    Dinov2Model,
    LlamaConfig,
    LlamaModel,
    PreTrainedTokenizerFast,
    Wav2Vec2Config,
    Wav2Vec2FeatureExtractor,
    Wav2Vec2Model,
    WavLMConfig,
    WavLMModel,
    WhisperConfig,
    WhisperFeatureExtractor,
    WhisperModel,
)
from transformers.models.beit.image_processing_pil_beit import BeitImageProcessorPil

SIZES = {"hidden_size": 24, "intermediate_size": 37, "num_hidden_layers": 5, "num_attention_heads": 4}
SPEECH = SIZES | {"conv_dim": (11,) * 7, "num_conv_pos_embeddings": 16, "num_conv_pos_embedding_groups": 4}
LARGE = {"feat_extract_norm": "layer", "do_stable_layer_norm": True, "conv_bias": True}
WORDS = ["[PAD]", "[UNK]", *(f"w{i}" for i in range(51))]


def _tokenizer(folder: Path) -> None:
    words = Tokenizer(WordLevel({word: i for i, word in enumerate(WORDS)}, unk_token="[UNK]"))
    words.pre_tokenizer = Whitespace()
    PreTrainedTokenizerFast(tokenizer_object=words, unk_token="[UNK]", pad_token="[PAD]").save_pretrained(
        folder
    )


def _whisper(folder: Path) -> WhisperModel:
    WhisperFeatureExtractor(feature_size=80, chunk_length=6).save_pretrained(folder)  # 30 s take long
    shape = {
        "encoder_layers": 3,
        "decoder_layers": 2,
        "encoder_attention_heads": 4,
        "decoder_attention_heads": 4,
    }
    wide = {"encoder_ffn_dim": 37, "decoder_ffn_dim": 37, "d_model": 24, "vocab_size": 53}
    wide["max_source_positions"] = 300
    tokens = {"pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2, "decoder_start_token_id": 1}
    return WhisperModel(WhisperConfig(**shape, **wide, **tokens))


def _wavlm(folder: Path) -> WavLMModel:
    Wav2Vec2FeatureExtractor(return_attention_mask=True).save_pretrained(folder)
    return WavLMModel(WavLMConfig(**SPEECH, **LARGE))


def _wav2vec2_group_norm(folder: Path) -> Wav2Vec2Model:
    Wav2Vec2FeatureExtractor(return_attention_mask=False).save_pretrained(folder)
    return Wav2Vec2Model(Wav2Vec2Config(**SPEECH))


def _beit(folder: Path) -> BeitModel:
    BeitImageProcessorPil(size={"height": 32, "width": 32}, do_center_crop=False).save_pretrained(folder)
    return BeitModel(BeitConfig(**SIZES, image_size=32, patch_size=8))


def _dinov2(folder: Path) -> Dinov2Model:
    size = {"height": 28, "width": 28}
    BitImageProcessor(size={"shortest_edge": 28}, crop_size=size).save_pretrained(folder)
    return Dinov2Model(Dinov2Config(**SIZES, image_size=28, patch_size=7))


def _bert(folder: Path) -> BertModel:
    _tokenizer(folder)
    return BertModel(BertConfig(vocab_size=len(WORDS), **SIZES))


def _llama(folder: Path) -> LlamaModel:
    _tokenizer(folder)
    return LlamaModel(LlamaConfig(vocab_size=len(WORDS), **SIZES))


ARCHITECTURES = {
    "text": {"bert": _bert, "llama": _llama},
    "speech": {"whisper": _whisper, "wavlm": _wavlm, "wav2vec2_group_norm": _wav2vec2_group_norm},
    "vision": {"beit": _beit, "dinov2": _dinov2},
}
ALL = [(modality, name) for modality, names in ARCHITECTURES.items() for name in names]


@pytest.fixture(scope="session")
def model_folder(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str, str], Path]:
    """Return what gives the folder of a saved model, by modality and architecture."""
    folders: dict[str, Path] = {}

    def folder_of(modality: str, name: str) -> Path:
        if name not in folders:
            folder = folders[name] = tmp_path_factory.mktemp(name)
            torch.manual_seed(7)
            ARCHITECTURES[modality][name](folder).save_pretrained(folder)
        return folders[name]

    return folder_of
