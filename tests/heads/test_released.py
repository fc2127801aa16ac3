"""Protocol `released` against the released scripts' mathematics, transcribed step by step in float64.

Nothing here shares code with the package: numpy, loops over samples, heads and layers, one line per formula.
"""

import math

import numpy as np
import numpy.typing as npt
import pytest
import torch
from torch import nn

from daam_bench.config import Protocol
from daam_bench.heads import build_attention, build_model
from daam_bench.training.losses import focal_loss

Array = npt.NDArray[np.float64]
Weights = dict[str, Array]
RELEASED = Protocol.model_validate("released")
BATCH, FEATURES = 5, 14


def daam(x: Array, delta: Array, xi: Array, power: int = 1) -> Array:
    """DA of one head on [layer, feature]; the exponent holds xi^power."""
    mu = x.mean(axis=0)
    v = np.abs((x**2).mean(axis=0) - mu**2) + 1e-8
    z = (x - (mu + delta)) / np.sqrt(v + 1e-5)
    return np.exp(-(z**2) / (2 * xi**power))


def multi_head_daam(x: Array, delta: Array, xi: Array, power: int = 1) -> Array:
    """DA of g heads on [layer, feature], each on its own block of layers."""
    size = len(x) // len(delta)
    blocks = [daam(x[h * size : (h + 1) * size], delta[h], xi[h], power) for h in range(len(delta))]
    return np.concatenate(blocks)


def mixture(x: Array, offsets: Array, spreads: Array) -> Array:
    """Algorithms 2 to 4 on [layer, feature]: DA of all heads."""
    size = len(x) // len(offsets)
    blocks = []
    for h in range(len(offsets)):
        block = x[h * size : (h + 1) * size]
        mu, variance = block.mean(axis=0), block.var(axis=0, ddof=1)
        product = np.ones_like(block)
        for m, c in zip(offsets[h], spreads[h], strict=True):
            z = (block - (mu + m)) / np.sqrt(variance + 1e-8)
            product = product * np.exp(-(z**2) / (2 * c**2)) / np.sqrt(2 * math.pi * c**2)
        blocks.append(product / np.maximum(product.sum(axis=0), 1e-8))
    return np.concatenate(blocks)


def softmax(logits: Array) -> Array:
    powers = np.exp(logits - logits.max(axis=-1, keepdims=True))
    return powers / powers.sum(axis=-1, keepdims=True)


def multi_head_attention(sequence: Array, w: Weights, heads: int) -> Array:
    """Self-attention along the first axis of [position, feature]."""
    d = sequence.shape[1]
    size = d // heads
    q, k, v = (
        sequence @ w["in_proj_weight"][i * d : (i + 1) * d].T + w["in_proj_bias"][i * d : (i + 1) * d]
        for i in range(3)
    )
    outputs = []
    for h in range(heads):
        part = slice(h * size, (h + 1) * size)
        outputs.append(softmax(q[:, part] @ k[:, part].T / math.sqrt(size)) @ v[:, part])
    return np.concatenate(outputs, axis=1) @ w["out_proj.weight"].T + w["out_proj.bias"]


def attention_over_the_batch(x: Array, w: Weights, heads: int) -> Array:
    """[batch, layer, feature] read as [sequence, batch, feature]: samples attend, layer by layer."""
    return np.stack([multi_head_attention(x[:, n], w, heads) for n in range(x.shape[1])], axis=1)


def batch_norm(x: Array, w: Weights, training: bool) -> Array:
    """Each layer channel by its mean and biased variance over samples and features, or by the running ones.

    These were 0 and 1 before the one batch of training, and have taken over a tenth of it since.
    """
    mean, variance = x.mean(axis=(0, 2)), x.var(axis=(0, 2))
    if not training:
        mean, variance = 0.1 * mean, 0.9 + 0.1 * x.var(axis=(0, 2), ddof=1)
    scale = w["weight"] / np.sqrt(variance + 1e-5)
    return (x - mean[:, None]) * scale[:, None] + w["bias"][:, None]


def grouped_queries(x: Array, w: Weights) -> Array:
    """Summed query heads, doubled scale, on [layer, feature]: 8 query heads, 2 key/value heads of size 64."""
    x = x @ w["projection.weight"].T + w["projection.bias"]
    q, k, v = (
        x @ w[f"attention.{name}.weight"].T + w[f"attention.{name}.bias"]
        for name in ("query", "key", "value")
    )
    joined = []
    for h in range(2):
        shared = slice(64 * h, 64 * (h + 1))
        logits = np.zeros((len(x), len(x)))
        for i in range(4 * h, 4 * (h + 1)):
            logits += (q[:, 64 * i : 64 * (i + 1)] / math.sqrt(64)) @ k[:, shared].T
        joined.append(softmax(logits / math.sqrt(64)) @ v[:, shared])
    y = np.concatenate(joined, axis=1)
    y = (y - y.mean(axis=1, keepdims=True)) / np.sqrt(y.var(axis=1, keepdims=True) + 1e-5)
    y = y * w["attention.norm.weight"] + w["attention.norm.bias"]
    return y @ w["attention.output.weight"].T + w["attention.output.bias"]


def released(
    variant: str, layers: int, features: int = FEATURES, **parameters: tuple[float, float]
) -> tuple[nn.Module, Weights]:
    """A module of the released protocol with random weights, and these in float64."""
    torch.manual_seed(layers)
    module = build_attention(variant, layers, features, RELEASED)
    with torch.no_grad():
        for name, parameter in module.named_parameters():
            low, high = parameters.get(name.rsplit(".", 1)[-1], (-0.4, 0.4))
            parameter.uniform_(low, high)
    return module, {name: value.double().numpy() for name, value in module.state_dict().items()}


def sample(layers: int, scale: float = 1.0, features: int = FEATURES) -> tuple[torch.Tensor, Array]:
    x = scale * torch.randn(BATCH, layers, features, generator=torch.Generator().manual_seed(3))
    return x, x.double().numpy()


def below(weights: Weights, prefix: str) -> Weights:
    return {name.removeprefix(prefix): value for name, value in weights.items() if name.startswith(prefix)}


def assert_agree(found: torch.Tensor, expected: list[Array] | Array, tolerance: float = 1e-5) -> None:
    """Every value within a hundred-thousandth of the largest: in float32 sums lose against their terms."""
    wanted = np.asarray(expected)
    assert found.dtype == torch.float32
    allowed = tolerance * np.abs(wanted).max()
    np.testing.assert_allclose(found.detach().numpy(), wanted, rtol=0, atol=allowed)


modes = pytest.mark.parametrize("training", [True, False], ids=["training", "evaluation"])
HEADS = {6: 3, 7: 1, 12: 6, 13: 1, 24: 8, 40: 8}
layer_counts = pytest.mark.parametrize("layers", list(HEADS))


@layer_counts
@pytest.mark.parametrize("variant", ["daam_v1", "daam_v2"])
@pytest.mark.parametrize("xi", [(0.3, 4.0), (1e-4, 5e-4), (-3.0, -1.0)], ids=["usual", "tiny", "negative"])
@modes
def test_daam(variant: str, layers: int, xi: tuple[float, float], training: bool) -> None:
    module, w = released(variant, layers, scaled_variance=xi, mean_offset=(-0.05, 0.05))
    assert len(w["mean_offset"]) == (HEADS[layers] if variant == "daam_v1" else 1)
    module.train(training)
    x, plain = sample(layers)
    density = np.array([multi_head_daam(s, w["mean_offset"], w["scaled_variance"]) for s in plain])
    assert (density.max() > 1) == (xi[0] < 0)
    # A large exponent, or one near a steep peak, has lost digits before it is exponentiated, in any float32.
    tolerance = (1e-4 if xi[1] < 1e-3 else 1e-5) * (1 + np.abs(np.log(np.maximum(density, 1e-38)))) * np.abs(
        density
    ) + 1e-30
    assert (np.abs(module.density(x).detach().numpy() - density) <= tolerance).all()  # type: ignore[operator]
    assert (np.abs(module(x).detach().numpy() - plain * density) <= 2 * tolerance * np.abs(plain)).all()


@layer_counts
@pytest.mark.parametrize("offset", [(-0.4, 0.4), (19.0, 21.0)], ids=["near", "far"])
@modes
def test_mixture(layers: int, offset: tuple[float, float], training: bool) -> None:
    module, w = released("mixture", layers, mean_offset=offset, spread=(0.6, 2.5))
    module.train(training)
    x, plain = sample(layers, scale=2.0)
    density = np.array([mixture(s, w["mean_offset"], w["spread"]) for s in plain])
    sums = density.reshape(BATCH, len(w["spread"]), -1, FEATURES).sum(axis=2)
    assert np.median(sums) > 0.99 if offset[0] < 0 else np.median(sums) < 0.5  # the clamp at 1e-8 acts
    assert_agree(module.density(x), density)  # type: ignore[operator]
    assert_agree(module(x), plain * density + plain)


@layer_counts
@pytest.mark.parametrize("variant", ["mha", "mha_bn", "lora_r4"])
@pytest.mark.parametrize(("features", "heads"), [(14, 7), (16, 8)])
def test_attention_over_the_batch(variant: str, layers: int, features: int, heads: int) -> None:
    module, w = released(variant, layers, features)
    x, plain = sample(layers, features=features)
    weights = below(w, "attention.")
    if variant == "lora_r4":
        update = below(weights, "parametrizations.in_proj_weight.")
        weights["in_proj_weight"] = update["original"].copy()
        for row, part in ((0, "query"), (features, "key")):
            change = 16 / 4 * update[f"0.{part}_b"] @ update[f"0.{part}_a"]
            weights["in_proj_weight"][row : row + features] += change
    attended = attention_over_the_batch(plain, weights, heads)
    for training in (True, False):  # in this order: validation normalises by what training has seen
        bn = below(w, "norm.")
        expected = batch_norm(attended, bn, training) if variant == "mha_bn" else attended
        assert_agree(module.train(training)(x), expected)


@pytest.mark.parametrize("layers", [6, 13, 24])
@modes
def test_gqa(layers: int, training: bool) -> None:
    module, w = released("gqa", layers)
    x, plain = sample(layers)
    assert_agree(module.train(training)(x), [grouped_queries(s, w) for s in plain])


def gqdaam(x: Array, w: Weights) -> Array:
    first = below(w, "density_attention.")
    return grouped_queries(x * multi_head_daam(x, first["mean_offset"], first["scaled_variance"]), w)


@pytest.mark.parametrize("layers", [6, 13, 24])
@modes
def test_gqdaam(layers: int, training: bool) -> None:
    module, w = released("gqdaam", layers, scaled_variance=(0.3, 4.0))
    x, plain = sample(layers)
    assert_agree(module.train(training)(x), [gqdaam(s, w) for s in plain])


def test_the_paper_squares_the_scaled_variance_whatever_its_sign() -> None:
    torch.manual_seed(0)
    module = build_attention("daam_v1", 6, FEATURES, Protocol.model_validate("paper"))
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.uniform_(-2.0, 2.0)
    w = {name: value.double().numpy() for name, value in module.state_dict().items()}
    x, plain = sample(6)
    expected = [multi_head_daam(s, w["mean_offset"], w["scaled_variance"], power=2) for s in plain]
    assert_agree(module.density(x), expected, 1e-4)  # type: ignore[operator]


def convolution(image: Array, kernel: Array, bias: Array) -> Array:
    """3x3, stride 1, one ring of zeros, then ReLU; image [channel, height, width]."""
    _, height, width = image.shape
    padded = np.pad(image, ((0, 0), (1, 1), (1, 1)))
    output = np.tile(bias[:, None, None], (1, height, width))
    for row in range(3):
        for column in range(3):
            shifted = padded[:, row : row + height, column : column + width]
            output += np.einsum("oc,chw->ohw", kernel[:, :, row, column], shifted)
    return np.maximum(output, 0)


def decoder(x: Array, w: Weights, height: int) -> Array:
    """Logits of [layer, feature], the features on a grid of so many rows."""
    image = x.reshape(len(x), height, -1)
    for index in (0, 2):
        part = f"decoder.convolutions.{index}"
        image = convolution(image, w[f"{part}.weight"], w[f"{part}.bias"])
    return w["decoder.classifier.weight"] @ image.ravel() + w["decoder.classifier.bias"]


@pytest.mark.parametrize(
    ("variant", "features", "height"), [("daam_v1", 12, 3), ("mixture", 20, 4), ("gqdaam", 12, 16)]
)
@modes
def test_the_whole_classifier(variant: str, features: int, height: int, training: bool) -> None:
    torch.manual_seed(0)
    model = build_model(variant, 6, features, 5, RELEASED, decoder_channels=7).train(training)
    w = {name: value.double().numpy() for name, value in model.state_dict().items()}
    attention = below(w, "attention.")
    x, plain = sample(6, features=features)
    expected = []
    for s in plain:
        if variant == "gqdaam":
            attended = gqdaam(s, attention)
        elif variant == "mixture":
            attended = s * mixture(s, attention["mean_offset"], attention["spread"]) + s
        else:
            attended = s * multi_head_daam(s, attention["mean_offset"], attention["scaled_variance"])
        expected.append(decoder(attended, w, height))
    assert_agree(model(x), expected)


@pytest.mark.parametrize("scale", [0.0, 4.0, 30.0], ids=["even", "usual", "sure"])
@pytest.mark.parametrize(("gamma", "alpha"), [(2.5, 0.25), (2.0, 1.0)])
def test_focal_loss(scale: float, gamma: float, alpha: float) -> None:
    logits = scale * torch.randn(17, 5, generator=torch.Generator().manual_seed(0))
    labels = torch.arange(17) % 5
    terms = []
    for row, label in zip(logits.double().numpy(), labels.tolist(), strict=True):
        p = softmax(row)[label]
        terms.append(alpha * (1 - p + 1e-6) ** gamma * -math.log(p))
    published = {} if gamma == 2.5 else {"gamma": gamma, "alpha": alpha}
    found = focal_loss(logits.requires_grad_(), labels, **published)
    assert found.item() == pytest.approx(sum(terms) / 17, rel=1e-5)
    found.backward()
    assert logits.grad is not None and logits.grad.isfinite().all()
