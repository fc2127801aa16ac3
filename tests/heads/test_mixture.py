"""Mixture of densities."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from daam_bench.errors import ConfigError
from daam_bench.heads import MixtureOfDensities
from daam_bench.heads.mixture import Normalisation


def literal(mixture: MixtureOfDensities, x: Tensor) -> Tensor:
    """Algorithms 2 to 4 as written: a product of densities, normalised."""
    parts = []
    for head, part in enumerate(x.chunk(mixture.heads, dim=1)):
        product = torch.ones_like(part)
        for m, c in zip(mixture.mean_offset[head], mixture.spread[head], strict=True):
            z = (part - (part.mean(1, keepdim=True) + m)) / (part.var(1, keepdim=True) + 1e-8).sqrt()
            product = product * torch.exp(-(z**2) / (2 * c**2)) / torch.sqrt(2 * math.pi * c**2)
        parts.append(product / product.sum(1, keepdim=True).clamp_min(1e-8))
    return torch.cat(parts, dim=1)


def shaken(
    layers: int,
    features: int,
    heads: int,
    gaussians: int = 4,
    normalisation: Normalisation = "exact",
    axis: int = -2,
) -> MixtureOfDensities:
    torch.manual_seed(0)
    mixture = MixtureOfDensities(layers, features, heads, gaussians, normalisation, axis)
    with torch.no_grad():
        mixture.mean_offset.normal_(std=0.3)
        mixture.spread.uniform_(0.7, 2.0)
    return mixture


@pytest.mark.parametrize("normalisation", ["exact", "clamped"])
def test_equals_the_algorithm_as_written(normalisation: Normalisation) -> None:
    # Offsets are small against the spread of x, so that the sum is far above the algorithm's clamp.
    mixture = shaken(6, 11, 2, normalisation=normalisation).double()
    x = 50 * torch.randn(5, 6, 11, dtype=torch.float64)
    torch.testing.assert_close(mixture.density(x), literal(mixture, x))
    torch.testing.assert_close(mixture(x), x * literal(mixture, x) + x)


@pytest.mark.parametrize("normalisation", ["exact", "clamped"])
@pytest.mark.parametrize(("offset", "narrow"), [(0.1, 1e-2), (0.1, 1e-3), (1.0, 1e-4)])
def test_single_precision_suffices_for_slices_far_narrower_than_the_offsets(
    normalisation: Normalisation, offset: float, narrow: float
) -> None:
    mixture = shaken(24, 13, 8, normalisation=normalisation)
    with torch.no_grad():
        mixture.mean_offset.fill_(offset)
    x = narrow * torch.randn(7, 24, 13, dtype=torch.float64)
    found = mixture.density(x.float()).double()
    torch.testing.assert_close(found, mixture.double().density(x.float().double()), rtol=0, atol=5e-4)


@given(
    gaussians=st.integers(1, 7),
    scale=st.sampled_from([0.1, 1.0, 30.0]),
    offset=st.floats(-3, 3),
    seed=st.integers(0, 2**16),
)
def test_clamped_equals_the_algorithm_where_the_clamp_acts_and_where_it_does_not(
    gaussians: int, scale: float, offset: float, seed: int
) -> None:
    mixture = shaken(6, 5, 2, gaussians, "clamped").double()
    with torch.no_grad():
        mixture.mean_offset.add_(offset)
    x = scale * torch.randn(3, 6, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))
    torch.testing.assert_close(mixture.density(x), literal(mixture, x), rtol=1e-6, atol=1e-12)


@pytest.mark.parametrize("axis", [0, 1, 2, 3, -1, -2, -4])
def test_attends_over_any_axis_with_any_mask(axis: int) -> None:
    shape = [2, 6, 3, 4]
    length = shape[axis]
    x = torch.randn(shape)
    swapped = x.transpose(axis, 2).flatten(0, 1)
    mixture, reference = shaken(length, 4, 1, axis=axis), shaken(length, swapped.shape[-1], 1)
    expected = reference.density(swapped).unflatten(0, (-1, x.transpose(axis, 2).shape[1])).transpose(axis, 2)
    torch.testing.assert_close(mixture.density(x), expected)
    mask = torch.rand(shape[:-1]) < 0.7
    density = mixture.density(x, mask)
    real = mask.unsqueeze(-1).expand_as(x)
    assert density[~real].eq(0).all()
    torch.testing.assert_close(density.sum(axis), real.any(axis).to(density.dtype))


@pytest.mark.parametrize("normalisation", ["exact", "clamped"])
def test_padding_counts_as_if_it_were_not_there(normalisation: Normalisation) -> None:
    mixture, x = shaken(7, 3, 1, normalisation=normalisation), torch.randn(2, 7, 3)
    mask = (torch.arange(7) < 4).expand(2, -1)
    torch.testing.assert_close(mixture(x, mask)[:, :4], mixture(x[:, :4]))


def test_clamped_density_of_sixty_four_gaussians_is_what_double_precision_gives() -> None:
    mixture, x = shaken(5, 3, 1, 64, "clamped"), 10 * torch.randn(2, 5, 3)
    expected = literal(mixture.double(), x.double())
    assert 0 < expected.max() < 1e-6
    found = mixture.float().density(x)
    torch.testing.assert_close(found.double(), expected, rtol=1e-3, atol=1e-36)


@pytest.mark.usefixtures("unchecked")
def test_unknown_normalisation_is_refused_with_the_choices() -> None:
    with pytest.raises(ConfigError, match="clamped, exact"):
        MixtureOfDensities(6, 3, normalisation="none")  # type: ignore[arg-type]


def test_three_layers_by_hand() -> None:
    mixture = MixtureOfDensities(3, 1, heads=1, gaussians=2)
    with torch.no_grad():
        mixture.spread.copy_(torch.tensor([[1.0, 0.5]]))
    # z = -1, 0, 1 (unbiased variance 1); the exponents add up to -1/2 - 2 = -2.5 at the ends.
    end = math.exp(-2.5)
    expected = torch.tensor([[[end], [1.0], [end]]]) / (1 + 2 * end)
    torch.testing.assert_close(mixture.density(torch.tensor([[[4.0], [5.0], [6.0]]])), expected)


def test_sums_to_one_over_the_layers_of_a_head() -> None:
    density = shaken(12, 7, 3).density(torch.randn(5, 12, 7))
    torch.testing.assert_close(torch.unflatten(density, 1, (3, 4)).sum(2), torch.ones(5, 3, 7))


def test_sixty_four_gaussians_do_not_underflow() -> None:
    mixture, x = shaken(5, 3, 1, gaussians=64), torch.randn(2, 5, 3)
    with torch.no_grad():
        mixture.mean_offset.fill_(40.0)
        mixture.spread.fill_(0.5)
    density = mixture.density(x)
    torch.testing.assert_close(density.sum(1), torch.ones(2, 3))
    torch.autograd.backward(density.square().sum())
    assert all(p.grad is not None and p.grad.isfinite().all() for p in mixture.parameters())
    assert literal(mixture, x).eq(0).all()  # what it would be without logarithms


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_constant_input_is_shared_equally_with_finite_gradients(dtype: torch.dtype) -> None:
    mixture = shaken(5, 3, 1).to(dtype)
    x = torch.full((2, 5, 3), 7.0, dtype=dtype, requires_grad=True)
    density = mixture.density(x)
    torch.testing.assert_close(density, torch.full_like(x, 0.2))
    mixture(x).sum().backward()
    assert x.grad is not None and x.grad.isfinite().all()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in mixture.parameters())


def test_a_single_layer_has_all_the_density() -> None:
    mixture, x = shaken(1, 3, 1), torch.randn(2, 1, 3)
    torch.testing.assert_close(mixture.density(x), torch.ones_like(x))
    torch.testing.assert_close(mixture(x), 2 * x)


def test_a_spread_of_zero_stays_finite() -> None:
    mixture = shaken(6, 3, 2)
    with torch.no_grad():
        mixture.spread.zero_()
    output = mixture(torch.randn(2, 6, 3))
    output.sum().backward()
    assert output.isfinite().all()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in mixture.parameters())


def test_initial_values() -> None:
    torch.manual_seed(0)
    mixture = MixtureOfDensities(24, 13, gaussians=1009)
    logarithm = mixture.spread.detach().log()
    assert mixture.mean_offset.shape == (8, 1009) and mixture.mean_offset.eq(0).all()
    assert abs(float(logarithm.mean())) < 0.05 and abs(float(logarithm.std()) - 1) < 0.05
