"""Text: what an encoder reads of it."""

from pathlib import Path

import pandas as pd
import pytest
import torch
from encoders.conftest import SIZES, WORDS, _tokenizer
from transformers import (
    BertConfig,
    BertModel,
    ByT5Tokenizer,
    RobertaConfig,
    RobertaModel,
    T5Config,
    T5EncoderModel,
    XLMRobertaConfig,
    XLMRobertaModel,
)

from daam_bench.config import EncoderConfig
from daam_bench.encoders.base import load_encoder

TEXTS = [
    "Short.",
    "a much longer one, of more words than the limit lets through: " + "again and again " * 41,
    "\u00dcber na\u00efve caf\u00e9s \U0001f600 \u6f22\u5b57 e\u0301",
    "[SEP] [CLS] [PAD] \x00\t tabs, NULs and names of special tokens",
]


@pytest.mark.parametrize("longest", [7, 61, None])
def test_token_ids_are_those_of_the_tokenizers_own_call(real_resources, longest):
    config = EncoderConfig(modality="text", model=str(real_resources / "minilm-l6"), max_length=longest)
    encoder = load_encoder("minilm-l6", config)
    texts = [*TEXTS, *(f"text {number} of a few batches" for number in range(127))]
    found = encoder.prepare(pd.DataFrame({"text": texts}), Path())
    expected = encoder.tokenizer(texts, truncation=True, max_length=encoder.max_length)["input_ids"]
    assert found.inputs == expected
    assert found.lengths == [len(ids) for ids in expected]
    assert max(found.lengths) == (longest or max(map(len, expected)))


LONG = pd.DataFrame({"text": [" ".join(f"w{(7 * k) % 51}" for k in range(n)) for n in (29, 30, 31, 97)]})
SMALL = SIZES | {"vocab_size": len(WORDS)}


@pytest.mark.parametrize(
    ("model", "settings", "places"),
    [
        (BertModel, BertConfig(max_position_embeddings=31, **SMALL), 31),
        (RobertaModel, RobertaConfig(max_position_embeddings=33, pad_token_id=1, **SMALL), 31),
        (XLMRobertaModel, XLMRobertaConfig(max_position_embeddings=31, pad_token_id=0, **SMALL), 30),
    ],
)
@pytest.mark.parametrize("wanted", [None, 500])
def test_no_text_is_longer_than_the_model(tmp_path, caplog, model, settings, places, wanted):
    torch.manual_seed(7)
    _tokenizer(tmp_path)  # it says nothing of the longest input
    model(settings).save_pretrained(tmp_path)
    encoder = load_encoder("e", EncoderConfig(modality="text", model=str(tmp_path), max_length=wanted))
    prepared = encoder.prepare(LONG, Path())
    assert prepared.lengths == [min(length, places) for length in (29, 30, 31, 97)]
    assert torch.isfinite(encoder.encode(prepared.inputs)).all()
    assert (f"takes {places} tokens" in caplog.text) is (wanted is not None)


def test_a_tokenizer_written_in_python_is_served(tmp_path):
    torch.manual_seed(7)
    ByT5Tokenizer().save_pretrained(tmp_path)
    shape = {"d_model": 24, "d_kv": 6, "d_ff": 37, "num_layers": 5, "num_heads": 4, "vocab_size": 384}
    T5EncoderModel(T5Config(**shape)).save_pretrained(tmp_path)
    encoder = load_encoder("byt5", EncoderConfig(modality="text", model=str(tmp_path), max_length=11))
    found = encoder.prepare(pd.DataFrame({"text": ["abc", " ", "a longer text than that"]}), Path())
    assert found.lengths == [4, -1, 11]  # bytes and the end
    assert found.inputs[0] == [ord(letter) + 3 for letter in "abc"] + [1]
    pooled = encoder.encode([found.inputs[0], found.inputs[2]])
    with torch.inference_mode():
        states = encoder.model(input_ids=torch.tensor([found.inputs[0]]), output_hidden_states=True)
    expected = torch.stack([state[0].mean(dim=0) for state in states.hidden_states[1:]])
    torch.testing.assert_close(pooled[0], expected, atol=1e-5, rtol=1e-5)
    again = load_encoder("byt5", EncoderConfig(modality="text", model=str(tmp_path), max_length=11))
    assert again.settings() == encoder.settings()
