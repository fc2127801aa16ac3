"""Density adaptive attention (the paper's Algorithm 1; method.md section 3).

With mu and v the mean and variance of x over the attended axis,

    z  = (x - (mu + delta)) / sqrt(v + 1e-5)
    DA = exp(-z^2 / (2 xi))          D1 "2c"  (Algorithm 1, released scripts)
    DA = exp(-z^2 / (2 xi^2))        D1 "2c2" (the paper's text)
    y  = x * DA

delta is `mean_offset`, xi (the paper's c) is `scaled_variance`, both learnt per feature.
"""

from typing import Literal, get_args

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from daam_bench.errors import unknown_name
from daam_bench.heads.divisors import density_heads

Exponent = Literal["2c", "2c2"]

VARIANCE_FLOOR = 1e-8
VARIANCE_EPSILON = 1e-5
INITIAL_SCALED_VARIANCE = 2.0
# Weight decay pulls xi towards zero, where the density is undefined and beyond which it explodes.
SMALLEST_SCALED_VARIANCE = 1e-3


def gaussian_density(
    x: Float[Tensor, "*shape feature"],
    mean_offset: Float[Tensor, "*parameter feature"],
    scaled_variance: Float[Tensor, "*parameter feature"],
    axis: int,
    exponent: Exponent,
    *,
    mask: Bool[Tensor, "*shape"] | None = None,
) -> Float[Tensor, "*shape feature"]:
    """Return DA, in (0, 1] (0 where masked), in float32 or wider whatever the precision of x.

    Args:
        x: values; mean and variance are taken over `axis`.
        mean_offset: delta, broadcast against x.
        scaled_variance: xi, broadcast against x; values below 1e-3 act as 1e-3.
        axis: attended axis of x.
        exponent: "2c" or "2c2" (D1).
        mask: True at real positions, False at padding; padding enters neither mean nor variance.
    """
    x = x.to(torch.promote_types(x.dtype, torch.float32))
    if mask is None:
        real, count = None, torch.full((), x.shape[axis], dtype=x.dtype, device=x.device)
    else:
        real = mask.unsqueeze(-1).expand_as(x)
        count = real.sum(axis, keepdim=True).clamp_min(1).to(x.dtype)
    mean = _zero_padding(x, real).sum(axis, keepdim=True) / count
    centred = _zero_padding(x - mean, real)
    # Equals |mean of squares - mean^2|, without its cancellation for values far from zero.
    variance = centred.square().sum(axis, keepdim=True) / count + VARIANCE_FLOOR
    z = (centred - mean_offset) / (variance + VARIANCE_EPSILON).sqrt()
    xi = scaled_variance.to(x.dtype).clamp_min(SMALLEST_SCALED_VARIANCE)
    spread = xi if exponent == "2c" else xi.square()
    return _zero_padding(torch.exp(-z.square() / (2 * spread)), real)


class DensityAdaptiveAttention(nn.Module):
    """One head of density adaptive attention over any axis; 2 d parameters.

    Args:
        features: size d of the last axis of the input.
        axis: axis that mean and variance are taken over; -2 is the layer (or time) axis of
            [batch, layer, feature].
        exponent: "2c" or "2c2" (D1).

    Attributes:
        mean_offset: delta [feature], initially 0.
        scaled_variance: xi [feature], initially 2.

    Raises:
        ConfigError: if the exponent is neither of the two.
    """

    def __init__(self, features: int, axis: int = -2, exponent: Exponent = "2c") -> None:
        super().__init__()
        self.out_features, self.axis, self.exponent = features, axis, _known(exponent)
        self.mean_offset = nn.Parameter(torch.zeros(features))
        self.scaled_variance = nn.Parameter(torch.full((features,), INITIAL_SCALED_VARIANCE))

    def density(
        self, x: Float[Tensor, "*shape feature"], mask: Bool[Tensor, "*shape"] | None = None
    ) -> Float[Tensor, "*shape feature"]:
        """Return DA, in (0, 1], and 0 at padded positions (`mask` False)."""
        density = gaussian_density(
            x, self.mean_offset, self.scaled_variance, self.axis, self.exponent, mask=mask
        )
        return density.to(x.dtype)

    def forward(
        self, x: Float[Tensor, "*shape feature"], mask: Bool[Tensor, "*shape"] | None = None
    ) -> Float[Tensor, "*shape feature"]:
        """Return x * DA, and 0 at padded positions (`mask` False)."""
        weighted = x * self.density(x, mask)
        return weighted if mask is None else _zero_padding(weighted, mask.unsqueeze(-1))

    def extra_repr(self) -> str:
        """Say what `print` shows between the brackets."""
        return f"features={self.out_features}, axis={self.axis}, exponent={self.exponent!r}"


class MultiHeadDensityAdaptiveAttention(nn.Module):
    """Heads of density adaptive attention over equal, contiguous slices of the layer axis; 2 g d parameters.

    Args:
        layers: number of layers N.
        features: number of features d.
        heads: number of heads g, a divisor of N; None chooses (`density_heads`).
        exponent: "2c" or "2c2" (D1).

    Attributes:
        mean_offset: delta [head, feature], initially 0.
        scaled_variance: xi [head, feature], initially 2.

    Raises:
        ConfigError: if `heads` does not divide `layers`, or the exponent is neither of the two.
    """

    def __init__(
        self, layers: int, features: int, heads: int | None = None, exponent: Exponent = "2c"
    ) -> None:
        super().__init__()
        self.heads = density_heads(layers, heads)
        self.out_features, self.exponent = features, _known(exponent)
        self.mean_offset = nn.Parameter(torch.zeros(self.heads, features))
        self.scaled_variance = nn.Parameter(torch.full((self.heads, features), INITIAL_SCALED_VARIANCE))

    def density(self, x: Float[Tensor, "batch layer feature"]) -> Float[Tensor, "batch layer feature"]:
        """Return DA, in (0, 1]; each head's statistics are those of its own slice of layers."""
        density = gaussian_density(
            torch.unflatten(x, 1, (self.heads, -1)),
            self.mean_offset.unsqueeze(1),
            self.scaled_variance.unsqueeze(1),
            axis=-2,
            exponent=self.exponent,
        )
        return density.flatten(1, 2).to(x.dtype)

    def forward(self, x: Float[Tensor, "batch layer feature"]) -> Float[Tensor, "batch layer feature"]:
        """Return x * DA."""
        return x * self.density(x)

    def extra_repr(self) -> str:
        """Say what `print` shows between the brackets."""
        return f"heads={self.heads}, features={self.out_features}, exponent={self.exponent!r}"


def _known(exponent: Exponent) -> Exponent:
    if exponent not in get_args(Exponent):
        raise unknown_name("density exponent", exponent, get_args(Exponent))
    return exponent


def _zero_padding(x: Tensor, real: Tensor | None) -> Tensor:
    return x if real is None else x.masked_fill(~real, 0.0)
