"""What every encoder adapter must do, over randomly initialised models of the true architectures."""

import io
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import soundfile
import torch
from encoders.conftest import ALL, model_folder  # noqa: F401
from PIL import Image

from daam_bench.cache.batches import batching_difference
from daam_bench.config import EncoderConfig
from daam_bench.encoders.base import Encoder, load_encoder

pytestmark = pytest.mark.parametrize(("modality", "name"), ALL)


def wav(seconds, rate=16000):
    noise = np.random.default_rng(round(seconds * 1000)).normal(scale=0.1, size=round(seconds * rate))
    buffer = io.BytesIO()
    soundfile.write(buffer, noise, rate, format="WAV", subtype="FLOAT")
    return buffer.getvalue()


def png(width, height):
    pixels = np.random.default_rng(width).integers(0, 256, (height, width, 3), dtype=np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")
    return buffer.getvalue()


# From the shortest that an encoder takes to the longest here.
SAMPLES = {
    "text": {
        "text": [" ".join(f"w{(7 * k) % 51}" for k in range(length)) for length in (1, 2, 7, 31, 29, 1)]
    },
    "speech": {"content": [wav(s) for s in (0.03, 0.11, 1.3, 0.7, 2.9, 0.03)]},
    "vision": {
        "content": [png(*size) for size in ((1, 1), (50, 30), (17, 90), (224, 224), (31, 31), (2, 64))]
    },
}
BAD = {"text": {"text": [" "]}, "speech": {"content": [b"RIFF"]}, "vision": {"content": [b"\x89PNG"]}}
COMPOSITIONS = [(0,), (4, 0), (1, 2, 3), (0, 0, 5), (5, 4, 3, 2, 1, 0)]


def samples_of(modality, rows=slice(None)):
    return pd.DataFrame(SAMPLES[modality]).iloc[rows]


@pytest.fixture
def encoder(modality, name, model_folder):  # noqa: F811
    return load_encoder(name, EncoderConfig(modality=modality, model=str(model_folder(modality, name))))


def plain(encoder, modality, prepared):
    """Return the mean over time of every hidden state of one unbatched forward."""
    if modality == "text":
        inputs, frames = {"input_ids": torch.tensor([prepared])}, None
    elif modality == "vision":
        inputs, frames = {"pixel_values": prepared[None]}, None
    else:
        inputs = dict(encoder.extractor(prepared, sampling_rate=16000, return_tensors="pt"))
        inputs.pop("attention_mask", None)
        frames = encoder._frames(len(prepared))  # Whisper's own padding to its window is not speech
    with torch.inference_mode():
        states = encoder.model(**inputs, output_hidden_states=True).hidden_states
    return torch.stack([state[0, :frames].mean(dim=0) for state in states[1:]])


def test_it_is_an_encoder(encoder, modality, name):
    assert isinstance(encoder, Encoder)
    assert encoder.features == 24
    assert encoder.layers == (3 if name == "whisper" else 5)


@pytest.mark.parametrize("rows", COMPOSITIONS)
def test_every_batch_equals_plain_single_forwards(encoder, modality, name, rows):
    prepared = encoder.prepare(samples_of(modality, list(rows)), Path())
    assert not prepared.problems
    found = encoder.encode(prepared.inputs)
    for sample, pooled in zip(prepared.inputs, found, strict=True):
        expected = plain(encoder, modality, sample)
        scale = expected.square().mean(dim=1, keepdim=True).sqrt()
        assert ((pooled - expected).abs() / scale).max() < 1e-5


def test_batching_difference_is_small_and_real(encoder, modality, name):
    assert 0 <= batching_difference(encoder, samples_of(modality), Path()) < 1e-5
    assert batching_difference(encoder, samples_of(modality, slice(1)), Path()) is None


def test_bad_samples_are_refused_with_a_reason_and_the_others_stay(encoder, modality, name):
    bad = pd.concat([samples_of(modality, slice(2)), pd.DataFrame(BAD[modality])], ignore_index=True)
    prepared = encoder.prepare(bad, Path())
    assert list(prepared.problems) == [2]
    assert len(prepared.problems[2]) > 5
    alone = encoder.prepare(samples_of(modality, slice(2)), Path())
    assert prepared.lengths == [*alone.lengths, -1]
    assert torch.equal(encoder.encode(prepared.inputs[:2]), encoder.encode(alone.inputs))


def test_lengths_grow_with_the_sample(encoder, modality, name):
    lengths = encoder.prepare(samples_of(modality), Path()).lengths
    if modality == "vision":
        assert len(set(lengths)) == 1
    else:
        assert lengths[0] < lengths[2] < lengths[4]
        assert lengths[0] == lengths[5]


def test_settings_are_text_and_equal_when_loaded_again(encoder, modality, name, model_folder):  # noqa: F811
    again = load_encoder(name, EncoderConfig(modality=modality, model=str(model_folder(modality, name))))
    assert encoder.settings() == again.settings()
    assert all(isinstance(value, str) for value in encoder.settings().values())
    assert {"processor", "pooling", "dtype"} <= set(encoder.settings())


# The longest that a model takes, one more, and what fills Whisper's window, here of 6 s.
LONGEST = {
    "text": {"text": [" ".join(f"w{(7 * k) % 51}" for k in range(length)) for length in (511, 512, 513, 3)]},
    "speech": {"content": [wav(s) for s in (29.99, 30.0, 15.0, 0.4)]},
    "whisper": {"content": [wav(s) for s in (5.99, 6.0, 3.0, 0.4)]},
    "vision": {"content": [png(*size) for size in ((1500, 1100), (3, 1))]},
}
LENGTHS = {
    "bert": [511, 512, 512, 3],
    "llama": [511, 512, 513, 3],  # up to 2048
    "whisper": [300, 300, 150, 20],
    "wavlm": [1499, 1499, 749, 19],
    "wav2vec2_group_norm": [1499, 1499, 749, 19],
    "beit": [17, 17],
    "dinov2": [17, 17],
}


def test_the_longest_inputs_are_cut_or_taken_whole_and_equal_plain_forwards(encoder, modality, name):
    prepared = encoder.prepare(pd.DataFrame(LONGEST.get(name, LONGEST[modality])), Path())
    assert not prepared.problems
    assert prepared.lengths == LENGTHS[name]
    for sample, pooled in zip(prepared.inputs, encoder.encode(prepared.inputs), strict=True):
        expected = plain(encoder, modality, sample)
        scale = expected.square().mean(dim=1, keepdim=True).sqrt()
        assert ((pooled - expected).abs() / scale).max() < 1e-5


def test_spread_over_devices_is_the_same(encoder, modality, name, model_folder):  # noqa: F811
    config = EncoderConfig(modality=modality, model=str(model_folder(modality, name)), device_map="auto")
    spread = load_encoder(name, config)
    inputs = encoder.prepare(samples_of(modality, [2, 4]), Path()).inputs
    torch.testing.assert_close(spread.encode(inputs), encoder.encode(inputs))
    assert spread.settings() == encoder.settings()


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_half_precision_is_near_float32(encoder, modality, name, model_folder, dtype):  # noqa: F811
    config = EncoderConfig(modality=modality, model=str(model_folder(modality, name)), dtype=dtype)
    small = load_encoder(name, config)
    inputs = encoder.prepare(samples_of(modality, [2, 4]), Path()).inputs
    exact, rough = encoder.encode(inputs), small.encode(inputs)
    assert rough.dtype == torch.float32
    assert 0 < (rough - exact).abs().max() < (0.1 if dtype == "bfloat16" else 0.02) * exact.abs().max()
