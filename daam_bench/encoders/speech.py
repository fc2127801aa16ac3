"""Speech encoders that transformers' AutoModel opens."""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence
from transformers import AutoFeatureExtractor

from daam_bench.config import EncoderConfig, ShortClips
from daam_bench.encoders.base import Prepared
from daam_bench.encoders.loading import digest_of_settings, make_pooler, open_model, open_pretrained
from daam_bench.encoders.media import read_audio
from daam_bench.errors import DataError, EncoderError

_MOST_SECONDS = 60.0
# D10: what the released scripts pad shorter clips to.
PADDED_SECONDS = 5.0


class SpeechEncoder:
    """Feature extractor and transformer; the mean is over the frames that hold speech.

    Three kinds of models: those that take a spectrogram of fixed length (Whisper: padding is part of their
    input, and is left out of the mean), those that take a waveform and a mask (WavLM-Large), and those that
    no mask keeps from padding (a group norm in the feature extractor, convolutions between the layers): they
    get batches of equal length.

    Args:
        config: which model.
        short_clips: D10; `zero_padded` appends zeros up to 5 s, which enter the mean, and does not normalise.

    Raises:
        EncoderError: if the model cannot be opened, does not return hidden states, or takes other inputs.
    """

    window = 64
    unit = "seconds of audio"

    def __init__(self, config: EncoderConfig, short_clips: ShortClips = "masked") -> None:
        self.short_clips = short_clips
        self.extractor = open_pretrained(AutoFeatureExtractor.from_pretrained, config)
        self.model: Any = open_model(config)
        self.dtype, self.rate = config.dtype, int(self.extractor.sampling_rate)
        self.fixed_length = hasattr(self.extractor, "nb_max_frames")
        takes_waveforms = self.extractor.model_input_names[0] == "input_values"
        if not self.fixed_length and not (
            takes_waveforms and hasattr(self.model, "_get_feat_extract_output_lengths")
        ):
            raise EncoderError(
                "how its frames follow from the waveform is not known",
                where=type(self.model).__name__,
                expected="a model of the wav2vec 2.0 family, or a Whisper encoder",
            )
        if short_clips == "zero_padded" and not self.fixed_length:
            self.extractor.do_normalize = False
        self.takes_mask = getattr(self.model.config, "feat_extract_norm", "layer") == "layer"
        self.mixes_lengths = self.fixed_length or self.takes_mask
        self.most_seconds = float(self.extractor.chunk_length) if self.fixed_length else _MOST_SECONDS
        self.pooler = make_pooler(self.model)
        noise = np.random.default_rng(0).normal(scale=0.1, size=self.rate).astype(np.float32)
        self.pooler.calibrate(*self.batch([noise]))
        if self.mixes_lengths and not self.fixed_length:
            self.mixes_lengths = self.pooler.keeps_apart(self.batch, [noise, noise[: self.rate // 2]])
        self.units_per_position = 1 / self._frames(self.rate)
        self.layers, self.features = self.pooler.layers, self.pooler.features

    def prepare(self, samples: pd.DataFrame, folder: Path) -> Prepared:
        """Return waveforms; one that cannot be read, or is too short or too long, is refused."""
        prepared = Prepared()
        for row in samples.to_dict("records"):
            try:
                wave = read_audio(row, folder, self.rate, self.most_seconds)
            except DataError as error:
                prepared.refuse(str(error))
                continue
            if self.short_clips == "zero_padded":
                missing = round(PADDED_SECONDS * self.rate) - len(wave)
                wave = np.pad(wave, (0, max(0, missing)))
            frames = self._frames(len(wave))
            if frames < 1:
                prepared.refuse(f"the clip of {len(wave) / self.rate:.3f} s is shorter than one frame")
            else:
                prepared.add(
                    wave, frames, self._frames(self.extractor.n_samples) if self.fixed_length else None
                )
        return prepared

    def encode(self, prepared: Sequence[Any]) -> Float[Tensor, "batch layer feature"]:
        """Return the pooled layers of waveforms, float32, on the CPU."""
        if self.mixes_lengths:
            return self.pooler.pool(*self.batch(prepared))
        return self.pooler.pool_by_length(self.batch, prepared)

    def settings(self) -> dict[str, str]:
        """Return processor digest, pooling and precision."""
        return {
            "processor": digest_of_settings(self.extractor.to_dict()),
            "pooling": "mean over frames that are not padding"
            if self.short_clips == "masked"
            else f"mean over frames, zeros up to {PADDED_SECONDS:g} s included",
            "dtype": self.dtype,
        }

    def _frames(self, samples: int) -> int:
        if self.fixed_length:
            # Whisper: one spectrum a hop, halved by its second convolution.
            return math.ceil(math.ceil(samples / int(self.extractor.hop_length)) / 2)
        return int(self.model._get_feat_extract_output_lengths(torch.tensor(samples)))

    def batch(self, prepared: Sequence[Any]) -> tuple[dict[str, Tensor], Tensor]:
        """Return the model's inputs, and the mask of the frames that the mean is over."""
        # Each alone: normalisation must not depend on what it is batched with.
        name = self.extractor.model_input_names[0]
        options = {"sampling_rate": self.rate, "return_tensors": "pt"}
        features = [self.extractor(wave, **options)[name][0] for wave in prepared]
        lengths = torch.tensor([self._frames(len(wave)) for wave in prepared])
        batch = pad_sequence(features, batch_first=True)
        inputs = {name: batch.to(self.model.device, self.model.dtype)}
        frames = self._frames(self.extractor.n_samples if self.fixed_length else batch.shape[1])
        if self.takes_mask and not self.fixed_length:
            ends = torch.tensor([len(wave) for wave in prepared])
            mask = torch.arange(batch.shape[1]) < ends[:, None]
            inputs["attention_mask"] = mask.long().to(self.model.device)
        return inputs, torch.arange(frames) < lengths[:, None]
