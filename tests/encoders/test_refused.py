"""Models that are not served say why; models whose files lack weights are not filled up at random."""

import shutil
from types import SimpleNamespace

import pytest
import torch
from encoders.conftest import SIZES, _tokenizer
from safetensors.torch import load_file, save_file
from transformers import (
    ASTConfig,
    ASTFeatureExtractor,
    ASTModel,
    BigBirdConfig,
    BigBirdModel,
    CanineConfig,
    CanineModel,
    CanineTokenizer,
    Qwen2Config,
    Qwen2Model,
    SeamlessM4TFeatureExtractor,
    SwinConfig,
    SwinModel,
    ViTConfig,
    ViTImageProcessor,
    ViTMAEConfig,
    ViTMAEModel,
    ViTModel,
    Wav2Vec2BertConfig,
    Wav2Vec2BertModel,
)

from daam_bench.config import EncoderConfig
from daam_bench.encoders.base import load_encoder
from daam_bench.encoders.loading import _settings
from daam_bench.errors import EncoderError

PICTURES = ViTImageProcessor(size={"height": 32, "width": 32})


def swin(folder):
    PICTURES.save_pretrained(folder)
    return SwinModel(
        SwinConfig(
            image_size=32, patch_size=2, embed_dim=8, depths=[1, 1, 1], num_heads=[1, 2, 4], window_size=2
        )
    )


def canine(folder):
    CanineTokenizer().save_pretrained(folder)
    # Its first and last layers see characters, those between a quarter as many positions.
    return CanineModel(CanineConfig(**SIZES, num_hash_buckets=97, local_transformer_stride=8))


def w2v_bert(folder):
    SeamlessM4TFeatureExtractor().save_pretrained(folder)
    return Wav2Vec2BertModel(
        Wav2Vec2BertConfig(**SIZES, feature_projection_input_dim=160, position_embeddings_type="relative_key")
    )


def big_bird(folder):
    _tokenizer(folder)
    return BigBirdModel(BigBirdConfig(**SIZES, vocab_size=53, sep_token_id=1, block_size=4))


def qwen_with_words_alone(folder):
    # transformers opens its own kind of tokenizer, to which most words are nothing.
    _tokenizer(folder)
    return Qwen2Model(Qwen2Config(**SIZES, vocab_size=53, num_key_value_heads=2))


def ast(folder):
    ASTFeatureExtractor().save_pretrained(folder)
    return ASTModel(ASTConfig(**SIZES))


def adapter(folder):
    (folder / "base").mkdir()
    PICTURES.save_pretrained(folder)
    (folder / "adapter_config.json").write_text(f'{{"base_model_name_or_path": "{folder}/base"}}')
    return ViTModel(ViTConfig(**SIZES, image_size=32, patch_size=8))


def masked(folder):
    PICTURES.save_pretrained(folder)
    return ViTMAEModel(ViTMAEConfig(**SIZES, image_size=32, patch_size=8))


def of_many_sizes(folder):
    ViTImageProcessor(size={"shortest_edge": 32}, do_center_crop=False).save_pretrained(folder)
    return ViTModel(ViTConfig(**SIZES, image_size=32, patch_size=8))


@pytest.mark.filterwarnings("ignore:At least one mel filter")  # of AST's own extractor
@pytest.mark.parametrize(
    ("modality", "build", "reason"),
    [
        ("vision", swin, r"SwinModel: the model does not return its hidden states.*one shape"),
        ("text", canine, r"CanineModel: the model does not return its hidden states.*expected 6 entries"),
        ("speech", w2v_bert, r"Wav2Vec2BertModel: how its frames follow from the waveform is not known"),
        ("vision", adapter, r"it is an adapter.*merge_and_unload"),
        ("vision", masked, r"ViTMAEModel: a second pass over the same sample gives other hidden states"),
        ("vision", of_many_sizes, r"images of different sizes.*48 x 96.*preprocessor_config.json"),
        ("text", big_bird, r"depends on the texts that came before.*block_sparse.*original_full"),
        ("text", qwen_with_words_alone, r"its tokenizer cannot read a short English text"),
        ("speech", ast, r"ASTModel: how its frames follow from the waveform is not known"),
    ],
)
def test_a_model_that_is_not_served_says_why(tmp_path, modality, build, reason):
    torch.manual_seed(7)
    build(tmp_path).save_pretrained(tmp_path)
    with pytest.raises(EncoderError, match=reason):
        load_encoder("e", EncoderConfig(modality=modality, model=str(tmp_path)))


@pytest.fixture
def without(tmp_path, model_folder):
    """Return what copies a model's folder and leaves out the weights that have a text in their name."""

    def copy(modality, name, text):
        folder = tmp_path / text
        shutil.copytree(model_folder(modality, name), folder)
        weights = load_file(folder / "model.safetensors")
        kept = {key: value for key, value in weights.items() if text not in key}
        assert len(kept) < len(weights)
        save_file(kept, folder / "model.safetensors", {"format": "pt"})
        return EncoderConfig(modality=modality, model=str(folder))

    return copy


@pytest.mark.parametrize(
    ("modality", "name", "text"),
    [
        ("text", "bert", "layer.3.attention.self.query.weight"),
        ("text", "bert", "embeddings.word_embeddings"),
        ("text", "llama", "layers.4.mlp"),
        ("speech", "wavlm", "feature_projection"),
        ("speech", "whisper", "layers.1.fc1"),
        ("vision", "beit", "patch_embeddings"),
        ("vision", "dinov2", "layer.0.norm1.bias"),
    ],
)
def test_a_model_without_some_weights_is_refused_with_their_names(without, modality, name, text):
    with pytest.raises(EncoderError, match=rf"weights are missing.*{text}"):
        load_encoder("e", without(modality, name, text))


@pytest.mark.parametrize(
    ("modality", "name", "text"),
    [
        ("text", "bert", "pooler"),
        ("speech", "wavlm", "masked_spec_embed"),
        ("speech", "whisper", "decoder"),
        ("vision", "dinov2", "mask_token"),
    ],
)
def test_weights_that_no_hidden_state_depends_on_may_be_missing(without, modality, name, text, model_folder):
    config = without(modality, name, text)
    found = load_encoder("e", config)
    whole = load_encoder("e", EncoderConfig(modality=modality, model=str(model_folder(modality, name))))
    assert found.settings() == whole.settings()


def test_a_model_may_leave_a_part_out():
    part = SimpleNamespace(sub_configs={})
    whole = SimpleNamespace(sub_configs={"text": None, "audio": None}, text=None)
    assert list(_settings(whole)) == [whole]
    whole.audio = part
    assert list(_settings(whole)) == [whole, part]
