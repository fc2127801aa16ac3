"""How many layers an encoder has, and how wide they are, before it is opened."""

import json

import pytest

from daam_bench.cache.manifest import write_manifest
from daam_bench.config import EncoderConfig
from daam_bench.costs.sizes import encoder_shape
from daam_bench.encoders.shapes import known_shape

FACTS = {
    "bert": {"num_hidden_layers": 3, "hidden_size": 48},
    "distilbert": {"n_layers": 3, "dim": 48},
    "gpt2": {"n_layer": 3, "n_embd": 48},
    "t5": {"num_layers": 3, "d_model": 48, "num_decoder_layers": 5},
    "xlm": {"n_layers": 3, "emb_dim": 48},
    "whisper": {"encoder_layers": 3, "d_model": 48, "decoder_layers": 5, "num_hidden_layers": 3},
}


@pytest.fixture
def model(tmp_path):
    """Return what writes a config.json and gives its encoder."""

    def write(facts):
        (tmp_path / "config.json").write_text(facts if isinstance(facts, str) else json.dumps(facts))
        return EncoderConfig(modality="text", model=str(tmp_path))

    return write


@pytest.fixture
def manifest(tmp_path):
    """Return where a cache of other encoders would be."""
    return tmp_path / "manifest.json"


@pytest.mark.parametrize("family", FACTS)
def test_usual_encoders_are_sized_by_the_names_that_their_family_has(model, manifest, family):
    config = model({"model_type": family, **FACTS[family]})
    assert encoder_shape(config, manifest) == ((3, 48), "")
    assert known_shape(config) == (3, 48)


@pytest.mark.parametrize("family", ["distilbert", "gpt2", "t5"])
def test_the_names_are_those_that_transformers_knows(family):
    from transformers import AutoConfig

    opened = AutoConfig.for_model(family, **FACTS[family])
    assert (opened.num_hidden_layers, opened.hidden_size) == (3, 48)


def test_transformers_is_asked_for_other_names(model, manifest):
    blocks = {"num_encoder_layers": 3, "num_decoder_layers": 5, "hidden_size": 48}
    config = model({"model_type": "prophetnet", **blocks})
    assert known_shape(config) is None
    assert encoder_shape(config, manifest) == ((3, 48), "")


@pytest.mark.parametrize(
    ("facts", "why"),
    [
        ("{", "cannot be read"),
        ("[]", "cannot be read"),
        ({"model_type": "convnext"}, "of a convnext, does not say"),
        ({"model_type": "no-such"}, "transformers cannot open it"),
        ({"model_type": "distilbert", "n_layers": "six"}, "transformers cannot open it"),
    ],
)
def test_a_size_that_is_not_known_has_its_true_reason(model, manifest, facts, why):
    shape, reason = encoder_shape(model(facts), manifest)
    assert shape is None and why in reason


def test_a_model_that_is_not_here_has_no_size_yet(tmp_path, manifest):
    config = EncoderConfig(modality="text", model="owner/name", revision="0" * 40)
    assert encoder_shape(config, manifest) == (None, "its config.json is not here yet")


@pytest.mark.parametrize("revision", ["0" * 40, "1" * 40])
def test_the_cache_of_an_encoder_says_its_size(manifest, revision):
    made_by = {"model": "owner/name", "revision": "0" * 40}
    write_manifest(manifest, {"store": "x.zarr", "shape": [7, 3, 48], "spec": {"encoder": made_by}})
    config = EncoderConfig(modality="text", model="owner/name", revision=revision)
    shape, _ = encoder_shape(config, manifest)
    assert shape == ((3, 48) if revision == made_by["revision"] else None)


def test_an_absurd_config_json_has_no_size(tmp_path):
    (tmp_path / "config.json").write_text('{"a": ' + "[" * 100_000)
    assert known_shape(EncoderConfig(modality="text", model=str(tmp_path))) is None
