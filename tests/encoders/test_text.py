"""Text: what an encoder reads of it."""

from pathlib import Path

import pandas as pd
import pytest

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
    found = encoder.prepare(pd.DataFrame({"text": TEXTS}), Path())
    expected = encoder.tokenizer(TEXTS, truncation=True, max_length=encoder.max_length)["input_ids"]
    assert found.inputs == expected
    assert found.lengths == [len(ids) for ids in expected]
    assert max(found.lengths) == (longest or max(map(len, expected)))
