"""Models beyond the contract's: layers that cannot be hooked, and no mask that keeps padding out."""

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import torch
import transformers
from encoders.conftest import LARGE, SIZES, SPEECH, WORDS, _tokenizer
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import Whitespace
from torch.testing import assert_close

from daam_bench.config import EncoderConfig
from daam_bench.encoders import precision
from daam_bench.encoders.base import load_encoder
from daam_bench.encoders.precision import in_float32

SMALL = SIZES | {"vocab_size": len(WORDS)}
TEXTS = ["w3", "w1 w2 w3 w4", " ".join(f"w{(7 * k) % 51}" for k in range(41))]


def built(name, settings):
    """Return a model by the names of transformers, at random."""
    torch.manual_seed(7)
    config = getattr(transformers, f"{name}Config")(**settings)
    return getattr(transformers, f"{name}Model")(config)


def alone(encoder, prepared):
    """Return what each sample gives alone, pooled afterwards."""
    inputs, mask = encoder.batch([prepared])
    with torch.inference_mode():
        states = encoder.model(**inputs, output_hidden_states=True).hidden_states[1:]
    return torch.stack([state[0, mask[0]].mean(0) for state in states])


def check(encoder, inputs, layers):
    expected = torch.stack([alone(encoder, one) for one in inputs])
    found = encoder.encode(inputs)
    scale = expected.square().mean(2, keepdim=True).sqrt()
    assert found.shape == (len(inputs), layers, encoder.features)
    assert_close(found / scale, expected / scale, rtol=0, atol=1e-5)


@pytest.mark.parametrize(
    ("name", "settings", "hooked", "mixed"),
    [
        ("Albert", {"embedding_size": 11} | SMALL, False, True),
        ("XLNet", {"vocab_size": 53, "d_model": 24, "n_layer": 5, "n_head": 4, "d_inner": 37}, False, True),
        ("Mamba", {"vocab_size": 53, "hidden_size": 24, "num_hidden_layers": 5, "state_size": 3}, None, True),
        ("FNet", {"tpu_short_seq_length": 7} | SMALL, True, False),
        ("ConvBert", {"embedding_size": 11} | SMALL, True, False),
    ],
)
def test_texts_of_any_length_get_what_they_get_alone(tmp_path, name, settings, hooked, mixed):
    _tokenizer(tmp_path)
    built(name, settings).save_pretrained(tmp_path)
    encoder = load_encoder("e", EncoderConfig(modality="text", model=str(tmp_path)))
    assert hooked is None or (encoder.pooler.blocks is not None) == hooked
    assert encoder.mixes_lengths == mixed
    check(encoder, encoder.prepare(pd.DataFrame({"text": TEXTS}), Path()).inputs, layers=5)


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
@pytest.mark.parametrize(
    ("name", "settings", "mixed"), [("ConvBert", {"embedding_size": 11}, False), ("Bert", {}, True)]
)
def test_padding_smaller_than_the_rounding_of_half_precision_is_seen(tmp_path, name, settings, mixed, dtype):
    _tokenizer(tmp_path)
    built(name, SMALL | settings).save_pretrained(tmp_path)
    encoder = load_encoder("e", EncoderConfig(modality="text", model=str(tmp_path), dtype=dtype))
    assert encoder.mixes_lengths == mixed
    kept = {tensor.dtype for tensor in encoder.model.parameters()}
    assert kept == {getattr(torch, dtype)}
    inputs = encoder.prepare(pd.DataFrame({"text": TEXTS}), Path()).inputs
    expected = torch.stack([alone(encoder, one) for one in inputs]).float()
    scale = expected.square().mean(2, keepdim=True).sqrt()
    found = encoder.encode(inputs)
    assert_close(found / scale, expected / scale, rtol=0, atol=4 * torch.finfo(encoder.model.dtype).eps)


def test_weights_of_half_precision_come_back_bit_for_bit_and_can_be_trained():
    torch.manual_seed(7)
    model = torch.nn.Linear(3, 5, dtype=torch.bfloat16)
    model.register_buffer("steps", torch.arange(7, dtype=torch.float32))
    before = [tensor.clone() for tensor in (*model.parameters(), model.steps)]
    with torch.inference_mode(), in_float32(model):
        assert model.weight.dtype == torch.float32
    for tensor, old in zip((*model.parameters(), model.steps), before, strict=True):
        assert tensor.dtype == old.dtype and torch.equal(tensor, old)
    model(torch.ones(2, 3, dtype=torch.bfloat16)).sum().backward()
    assert model.weight.grad is not None


def test_a_model_that_does_not_fit_twice_stays_as_it_is(monkeypatch):
    model = torch.nn.Linear(3, 5, dtype=torch.bfloat16)
    monkeypatch.setattr(precision.psutil, "virtual_memory", lambda: SimpleNamespace(available=71))
    with in_float32(model):
        assert model.weight.dtype == torch.bfloat16
    monkeypatch.setattr(precision.psutil, "virtual_memory", lambda: SimpleNamespace(available=81))
    with in_float32(model):
        assert model.weight.dtype == torch.float32


@pytest.mark.parametrize("name", ["Llama", "GPT2"])
def test_no_keys_and_values_are_kept_for_texts_that_nobody_writes_on(tmp_path, name):
    _tokenizer(tmp_path)
    own = {"GPT2": {"vocab_size": 53, "n_embd": 24, "n_layer": 5, "n_head": 4}}
    built(name, own.get(name, SMALL)).save_pretrained(tmp_path)
    encoder = load_encoder("e", EncoderConfig(modality="text", model=str(tmp_path)))
    kept = []
    encoder.model.register_forward_hook(lambda _module, _inputs, output: kept.append(output.past_key_values))
    encoder.encode([[1, 2, 3]])
    assert kept == [None]


def test_a_tokenizer_needs_no_token_for_padding(tmp_path):
    words = Tokenizer(WordLevel({word: i for i, word in enumerate(WORDS)}, unk_token="[UNK]"))
    words.pre_tokenizer = Whitespace()
    transformers.PreTrainedTokenizerFast(tokenizer_object=words).save_pretrained(tmp_path)
    built("Llama", SMALL).save_pretrained(tmp_path)
    encoder = load_encoder("e", EncoderConfig(modality="text", model=str(tmp_path)))
    assert encoder.tokenizer.pad_token_id is None
    check(encoder, encoder.prepare(pd.DataFrame({"text": TEXTS}), Path()).inputs, layers=5)


def test_a_token_for_padding_needs_no_vector(tmp_path):
    _tokenizer(tmp_path)
    tokenizer = transformers.AutoTokenizer.from_pretrained(tmp_path)
    tokenizer.add_special_tokens({"pad_token": "<new>"})
    tokenizer.save_pretrained(tmp_path)
    built("Llama", SMALL).save_pretrained(tmp_path)
    assert tokenizer.pad_token_id == len(WORDS) == SMALL["vocab_size"]
    encoder = load_encoder("e", EncoderConfig(modality="text", model=str(tmp_path)))
    check(encoder, encoder.prepare(pd.DataFrame({"text": TEXTS}), Path()).inputs, layers=5)


@pytest.mark.parametrize("positions", ["relative", "rotary"])
def test_clips_of_any_length_get_what_they_get_alone(tmp_path, positions):
    transformers.Wav2Vec2FeatureExtractor(return_attention_mask=True).save_pretrained(tmp_path)
    settings = SPEECH | LARGE | {"position_embeddings_type": positions, "conv_depthwise_kernel_size": 5}
    built("Wav2Vec2Conformer", settings).save_pretrained(tmp_path)
    encoder = load_encoder("e", EncoderConfig(modality="speech", model=str(tmp_path)))
    assert not encoder.mixes_lengths
    rng = np.random.default_rng(0)
    clips = [rng.normal(0, 0.1, length).astype(np.float32) for length in (9001, 16000, 9001, 31013)]
    check(encoder, clips, layers=5)


def test_a_setting_of_a_tokenizer_in_python_is_part_of_its_digest(tmp_path):
    words = "\n".join(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "hello", "Hello"])
    found = []
    for lower in (True, False, False):
        folder = tmp_path / str(len(found))
        folder.mkdir()
        (folder / "words.txt").write_text(words)
        options = {"word_tokenizer_type": "basic", "subword_tokenizer_type": "wordpiece"}
        tokenizer = transformers.BertJapaneseTokenizer(
            str(folder / "words.txt"), do_lower_case=lower, **options
        )
        tokenizer.save_pretrained(folder)
        built("Bert", SIZES | {"vocab_size": 7}).save_pretrained(folder)
        found.append(load_encoder("e", EncoderConfig(modality="text", model=str(folder))).settings())
    assert found[0] != found[1] == found[2]
