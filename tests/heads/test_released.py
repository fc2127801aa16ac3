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


def batch_norm(x: Array, w: Weights) -> Array:
    """In training: each layer channel by its mean and biased variance over samples and features."""
    mean, variance = x.mean(axis=(0, 2), keepdims=True), x.var(axis=(0, 2), keepdims=True)
    return (x - mean) / np.sqrt(variance + 1e-5) * w["weight"][:, None] + w["bias"][:, None]


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


def released(variant: str, layers: int, **parameters: tuple[float, float]) -> tuple[nn.Module, Weights]:
    """A module of the released protocol with random weights, and these in float64."""
    torch.manual_seed(layers)
    module = build_attention(variant, layers, FEATURES, RELEASED)
    with torch.no_grad():
        for name, parameter in module.named_parameters():
            low, high = parameters.get(name.rsplit(".", 1)[-1], (-0.4, 0.4))
            parameter.uniform_(low, high)
    return module, {name: value.double().numpy() for name, value in module.state_dict().items()}


def sample(layers: int, scale: float = 1.0) -> tuple[torch.Tensor, Array]:
    x = scale * torch.randn(BATCH, layers, FEATURES, generator=torch.Generator().manual_seed(3))
    return x, x.double().numpy()


def below(weights: Weights, prefix: str) -> Weights:
    return {name.removeprefix(prefix): value for name, value in weights.items() if name.startswith(prefix)}


def agree(found: torch.Tensor, expected: list[Array] | Array, tolerance: float = 2e-5) -> None:
    np.testing.assert_allclose(found.detach().numpy(), np.asarray(expected), rtol=tolerance, atol=tolerance)


layer_counts = pytest.mark.parametrize("layers", [6, 7, 12, 13, 24, 40])


@layer_counts
@pytest.mark.parametrize("variant", ["daam_v1", "daam_v2"])
@pytest.mark.parametrize("xi", [(0.3, 4.0), (1e-4, 5e-4), (-3.0, -1.0)], ids=["usual", "tiny", "negative"])
def test_daam(variant: str, layers: int, xi: tuple[float, float]) -> None:
    module, w = released(variant, layers, scaled_variance=xi, mean_offset=(-0.05, 0.05))
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
def test_mixture(layers: int, offset: tuple[float, float]) -> None:
    module, w = released("mixture", layers, mean_offset=offset, spread=(0.6, 2.5))
    x, plain = sample(layers, scale=2.0)
    density = np.array([mixture(s, w["mean_offset"], w["spread"]) for s in plain])
    sums = density.reshape(BATCH, len(w["spread"]), -1, FEATURES).sum(axis=2)
    assert np.median(sums) > 0.99 if offset[0] < 0 else np.median(sums) < 0.5  # the clamp at 1e-8 acts
    agree(module.density(x), density)  # type: ignore[operator]
    agree(module(x), plain * density + plain)


@layer_counts
@pytest.mark.parametrize("variant", ["mha", "mha_bn", "lora_r4"])
def test_attention_over_the_batch(variant: str, layers: int) -> None:
    module, w = released(variant, layers)
    x, plain = sample(layers)
    weights = below(w, "attention.")
    if variant == "lora_r4":
        update = below(weights, "parametrizations.in_proj_weight.")
        weights["in_proj_weight"] = update["original"].copy()
        for row, part in ((0, "query"), (FEATURES, "key")):
            change = 16 / 4 * update[f"0.{part}_b"] @ update[f"0.{part}_a"]
            weights["in_proj_weight"][row : row + FEATURES] += change
    expected = attention_over_the_batch(plain, weights, heads=7)
    if variant == "mha_bn":
        expected = batch_norm(expected, below(w, "norm."))
    agree(module(x), expected, 1e-4 if variant == "mha_bn" else 2e-5)
    if variant != "mha_bn":  # in validation just so
        agree(module.eval()(x), expected)


@pytest.mark.parametrize("layers", [6, 13, 24])
def test_gqa(layers: int) -> None:
    module, w = released("gqa", layers)
    x, plain = sample(layers)
    agree(module(x), [grouped_queries(s, w) for s in plain], 1e-4)


@pytest.mark.parametrize("layers", [6, 13, 24])
def test_gqdaam(layers: int) -> None:
    module, w = released("gqdaam", layers, scaled_variance=(0.3, 4.0))
    x, plain = sample(layers)
    first = below(w, "density_attention.")
    expected = []
    for s in plain:
        density = multi_head_daam(s, first["mean_offset"], first["scaled_variance"])
        expected.append(grouped_queries(s * density, w))
    agree(module(x), expected, 1e-4)


def test_the_paper_squares_the_scaled_variance_whatever_its_sign() -> None:
    torch.manual_seed(0)
    module = build_attention("daam_v1", 6, FEATURES, Protocol.model_validate("paper"))
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.uniform_(-2.0, 2.0)
    w = {name: value.double().numpy() for name, value in module.state_dict().items()}
    x, plain = sample(6)
    expected = [multi_head_daam(s, w["mean_offset"], w["scaled_variance"], power=2) for s in plain]
    agree(module.density(x), expected, 1e-4)  # type: ignore[operator]


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


def test_decoder_behind_daam() -> None:
    torch.manual_seed(0)
    model = build_model("daam_v1", 6, 12, 5, RELEASED, decoder_channels=7)
    w = {name: value.double().numpy() for name, value in model.state_dict().items()}
    x = torch.randn(BATCH, 6, 12)
    expected = []
    for s in x.double().numpy():
        density = multi_head_daam(s, w["attention.mean_offset"], w["attention.scaled_variance"])
        image = (s * density).reshape(6, 3, 4)
        for index in (0, 2):
            part = f"decoder.convolutions.{index}"
            image = convolution(image, w[f"{part}.weight"], w[f"{part}.bias"])
        expected.append(w["decoder.classifier.weight"] @ image.ravel() + w["decoder.classifier.bias"])
    agree(model(x), expected)


def test_focal_loss() -> None:
    logits = 4 * torch.randn(17, 5, generator=torch.Generator().manual_seed(0))
    labels = torch.arange(17) % 5
    terms = []
    for row, label in zip(logits.double().numpy(), labels.tolist(), strict=True):
        p = softmax(row)[label]
        terms.append(0.25 * (1 - p + 1e-6) ** 2.5 * -math.log(p))
    assert float(focal_loss(logits, labels)) == pytest.approx(sum(terms) / 17, rel=1e-5)
