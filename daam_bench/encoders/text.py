"""Text encoders that transformers' AutoModel opens."""

import hashlib
from collections.abc import Sequence
from typing import Any

import pandas as pd
import torch
from jaxtyping import Float
from torch import Tensor
from transformers import AutoModel, AutoTokenizer
from transformers.utils import logging as hub_logging

from daam_bench.config import EncoderConfig
from daam_bench.encoders.hidden_states import LayerPooler
from daam_bench.errors import EncoderError


class TextEncoder:
    """Tokenizer and transformer; the mean is over all tokens that are not padding, special ones included."""

    def __init__(self, config: EncoderConfig) -> None:
        hub_logging.disable_progress_bar()  # type: ignore[no-untyped-call]
        common: dict[str, Any] = {"revision": config.revision, "trust_remote_code": False}
        try:
            self.tokenizer = AutoTokenizer.from_pretrained(config.model, **common)
            model = AutoModel.from_pretrained(
                config.model, dtype=getattr(torch, config.dtype), use_safetensors=True, **common
            )
        except (OSError, ValueError) as error:
            first = str(error).strip().splitlines()[0]
            raise EncoderError(f"transformers cannot open it ({first})", where=config.model) from None
        self.device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        self.model = model.eval().requires_grad_(False).to(self.device)
        self.max_length = config.max_length or min(self.tokenizer.model_max_length, 4096)
        self.dtype = config.dtype
        if self.tokenizer.pad_token is None:
            self.tokenizer.pad_token = self.tokenizer.eos_token
        self.tokenizer.padding_side = "right"
        self.layers, self.features = model.config.num_hidden_layers, model.config.hidden_size
        self.pooler = LayerPooler(self.model, self.layers)
        prepared, _ = self.prepare(pd.DataFrame({"text": ["one", "one and two more words"]}))
        self.pooler.calibrate(*self._pad(prepared))

    def prepare(self, samples: pd.DataFrame) -> tuple[list[Any], list[int]]:
        """Return token ids and their numbers."""
        tokens = self.tokenizer(samples["text"].tolist(), truncation=True, max_length=self.max_length)
        ids = tokens["input_ids"]
        return ids, [len(row) for row in ids]

    def encode(self, prepared: Sequence[Any]) -> Float[Tensor, "batch layer feature"]:
        """Return the pooled layers of token ids, float32, on the CPU."""
        return self.pooler.pool(*self._pad(prepared)).cpu()

    def settings(self) -> dict[str, str]:
        """Return tokenizer digest, longest input, pooling and precision."""
        tokenizer = self.tokenizer.backend_tokenizer.to_str()
        return {
            "processor": hashlib.sha256(tokenizer.encode()).hexdigest(),
            "max_length": str(self.max_length),
            "pooling": "mean over tokens that are not padding",
            "dtype": self.dtype,
        }

    def _pad(self, prepared: Sequence[Any]) -> tuple[dict[str, Tensor], Tensor]:
        batch = self.tokenizer.pad({"input_ids": list(prepared)}, return_tensors="pt").to(self.device)
        inputs = {"input_ids": batch["input_ids"], "attention_mask": batch["attention_mask"]}
        return inputs, batch["attention_mask"].bool()
