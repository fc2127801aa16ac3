"""What low-rank updates must do in every architecture: one contract."""

import math
from pathlib import Path

import pandas as pd
import pytest
import torch
from contracts.test_encoder_contract import samples_of
from encoders.conftest import ALL

from daam_bench.adapters.low_rank import attach_adapters
from daam_bench.adapters.proof import prove_adapters
from daam_bench.adapters.targets import NAMES, READS_WEIGHTS, find_projections
from daam_bench.config import EncoderConfig
from daam_bench.encoders.base import load_encoder
from daam_bench.errors import EncoderError
from daam_bench.tuning.model import last_hidden_mean

RANK, SCALE = 3, 16 / 3
every_encoder = pytest.mark.parametrize(("modality", "name"), ALL)
every_injection = pytest.mark.parametrize("injection", ["modules", "weights"])


@pytest.fixture
def open_encoder(model_folder):
    def opened(modality, name, **settings):
        config = EncoderConfig(modality=modality, model=str(model_folder(modality, name)), **settings)
        encoder = load_encoder(name, config)
        samples = samples_of(modality, [2, 4]).iloc[: 1 if modality == "speech" else 2]
        prepared = encoder.prepare(pd.DataFrame(samples), Path()).inputs
        return encoder, lambda: last_hidden_mean(encoder, prepared)

    return opened


def adapted(encoder, targets="query_key", injection=None):
    kind = injection or ("weights" if encoder.model.config.model_type in READS_WEIGHTS else "modules")
    names = find_projections(encoder.model, targets, encoder.layers)
    return attach_adapters(encoder.model, names, RANK, SCALE, kind)


def randomise(adapters, seed=0):
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for _, a, b in adapters.factors():
            a.copy_(torch.randn(a.shape, generator=generator) * 0.1)
            b.copy_(torch.randn(b.shape, generator=generator) * 0.1)


@every_encoder
def test_it_starts_at_the_frozen_encoder_bit_for_bit_and_then_moves(open_encoder, modality, name):
    encoder, output = open_encoder(modality, name)
    with torch.no_grad():
        frozen = output()
        adapters = adapted(encoder)
        assert torch.equal(output(), frozen)
        randomise(adapters)
        assert (output() - frozen).abs().max() > 1e-4 * frozen.abs().max()


@every_encoder
@pytest.mark.parametrize("targets", ["query_key", "query_value"])
def test_two_projections_of_every_layer_have_gradients_and_nothing_else_does(
    open_encoder, modality, name, targets
):
    encoder, output = open_encoder(modality, name)
    adapters = adapted(encoder, targets)
    factors = list(adapters.factors())
    wanted = {n[0] for n in NAMES} | {n[1 if targets == "query_key" else 2] for n in NAMES}
    assert len(factors) == 2 * encoder.layers == len({f.module for f in factors})
    assert {f.module.rpartition(".")[2] for f in factors} <= wanted
    assert len({f.module.rpartition(".")[2] for f in factors}) == 2
    randomise(adapters)
    output().square().sum().backward()
    own = {id(p) for p in adapters.parameters()}
    for _, a, b in factors:
        assert a.grad is not None and a.grad.abs().max() > 0
        assert b.grad is not None and b.grad.abs().max() > 0
    for parameter in encoder.model.parameters():
        assert parameter.requires_grad == (id(parameter) in own)
        assert (parameter.grad is None) == (id(parameter) not in own)


@every_encoder
def test_the_update_is_that_of_the_merged_weight(open_encoder, modality, name):
    """W0 + (alpha / r) B A, put into the weights of another copy of the encoder by hand."""
    encoder, output = open_encoder(modality, name)
    adapters = adapted(encoder)
    randomise(adapters)
    merged, plain = open_encoder(modality, name)
    with torch.no_grad():
        for module, a, b in adapters.factors():
            merged.model.get_submodule(module).weight += SCALE * (b @ a)
        expected = plain()
        torch.testing.assert_close(output(), expected, rtol=1e-4, atol=1e-5 * float(expected.abs().max()))


@pytest.mark.parametrize(("modality", "name"), [pair for pair in ALL if pair[1] != "wavlm"])
def test_wrapped_modules_and_parametrised_weights_agree(open_encoder, modality, name):
    found = []
    for injection in ("modules", "weights"):
        encoder, output = open_encoder(modality, name)
        adapters = adapted(encoder, injection=injection)
        randomise(adapters)
        value = output()
        value.square().sum().backward()
        found.append((value.detach(), [p.grad for f in adapters.factors() for p in (f.a, f.b)]))
        assert len(adapters.state_for_peft()) == 4 * encoder.layers
    (one, gradients), (other, others) = found
    torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-5)
    for a, b in zip(gradients, others, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-3, atol=1e-4 * float(b.abs().max()))


@every_encoder
def test_the_proof_passes_and_leaves_the_start_as_it_was(open_encoder, modality, name):
    encoder, output = open_encoder(modality, name)
    with torch.no_grad():
        frozen = output()
    adapters = adapted(encoder)
    before = {key: value.clone() for key, value in adapters.state_dict().items()}
    proof = prove_adapters(adapters, output, frozen, name)
    assert proof.adapters == 2 * encoder.layers
    assert proof.gradients > 0 and 0 < proof.changes[0] <= proof.changes[1]
    assert f"{2 * encoder.layers} adapters" in str(proof)
    for key, value in adapters.state_dict().items():
        assert torch.equal(value, before[key])
    assert all(parameter.grad is None for parameter in adapters.parameters())
    assert torch.equal(output(), frozen)


def test_on_wavlm_wrapped_modules_are_a_no_op_and_the_proof_says_so(open_encoder):
    encoder, output = open_encoder("speech", "wavlm")
    with torch.no_grad():
        frozen = output()
    adapters = adapted(encoder, injection="modules")
    with pytest.raises(EncoderError, match=r"no gradient.*q_proj.*tuning\.injection: weights"):
        prove_adapters(adapters, output, frozen, "wavlm-large")
    randomise(adapters)
    assert torch.equal(output(), frozen)


def test_one_dead_adapter_among_many_is_named(open_encoder):
    encoder, output = open_encoder("text", "bert")
    with torch.no_grad():
        frozen = output()
    adapters = adapted(encoder)
    # The second layer's key goes past its wrapper, as in WavLM.
    attention = encoder.model.encoder.layer[1].attention.self
    attention.key.forward = attention.key.base_layer.forward
    with pytest.raises(EncoderError, match=r"1 without: encoder\.layer\.1\.attention\.self\.key") as caught:
        prove_adapters(adapters, output, frozen, "bert")
    assert "layer.0" not in str(caught.value)


def test_an_adapter_without_effect_is_refused_though_it_has_gradients(open_encoder):
    encoder, output = open_encoder("text", "bert")
    with torch.no_grad():
        frozen = output()
    adapters = adapted(encoder)

    def rounded():
        """Return the output with its gradients, but with every change rounded away."""
        value = output()
        return value + (frozen - value).detach()

    with pytest.raises(EncoderError, match="do not change the output"):
        prove_adapters(adapters, rounded, frozen, "bert")


def test_another_start_than_the_frozen_encoder_is_refused(open_encoder):
    encoder, output = open_encoder("text", "bert")
    with torch.no_grad():
        frozen = output()
    adapters = adapted(encoder)
    with pytest.raises(EncoderError, match="differs from the frozen encoder"):
        prove_adapters(adapters, output, frozen * 1.01, "bert")


def test_samples_of_one_position_prove_nothing_and_are_refused(open_encoder):
    encoder, _ = open_encoder("text", "bert")
    single = encoder.prepare(pd.DataFrame({"text": ["w3"]}), Path()).inputs
    with torch.no_grad():
        frozen = last_hidden_mean(encoder, single)
    adapters = adapted(encoder)
    with pytest.raises(EncoderError, match="one position long"):
        prove_adapters(adapters, lambda: last_hidden_mean(encoder, single), frozen, "bert")


@every_injection
def test_the_start_is_that_of_peft_and_of_the_seed(open_encoder, injection):
    """A within 1 / sqrt(input) = 1 / sqrt(24) of zero, B zero; equal seeds give equal A, however injected."""
    encoder, _ = open_encoder("text", "bert")
    torch.manual_seed(5)
    adapters = adapted(encoder, injection=injection)
    torch.manual_seed(11)
    adapters.reset()
    first = [a.clone() for _, a, _ in adapters.factors()]
    bound = 1 / math.sqrt(24)
    assert all(0.9 * bound < a.abs().max() <= bound for a in first)
    assert all(b.eq(0).all() for _, _, b in adapters.factors())
    torch.manual_seed(11)
    other, _ = open_encoder("text", "bert")
    adapters = adapted(other, injection="weights" if injection == "modules" else "modules")
    torch.manual_seed(11)
    adapters.reset()
    assert all(torch.equal(a, b) for a, (_, b, _) in zip(first, adapters.factors(), strict=True))


def test_factors_are_float32_in_an_encoder_of_low_precision(open_encoder):
    for injection in ("modules", "weights"):
        encoder, output = open_encoder("text", "llama", dtype="bfloat16")
        adapters = adapted(encoder, injection=injection)
        assert all(parameter.dtype == torch.float32 for parameter in adapters.parameters())
        randomise(adapters)
        output().sum().backward()
        assert all(parameter.grad.abs().max() > 0 for parameter in adapters.parameters())


@pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing` is deprecated:FutureWarning")  # asked by peft
def test_peft_loads_what_is_saved(open_encoder):
    from peft import LoraConfig, get_peft_model, set_peft_model_state_dict

    encoder, output = open_encoder("text", "bert")
    adapters = adapted(encoder)
    randomise(adapters)
    other, plain = open_encoder("text", "bert")
    settings = LoraConfig(r=RANK, lora_alpha=16, target_modules=["query", "key"])
    wrapped = get_peft_model(other.model, settings)
    set_peft_model_state_dict(wrapped, adapters.state_for_peft())
    with torch.no_grad():
        assert torch.equal(plain(), output())


def test_an_encoder_of_unknown_form_is_refused_with_the_names_it_has():
    model = torch.nn.Sequential(torch.nn.Linear(5, 7), torch.nn.ReLU(), torch.nn.Linear(7, 3))
    with pytest.raises(EncoderError, match="query/key/value.*found linear modules named 0, 2"):
        find_projections(model, "query_key", 1)
