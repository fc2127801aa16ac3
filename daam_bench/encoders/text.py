"""Text encoders that transformers' AutoModel opens."""

import copy
import hashlib
import json
import logging
import math
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence
from transformers import AutoTokenizer

from daam_bench.config import EncoderConfig
from daam_bench.contents import check_listed
from daam_bench.encoders.base import Prepared
from daam_bench.encoders.loading import make_pooler, open_model, open_pretrained
from daam_bench.errors import EncoderError

# The paper's limit (method.md section 2); models that take less say so themselves.
_LONGEST = 4096
_TOKENIZED_AT_ONCE = 64


def text_problem(text: str) -> str | None:
    """Return why a text cannot be encoded, or None."""
    if not text.strip():
        return "empty text"
    try:
        text.encode()
    except UnicodeEncodeError:
        return "text is not valid Unicode"
    return None


def longest_input(model: Any, tokenizer: Any) -> int:
    """Return how many tokens fit into a model, special ones included."""
    limits = [_LONGEST, tokenizer.model_max_length]
    places = getattr(model.config, "max_position_embeddings", None)
    if isinstance(places, int) and places > 0:
        # RoBERTa and its kin number positions from behind the padding's on.
        starts = [
            module.padding_idx + 1
            for name, module in model.named_modules()
            if name.endswith("position_embeddings") and getattr(module, "padding_idx", None) is not None
        ]
        limits.append(places - max(starts, default=0))
    return int(min(limits))


class TextEncoder:
    """Tokenizer and transformer; the mean is over all tokens that are not padding, special ones included.

    A model that no mask keeps from padding (FNet has none) gets batches of equal length.

    Raises:
        EncoderError: if model or tokenizer cannot be used, or the model does not return hidden states.
    """

    window = 2048
    unit, units_per_position = "tokens", 1.0

    def __init__(self, config: EncoderConfig) -> None:
        # One thread for each call: more would take turns with the threads that encode.
        os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
        self.tokenizer = open_pretrained(AutoTokenizer.from_pretrained, config)
        self.model: Any = open_model(config)
        longest = longest_input(self.model, self.tokenizer)
        self.max_length = min(config.max_length or longest, longest)
        if self.max_length < (config.max_length or 0):
            logging.warning("%s takes %d tokens: longer texts are cut there", config.model, longest)
        self.dtype = config.dtype
        known = (self.tokenizer.pad_token_id, getattr(self.model.config, "pad_token_id", None))
        words = getattr(self.model.config, "vocab_size", None) or math.inf
        # A token for padding may have been added to the tokenizer alone, without a vector.
        self.padding = next((number for number in known if number is not None and number < words), 0)
        self._backend: Any = None  # tokenizers written in Python (ByT5) have none
        if self.tokenizer.is_fast:
            self._backend = copy.deepcopy(self.tokenizer.backend_tokenizer)
            self._backend.no_padding()
            self._backend.enable_truncation(self.max_length, direction=self.tokenizer.truncation_side)
        self.pooler = make_pooler(self.model)
        prepared = self.prepare(pd.DataFrame({"text": ["one", "one and two more words"]}), Path())
        if prepared.problems:
            raise EncoderError("its tokenizer cannot read a short English text", where=config.model)
        example = prepared.inputs
        self.pooler.calibrate(*self.batch(example))
        self.mixes_lengths = self.pooler.keeps_apart(self.batch, example)
        self.layers, self.features = self.pooler.layers, self.pooler.features

    def prepare(self, samples: pd.DataFrame, folder: Path) -> Prepared:
        """Return token ids and their numbers; a text without a word is refused.

        Raises:
            RecordError: if a text is not the one that was listed.
        """
        columns = samples.filter(["sample_id", "content_key", "text"]).to_dict("list")
        # As to_dict("records") gives them, in less than half of the time.
        rows = [dict(zip(columns, values, strict=True)) for values in zip(*columns.values(), strict=True)]
        for row in rows:
            check_listed(row)
        texts = [str(row["text"]) for row in rows]
        problems = [text_problem(text) for text in texts]
        tokens = self._tokenize(
            ["" if problem else text for text, problem in zip(texts, problems, strict=True)]
        )
        prepared = Prepared()
        for problem, ids in zip(problems, tokens, strict=True):
            if problem is None and None in ids:  # one that is written in Python, without an unknown token
                prepared.refuse("a part of the text has no token")
            elif problem is None and ids:
                prepared.add(ids, len(ids))
            else:
                prepared.refuse(problem or "empty text")
        return prepared

    def encode(self, prepared: Sequence[Any]) -> Float[Tensor, "batch layer feature"]:
        """Return the pooled layers of token ids, float32, on the CPU."""
        if self.mixes_lengths:
            return self.pooler.pool(*self.batch(prepared))
        return self.pooler.pool_by_length(self.batch, prepared)

    def settings(self) -> dict[str, str]:
        """Return tokenizer digest, longest input, pooling and precision."""
        return {
            "processor": self._digest(),
            "max_length": str(self.max_length),
            "pooling": "mean over tokens that are not padding",
            "dtype": self.dtype,
        }

    def _tokenize(self, texts: list[str]) -> list[list[int]]:
        """Return the ids of `tokenizer(texts, truncation=True)`, whose other results take their time."""
        if self._backend is None:
            tokens = self.tokenizer(texts, truncation=True, max_length=self.max_length)
            return [list(ids) for ids in tokens["input_ids"]]
        # A few at a time: what it keeps of each, much more than ids, fits into the processor's cache.
        return [
            encoding.ids
            for start in range(0, len(texts), _TOKENIZED_AT_ONCE)
            for encoding in self._backend.encode_batch_fast(texts[start : start + _TOKENIZED_AT_ONCE])
        ]

    def _digest(self) -> str:
        """Return the sha256 of the tokenizer."""
        if self._backend is not None:
            return hashlib.sha256(self._backend.to_str().encode()).hexdigest()
        options = {
            name: value
            for name, value in self.tokenizer.init_kwargs.items()
            if not name.endswith(("_file", "_path", "_map"))  # where it lies is not what it is
        }
        side = self.tokenizer.truncation_side
        facts = [type(self.tokenizer).__name__, self.tokenizer.get_vocab(), self.max_length, side, options]
        return hashlib.sha256(json.dumps(facts, sort_keys=True, default=str).encode()).hexdigest()

    def batch(self, prepared: Sequence[Any]) -> tuple[dict[str, Tensor], Tensor]:
        """Return the model's inputs, and the mask of the tokens that the mean is over."""
        rows = [torch.tensor(ids) for ids in prepared]
        ids = pad_sequence(rows, batch_first=True, padding_value=self.padding).to(self.model.device)
        lengths = torch.tensor([len(row) for row in rows], device=ids.device)
        mask = torch.arange(ids.shape[1], device=ids.device) < lengths[:, None]
        return {"input_ids": ids, "attention_mask": mask.long()}, mask
