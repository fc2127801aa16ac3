"""What every variant of the table must do; a new entry is tested on arrival."""

from pathlib import Path

import pytest
import torch
from jaxtyping import TypeCheckError
from safetensors.torch import load_file, save_file
from torch import Tensor

from daam_bench.config import PROTOCOLS, Protocol
from daam_bench.errors import ConfigError
from daam_bench.heads import VARIANTS, AttentionClassifier, build_model, parameter_counts
from daam_bench.heads.model import HasAttentionWeights, HasDensity, trainable

BATCH, LAYERS, FEATURES, CLASSES, CHANNELS = 5, 6, 22, 3, 7
LAYERWISE = Protocol.model_validate("corrected")

each_variant = pytest.mark.parametrize("variant", list(VARIANTS))
each_protocol = pytest.mark.parametrize(
    "protocol", [Protocol.model_validate(name) for name in PROTOCOLS], ids=list(PROTOCOLS)
)
# Between them these two take every branch of D1, D2 and D3.
both_readings = pytest.mark.parametrize(
    "protocol", [Protocol.model_validate(name) for name in ("paper", "released")], ids=["paper", "released"]
)


def build(variant: str, protocol: Protocol = LAYERWISE, seed: int = 0) -> AttentionClassifier:
    torch.manual_seed(seed)
    return build_model(variant, LAYERS, FEATURES, CLASSES, protocol, decoder_channels=CHANNELS)


def shaken(variant: str, protocol: Protocol = LAYERWISE) -> AttentionClassifier:
    """A model away from its initial point, where LoRA's B = 0 hides A."""
    model = build(variant, protocol)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    return model


def sample(batch: int = BATCH) -> Tensor:
    return torch.randn(batch, LAYERS, FEATURES, generator=torch.Generator().manual_seed(1))


@each_variant
@each_protocol
def test_logits_and_attention_have_their_shapes(variant: str, protocol: Protocol) -> None:
    model = build(variant, protocol)
    assert model(sample()).shape == (BATCH, CLASSES)
    assert model.attention(sample()).shape == (BATCH, LAYERS, model.attention.out_features)


@each_variant
def test_signatures_refuse_other_shapes(variant: str) -> None:
    with pytest.raises(TypeCheckError, match="batch layer feature"):
        build(variant)(sample()[0])


@each_variant
@pytest.mark.parametrize(("layers", "features"), [(1, 13), (2, 13), (6, 7), (7, 1), (12, 5), (13, 5)])
def test_odd_sizes_train(variant: str, layers: int, features: int) -> None:
    torch.manual_seed(0)
    model = build_model(variant, layers, features, CLASSES, LAYERWISE, decoder_channels=CHANNELS)
    logits = model(torch.randn(BATCH, layers, features))
    logits.square().sum().backward()
    assert logits.isfinite().all()
    assert all(p.grad is None or p.grad.isfinite().all() for p in model.parameters())


@each_variant
@each_protocol
def test_gradients_reach_every_trainable_parameter_and_no_frozen_one(
    variant: str, protocol: Protocol
) -> None:
    model = shaken(variant, protocol)
    model(sample()).square().sum().backward()
    for name, parameter in model.named_parameters():
        if not parameter.requires_grad:
            assert parameter.grad is None, name
        # A key bias shifts all logits of a softmax alike: its gradient is zero by construction.
        elif not name.endswith("key.bias"):
            assert parameter.grad is not None and parameter.grad.abs().max() > 1e-7, name


@each_variant
def test_same_seed_same_weights_other_seed_others(variant: str) -> None:
    first, again, other = (build(variant, seed=s).state_dict() for s in (3, 3, 4))
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert any(not torch.equal(first[name], other[name]) for name in first)


@each_variant
@each_protocol
def test_a_sample_depends_on_its_batch_only_where_the_model_says_so(variant: str, protocol: Protocol) -> None:
    model = shaken(variant, protocol).eval()
    x = sample()
    alone = torch.cat([model(x[i : i + 1]) for i in range(BATCH)])
    if model.mixes_samples:
        assert protocol.attention_axis == "batch"
        assert (model(x) - alone).abs().max() > 1e-3
    else:
        torch.testing.assert_close(model(x), alone, rtol=1e-4, atol=1e-5)


def padding_mask() -> Tensor:
    """Samples with 6, 5, 3, 1 and no real layers of 6."""
    return torch.arange(LAYERS) < torch.tensor([6, 5, 3, 1, 0]).unsqueeze(1)


@each_variant
@both_readings
@pytest.mark.parametrize("training", [True, False], ids=["training", "evaluation"])
def test_padding_changes_nothing_whatever_it_holds(variant: str, protocol: Protocol, training: bool) -> None:
    attention, mask = shaken(variant, protocol).attention.train(training), padding_mask()
    outputs = []
    for content in (0.0, 1e3, float("nan")):
        x = sample().masked_fill(~mask.unsqueeze(-1), content).requires_grad_()
        attention.zero_grad()
        output = attention(x, mask)
        output.square().sum().backward()
        assert output[~mask].eq(0).all()
        assert x.grad is not None and x.grad[~mask].eq(0).all() and x.grad.isfinite().all()
        assert all(p.grad is None or p.grad.isfinite().all() for p in attention.parameters())
        outputs.append(output)
    torch.testing.assert_close(outputs[0], outputs[1])
    torch.testing.assert_close(outputs[0], outputs[2])


@each_variant
@both_readings
def test_padding_has_no_weight_whatever_it_holds(variant: str, protocol: Protocol) -> None:
    attention, mask = shaken(variant, protocol).attention, padding_mask()
    if not isinstance(attention, HasAttentionWeights):
        return
    found = []
    for content in (0.0, float("nan")):
        x = sample().masked_fill(~mask.unsqueeze(-1), content)
        found.append(attention.attention_weights(x, mask))  # type: ignore[call-arg]
    over = mask.T if getattr(attention, "mixes_samples", False) else mask  # of outer and key
    assert found[0].movedim(-1, 1)[~over].eq(0).all()
    shares = found[0].sum(-1)
    assert ((shares - 1).abs().lt(1e-5) | shares.eq(0)).all() and shares.amax() > 0.5
    torch.testing.assert_close(found[0], found[1])


@each_variant
@pytest.mark.parametrize("shape", [(BATCH, LAYERS, FEATURES + 1), (BATCH, 2 * LAYERS, FEATURES)])
def test_another_size_is_refused_in_words(variant: str, shape: tuple[int, ...]) -> None:
    with pytest.raises(ConfigError, match=r"expected axis .* of size .*; found shape"):
        build(variant)(torch.zeros(shape))


@each_variant
@pytest.mark.usefixtures("unchecked")
def test_whole_numbers_and_too_many_axes_are_refused_in_words(variant: str) -> None:
    with pytest.raises(ConfigError, match=r"holds no floating-point numbers.*found torch.int64"):
        build(variant)(torch.ones(BATCH, LAYERS, FEATURES, dtype=torch.int64))
    with pytest.raises(ConfigError, match=r"another number of axes|axis 1 of size"):
        build(variant)(torch.ones(2, BATCH, LAYERS, FEATURES))


@each_variant
@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize("mask", [torch.ones(BATCH, LAYERS), torch.ones(BATCH, LAYERS + 1) > 0])
def test_a_mask_that_is_none_is_refused_in_words(variant: str, mask: Tensor) -> None:
    with pytest.raises(ConfigError, match=r"the mask does not fit.*torch.bool of shape \(5, 6\)"):
        build(variant).attention(sample(), mask)


@each_variant
@both_readings
def test_a_mask_without_padding_changes_nothing(variant: str, protocol: Protocol) -> None:
    attention, x = shaken(variant, protocol).attention, sample()
    everything = torch.ones(BATCH, LAYERS, dtype=torch.bool)
    torch.testing.assert_close(attention(x, everything), attention(x), rtol=1e-4, atol=1e-5)


@each_variant
@each_protocol
@pytest.mark.parametrize("kind", ["autocast", "parameters"])
@pytest.mark.parametrize("values", ["usual", "constant", "zero", "large"])
def test_bfloat16_stays_finite(variant: str, protocol: Protocol, kind: str, values: str) -> None:
    scale = {"usual": 1.0, "constant": 0.0, "zero": 0.0, "large": 1e4}[values]
    x = (sample() * scale + (3.0 if values == "constant" else 0.0)).requires_grad_()
    model = shaken(variant, protocol)
    if kind == "parameters":
        logits = model.bfloat16()(x.bfloat16())
        assert logits.dtype == torch.bfloat16
    else:
        with torch.autocast("cpu", torch.bfloat16):
            logits = model(x)
    logits.float().square().mean().backward()
    assert logits.isfinite().all()
    assert x.grad is not None and x.grad.isfinite().all()
    assert all(p.grad.isfinite().all() for p in model.parameters() if p.grad is not None)


@each_variant
def test_states_survive_safetensors(variant: str, tmp_path: Path) -> None:
    model, other = shaken(variant).eval(), build(variant, seed=9).eval()
    save_file(model.state_dict(), tmp_path / "model.safetensors")
    other.load_state_dict(load_file(tmp_path / "model.safetensors"))
    assert torch.equal(model(sample()), other(sample()))


@each_variant
@each_protocol
def test_counts_on_the_meta_device_are_those_of_the_model(variant: str, protocol: Protocol) -> None:
    model = build(variant, protocol)
    counts = parameter_counts(variant, LAYERS, FEATURES, CLASSES, protocol, decoder_channels=CHANNELS)
    assert counts == model.parameter_counts()
    assert counts.attention == trainable(model.attention)
    assert counts.with_classifier == trainable(model)


@each_variant
def test_density_is_there_exactly_where_the_table_says(variant: str) -> None:
    model = shaken(variant)
    assert isinstance(model.attention, HasDensity) == VARIANTS[variant].has_density
    if VARIANTS[variant].has_density:
        density = model.density(sample())
        assert density.shape == (BATCH, LAYERS, FEATURES)
        assert density.min() >= 0 and density.max() <= 1


@each_variant
@both_readings
def test_exports(variant: str, protocol: Protocol) -> None:
    model = shaken(variant, protocol).eval()
    exported = torch.export.export(model, (sample(),)).module()
    torch.testing.assert_close(exported(sample()), model(sample()))


@each_variant
def test_exports_for_any_batch_size_and_with_a_mask(variant: str) -> None:
    attention, mask = shaken(variant).attention.eval(), padding_mask()
    batch = torch.export.Dim("batch", min=2, max=64)
    program = torch.export.export(attention, (sample(), mask), dynamic_shapes=({0: batch}, {0: batch}))
    torch.testing.assert_close(program.module()(sample()[:3], mask[:3]), attention(sample()[:3], mask[:3]))


@each_variant
@both_readings
@pytest.mark.usefixtures("unchecked")
def test_compiles_as_one_graph_with_its_gradients(variant: str, protocol: Protocol) -> None:
    torch.compiler.reset()
    model, x = shaken(variant, protocol), sample()
    results = []
    for run in (model, torch.compile(model, fullgraph=True, backend="aot_eager")):
        model.zero_grad()
        logits = run(x)
        logits.square().sum().backward()
        results.append([logits.detach(), *(p.grad for p in model.parameters() if p.grad is not None)])
    torch.testing.assert_close(results[1], results[0], rtol=1e-4, atol=1e-5)


@each_variant
@pytest.mark.usefixtures("unchecked")
def test_compiles_with_a_mask(variant: str) -> None:
    torch.compiler.reset()
    attention, mask = shaken(variant).attention, padding_mask()
    compiled = torch.compile(attention, fullgraph=True, backend="eager")
    torch.testing.assert_close(compiled(sample(), mask), attention(sample(), mask))


@pytest.mark.filterwarnings("ignore:There is a performance drop")
@each_variant
def test_replicas_stack_under_vmap(variant: str) -> None:
    models, template, x = [shaken(variant), shaken(variant)], build(variant), sample()
    with torch.no_grad():
        for parameter in models[1].parameters():
            parameter.mul_(1.1)
    expected = torch.stack([model(x) for model in models])
    parameters, buffers = torch.func.stack_module_state(models)

    def forward(parameters: dict[str, Tensor], buffers: dict[str, Tensor]) -> Tensor:
        logits: Tensor = torch.func.functional_call(template, (parameters, buffers), (x,))
        return logits

    stacked = torch.vmap(forward, randomness="error")(parameters, buffers)
    torch.testing.assert_close(stacked, expected, rtol=1e-4, atol=1e-5)


@each_variant
def test_no_grad_changes_nothing(variant: str) -> None:
    model, x = shaken(variant).eval(), sample()
    expected = model(x)
    with torch.no_grad():
        torch.testing.assert_close(model(x), expected, rtol=1e-4, atol=1e-5)
