"""Which positions the mean is over: zeros up to 5 s only under D10, the class token not with patches."""

import io
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import soundfile
import torch
from PIL import Image

from daam_bench.config import EncoderConfig
from daam_bench.encoders.base import load_encoder


def clip(seconds):
    buffer = io.BytesIO()
    noise = np.random.default_rng(3).normal(scale=0.1, size=round(seconds * 16000))
    soundfile.write(buffer, noise, 16000, format="WAV", subtype="FLOAT")
    return pd.DataFrame({"content": [buffer.getvalue()]})


def states_of(encoder, **inputs):
    with torch.inference_mode():
        return encoder.model(**inputs, output_hidden_states=True).hidden_states[1:]


@pytest.mark.parametrize(
    ("name", "frames", "padded"),
    [("whisper", 35, 250), ("wavlm", 34, 249), ("wav2vec2_group_norm", 34, 249)],
)
def test_zeros_enter_the_mean_only_under_the_switch(model_folder, name, frames, padded):
    config = EncoderConfig(modality="speech", model=str(model_folder("speech", name)))
    means = {}
    for switch, count in (("masked", frames), ("zero_padded", padded)):
        encoder = load_encoder(name, config, switch)
        prepared = encoder.prepare(clip(0.7), Path())
        assert prepared.lengths == [count]
        (wave,) = prepared.inputs
        assert len(wave) == (11200 if switch == "masked" else 80000)
        assert not wave[11200:].any()
        key = encoder.extractor.model_input_names[0]
        inputs = {key: encoder.extractor(wave, sampling_rate=16000, return_tensors="pt")[key]}
        expected = torch.stack([state[0, :count].mean(dim=0) for state in states_of(encoder, **inputs)])
        (means[switch],) = encoder.encode(prepared.inputs)
        torch.testing.assert_close(means[switch], expected, atol=1e-5, rtol=1e-4)
        if name != "whisper":
            assert encoder.extractor.do_normalize is (switch == "masked")
    assert (means["masked"] - means["zero_padded"]).abs().max() > 1e-3


def test_an_image_that_the_processor_cannot_take_is_left_out(model_folder, monkeypatch):
    encoder = load_encoder("e", EncoderConfig(modality="vision", model=str(model_folder("vision", "dinov2"))))
    contents = []
    for size in ((31, 17), (19, 23)):
        buffer = io.BytesIO()
        Image.effect_noise(size, 50).save(buffer, "PNG")
        contents.append(buffer.getvalue())
    process = encoder._process
    good = process(Image.open(io.BytesIO(contents[1])).convert("RGB"))

    def bent(image):
        if image.size == (31, 17):
            raise ValueError("no such size\nand more")
        return process(image)

    monkeypatch.setattr(encoder, "_process", bent)
    prepared = encoder.prepare(pd.DataFrame({"content": contents}), Path())
    assert prepared.problems == {0: "the model's processor cannot take it (no such size)"}
    assert torch.equal(prepared.inputs[1], good)


@pytest.mark.parametrize("name", ["beit", "dinov2"])
def test_the_mean_over_patches_leaves_out_the_class_token_alone(model_folder, name):
    buffer = io.BytesIO()
    Image.effect_noise((31, 17), 50).save(buffer, "PNG")
    samples = pd.DataFrame({"content": [buffer.getvalue()]})
    folder = str(model_folder("vision", name))
    for tokens, length, first in (("all", 17, 0), ("patches", 16, 1)):
        encoder = load_encoder(name, EncoderConfig(modality="vision", model=folder, tokens=tokens))
        prepared = encoder.prepare(samples, Path())
        assert prepared.lengths == [length]
        states = states_of(encoder, pixel_values=prepared.inputs[0][None])
        expected = torch.stack([state[0, first:].mean(dim=0) for state in states])
        torch.testing.assert_close(encoder.encode(prepared.inputs)[0], expected, atol=1e-5, rtol=1e-4)
