"""Vision encoders that transformers' AutoModel opens."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from jaxtyping import Float
from PIL import Image
from torch import Tensor
from transformers import AutoImageProcessor

from daam_bench.config import EncoderConfig
from daam_bench.encoders.base import Prepared
from daam_bench.encoders.hidden_states import run_once
from daam_bench.encoders.loading import digest_of_settings, make_pooler, open_model, open_pretrained
from daam_bench.encoders.media import read_image
from daam_bench.errors import DataError, EncoderError


class VisionEncoder:
    """Image processor and transformer; the mean is over all tokens, or over patches only (D12).

    Raises:
        EncoderError: if the model cannot be opened, does not return hidden states, or has no patches.
    """

    window = 128
    unit, units_per_position = "patches", 1.0
    mixes_lengths = True

    def __init__(self, config: EncoderConfig) -> None:
        # One implementation everywhere: torchvision's resizing differs from PIL's.
        self.processor = open_pretrained(AutoImageProcessor.from_pretrained, config, backend="pil")
        self.model: Any = open_model(config)
        self.tokens, self.dtype = config.tokens, config.dtype
        self.pooler = make_pooler(self.model)
        pixels, upright = (self._process(_noise(*size)) for size in ((64, 48), (48, 96)))
        if pixels.shape != upright.shape:
            raise EncoderError(
                "its processor gives images of different sizes",
                where=config.model,
                found=f"{tuple(pixels.shape)} of 64 x 48 pixels, {tuple(upright.shape)} of 48 x 96",
                remedy="Set a height and width, or a centre crop, in its preprocessor_config.json.",
            )
        self.positions = self._positions(pixels)
        # What stands before the patches: class token, registers.
        self.others = self.positions - self._patches(pixels)
        if config.tokens == "patches" and not 0 <= self.others < self.positions:
            raise EncoderError("its patches cannot be told from other tokens", where=config.model)
        self.pooler.calibrate(*self.batch([pixels]))
        self.layers, self.features = self.pooler.layers, self.pooler.features

    def prepare(self, samples: pd.DataFrame, folder: Path) -> Prepared:
        """Return pixels [3, height, width]; an image that cannot be read or processed is refused."""
        prepared = Prepared()
        length = self.positions - (self.others if self.tokens == "patches" else 0)
        for row in samples.to_dict("records"):
            try:
                image = read_image(row, folder)
            except DataError as error:
                prepared.refuse(str(error))
                continue
            try:
                prepared.add(self._process(image), length, self.positions)
            except (ValueError, TypeError, IndexError, ZeroDivisionError) as error:
                first = (str(error).splitlines() or [type(error).__name__])[0]
                prepared.refuse(f"the model's processor cannot take it ({first})")
        return prepared

    def encode(self, prepared: Sequence[Any]) -> Float[Tensor, "batch layer feature"]:
        """Return the pooled layers of pixels, float32, on the CPU."""
        return self.pooler.pool(*self.batch(prepared))

    def settings(self) -> dict[str, str]:
        """Return processor digest, pooling and precision."""
        return {
            "processor": digest_of_settings(self.processor.to_dict()),
            "pooling": f"mean over {self.tokens} tokens" if self.tokens == "all" else "mean over patches",
            "dtype": self.dtype,
        }

    def _process(self, image: Image.Image) -> Tensor:
        pixels: Tensor = self.processor(images=[image], return_tensors="pt")["pixel_values"][0]
        return pixels

    @torch.inference_mode()
    def _positions(self, pixels: Tensor) -> int:
        inputs = {"pixel_values": pixels[None].to(self.model.device, self.model.dtype)}
        states = run_once(self.model, inputs).last_hidden_state
        if states.dim() != 3:
            raise EncoderError(
                "its hidden states are no sequence of tokens",
                where=type(self.model).__name__,
                expected="[batch, token, feature]",
                found=f"{states.dim()} axes",
            )
        return int(states.shape[1])

    def _patches(self, pixels: Tensor) -> int:
        size = getattr(self.model.config, "patch_size", None)
        if not isinstance(size, int):
            return 0
        return (pixels.shape[-2] // size) * (pixels.shape[-1] // size)

    def batch(self, prepared: Sequence[Any]) -> tuple[dict[str, Tensor], Tensor]:
        """Return the model's inputs, and the mask of the tokens that the mean is over."""
        pixels = torch.stack(list(prepared)).to(self.model.device, self.model.dtype)
        mask = torch.ones(len(prepared), self.positions, dtype=torch.bool)
        if self.tokens == "patches":
            mask[:, : self.others] = False
        return {"pixel_values": pixels}, mask


def _noise(width: int, height: int) -> Image.Image:
    values = np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)
    return Image.fromarray(values)
