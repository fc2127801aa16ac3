"""Density adaptive attention against numbers that can be checked by hand."""

import math

import pytest
import torch
from torch import nn

from daam_bench.errors import ConfigError
from daam_bench.heads import (
    DensityAdaptiveAttention,
    MixtureOfDensities,
    MultiHeadDensityAdaptiveAttention,
    SelectedMixtureOfDensities,
    SoftmaxLayerWeights,
)
from daam_bench.heads.density import Exponent

VARIANCE = 1.0 + 1e-8 + 1e-5


@pytest.mark.parametrize(("exponent", "divisor"), [("2c", 2 * 2.0), ("2c2", 2 * 2.0**2)])
def test_two_layers_one_standard_deviation_away(exponent: str, divisor: float) -> None:
    x = torch.tensor([[[1.0], [3.0]]])  # mean 2, variance 1, z = -1 and 1
    attention = DensityAdaptiveAttention(1, exponent=exponent)  # type: ignore[arg-type]
    density = math.exp(-1.0 / VARIANCE / divisor)
    torch.testing.assert_close(attention.density(x), torch.full_like(x, density))
    torch.testing.assert_close(attention(x), x * density)


def test_offset_moves_the_peak() -> None:
    x = torch.tensor([[[1.0], [3.0]]])
    attention = DensityAdaptiveAttention(1)
    with torch.no_grad():
        attention.mean_offset.fill_(1.0)  # centre 3: z = -2 and 0
        attention.scaled_variance.fill_(0.5)
    expected = torch.tensor([[[math.exp(-4.0 / VARIANCE)], [1.0]]])
    torch.testing.assert_close(attention.density(x), expected)


def test_every_feature_has_its_own_parameters() -> None:
    x = torch.tensor([[[1.0, 10.0], [3.0, 30.0]]])
    attention = DensityAdaptiveAttention(2)
    with torch.no_grad():
        attention.scaled_variance.copy_(torch.tensor([0.5, 5.0]))
    expected = torch.tensor([math.exp(-1.0 / VARIANCE), math.exp(-100 / (100 + 1e-5) / 10)])
    torch.testing.assert_close(attention.density(x), expected.expand(1, 2, 2))


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_attends_over_any_axis(axis: int) -> None:
    x = torch.randn(3, 5, 7, dtype=torch.float64)
    mean = x.mean(axis, keepdim=True)
    variance = (x.square().mean(axis, keepdim=True) - mean.square()).abs() + 1e-8
    expected = torch.exp(-((x - mean) ** 2) / (variance + 1e-5) / 4)
    torch.testing.assert_close(DensityAdaptiveAttention(7, axis).double().density(x), expected)


@pytest.mark.parametrize("axis", [0, 1, 2, -2, -3, -4])
def test_heads_attend_over_any_axis_but_the_last(axis: int) -> None:
    x, mask = torch.randn(4, 6, 2, 7), torch.rand(4, 6, 2) < 0.8
    layers = x.shape[axis]
    attention = MultiHeadDensityAdaptiveAttention(layers, 7, 2, axis=axis)
    with torch.no_grad():
        attention.mean_offset.normal_()
        attention.scaled_variance.uniform_(0.5, 3.0)
    parts, mask_axis = [], axis if axis >= 0 else axis + 1
    for head, part in enumerate(x.chunk(2, dim=axis)):
        single = DensityAdaptiveAttention(7, axis)
        single.load_state_dict({name: value[head] for name, value in attention.state_dict().items()})
        parts.append(single(part, mask.chunk(2, dim=mask_axis)[head]))
    torch.testing.assert_close(attention(x, mask), torch.cat(parts, dim=axis))


def test_heads_share_the_features_each_with_its_own_parameters() -> None:
    x, mask = torch.randn(3, 5, 6), torch.rand(3, 5) < 0.7
    attention = MultiHeadDensityAdaptiveAttention(6, 6, 2, axis=-1)
    assert sum(p.numel() for p in attention.parameters()) == 2 * 6
    with torch.no_grad():
        attention.mean_offset.normal_()
        attention.scaled_variance.uniform_(0.5, 3.0)
    parts = []
    for head, part in enumerate(x.chunk(2, dim=-1)):
        single = DensityAdaptiveAttention(3, axis=-1)
        single.load_state_dict({name: value[head] for name, value in attention.state_dict().items()})
        parts.append(single(part, mask))
    torch.testing.assert_close(attention(x, mask), torch.cat(parts, dim=-1))


def test_the_last_axis_has_one_name() -> None:
    with pytest.raises(ConfigError, match=r"expected axis=-1.*found axis=2 of shape \(3, 6, 6\)"):
        MultiHeadDensityAdaptiveAttention(6, 6, axis=2)(torch.randn(3, 6, 6))
    with pytest.raises(ConfigError, match="as many positions as features"):
        MultiHeadDensityAdaptiveAttention(5, 6, axis=-1)


def test_a_huge_variance_lets_everything_through() -> None:
    attention = MultiHeadDensityAdaptiveAttention(6, 11)
    with torch.no_grad():
        attention.scaled_variance.fill_(1e9)
    x = torch.randn(5, 6, 11)
    torch.testing.assert_close(attention.density(x), torch.ones_like(x))
    torch.testing.assert_close(attention(x), x)


def test_heads_are_single_heads_on_contiguous_slices() -> None:
    heads, x = 3, torch.randn(5, 6, 11)
    attention = MultiHeadDensityAdaptiveAttention(6, 11, heads)
    with torch.no_grad():
        attention.mean_offset.normal_()
        attention.scaled_variance.uniform_(0.5, 3.0)
    parts = []
    for head, part in enumerate(x.chunk(heads, dim=1)):
        single = DensityAdaptiveAttention(11)
        single.load_state_dict({name: value[head] for name, value in attention.state_dict().items()})
        parts.append(single(part))
    torch.testing.assert_close(attention(x), torch.cat(parts, dim=1))


def test_initial_values_and_shapes() -> None:
    attention = MultiHeadDensityAdaptiveAttention(24, 13)
    assert attention.mean_offset.shape == attention.scaled_variance.shape == (8, 13)
    assert attention.mean_offset.eq(0).all() and attention.scaled_variance.eq(2).all()


def test_padding_changes_nothing_at_real_positions_whatever_it_holds() -> None:
    attention = DensityAdaptiveAttention(3)
    short, padding = torch.randn(1, 4, 3), torch.full((1, 2, 3), float("nan"))
    mask = torch.tensor([[True] * 4 + [False] * 2])
    padded = torch.cat((short, padding), dim=1).requires_grad_()
    output = attention(padded, mask)
    torch.testing.assert_close(output[:, :4], attention(short))
    assert output[:, 4:].eq(0).all() and attention.density(padded, mask)[:, 4:].eq(0).all()
    output.sum().backward()
    assert padded.grad is not None and padded.grad.isfinite().all()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in attention.parameters())


def test_a_sample_of_padding_alone_gives_zeros() -> None:
    x = torch.randn(1, 3, 2, requires_grad=True)
    output = DensityAdaptiveAttention(2)(x, torch.zeros(1, 3, dtype=torch.bool))
    output.sum().backward()
    assert output.eq(0).all() and x.grad is not None and x.grad.eq(0).all()


@pytest.mark.parametrize("layers", [1, 7])
def test_a_constant_input_passes_unchanged(layers: int) -> None:
    x = torch.full((2, layers, 3), 1000.0, requires_grad=True)
    attention = MultiHeadDensityAdaptiveAttention(layers, 3)
    attention(x).sum().backward()
    torch.testing.assert_close(attention(x), x)
    assert x.grad is not None and x.grad.isfinite().all()


def test_far_from_zero_the_variance_does_not_cancel() -> None:
    x = torch.randn(2, 5, 3)
    x = torch.round(x * 64) / 64  # exact also after the shift
    attention = DensityAdaptiveAttention(3)
    torch.testing.assert_close(attention.density(x + 4096), attention.density(x), rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("exponent", ["2c", "2c2"])
@pytest.mark.parametrize("value", [0.0, 1e-30, -1e-3, -1.0])
def test_a_variance_carried_through_zero_stays_finite(exponent: Exponent, value: float) -> None:
    attention = MultiHeadDensityAdaptiveAttention(6, 5, exponent=exponent)
    with torch.no_grad():
        attention.scaled_variance.fill_(value)
    output = attention(torch.randn(2, 6, 5))
    output.sum().backward()
    assert output.isfinite().all()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in attention.parameters())


def test_a_free_variance_below_zero_turns_the_density_over_up_to_a_bound() -> None:
    x = torch.tensor([[[1.0], [3.0]]])
    attention = DensityAdaptiveAttention(1, sign="free")
    cases = ((-2.0, math.exp(1 / VARIANCE / 4)), (-0.0125, math.exp(40 / VARIANCE)), (-1e-30, math.exp(44)))
    for xi, expected in (*cases, (0.0, 0.0)):
        with torch.no_grad():
            attention.scaled_variance.fill_(xi)
        torch.testing.assert_close(attention.density(x), torch.full_like(x, expected), rtol=1e-4, atol=0)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float64])
@pytest.mark.parametrize("xi", [-3.0, -0.02, -1e-3, -1e-12, 0.0, 1e-30])
@pytest.mark.parametrize("spread", [0.0, 1.0, 1e4], ids=["constant", "usual", "large"])
def test_at_its_bound_a_free_density_has_finite_outputs_and_gradients(
    dtype: torch.dtype, xi: float, spread: float
) -> None:
    attention = MultiHeadDensityAdaptiveAttention(6, 5, sign="free").to(dtype)
    with torch.no_grad():
        attention.mean_offset.uniform_(-0.1, 0.1)  # a constant input is 30 standard deviations off
        attention.scaled_variance.fill_(xi)
    x = (3 + spread * torch.randn(2, 6, 5, generator=torch.Generator().manual_seed(0))).to(dtype)
    output = attention(x.requires_grad_())
    output.sum().backward()
    assert output.isfinite().all() and x.grad is not None and x.grad.isfinite().all()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in attention.parameters())


def test_statistics_are_single_precision_whatever_the_input() -> None:
    attention = DensityAdaptiveAttention(3)
    x = torch.randn(2, 7, 3).half()
    assert attention(x).dtype == torch.float16
    torch.testing.assert_close(attention.density(x), attention.density(x.float()).half())


@pytest.mark.parametrize(
    "attention",
    [
        DensityAdaptiveAttention(31),
        MultiHeadDensityAdaptiveAttention(6, 31),
        MixtureOfDensities(6, 31, heads=2),  # heads of two layers would have 0.5 everywhere, which is exact
        SelectedMixtureOfDensities(6, 31, heads=2),
        SoftmaxLayerWeights(6, 31),
    ],
    ids=lambda attention: type(attention).__name__,
)
def test_outputs_are_rounded_once(attention: nn.Module) -> None:
    x = torch.randn(5, 6, 31, generator=torch.Generator().manual_seed(0)).bfloat16()
    assert torch.equal(attention(x), attention(x.float()).bfloat16())


def test_gradients_are_those_of_finite_differences() -> None:
    attention = MultiHeadDensityAdaptiveAttention(4, 3).double()
    x = torch.randn(2, 4, 3, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(attention, (x,))


@pytest.mark.usefixtures("unchecked")
def test_unknown_exponent_is_refused_with_the_choices() -> None:
    with pytest.raises(ConfigError, match="2c, 2c2"):
        DensityAdaptiveAttention(3, exponent="c")  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="free, positive"):
        DensityAdaptiveAttention(3, sign="any")  # type: ignore[arg-type]
