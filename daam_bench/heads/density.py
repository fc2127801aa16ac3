"""Density adaptive attention (the paper's Algorithm 1; method.md section 3)."""

import math
from typing import Literal, get_args

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from daam_bench.errors import ConfigError, unknown_name
from daam_bench.heads.divisors import density_heads
from daam_bench.heads.inputs import check_input, widened

Exponent = Literal["2c", "2c2"]
Sign = Literal["positive", "free"]

VARIANCE_FLOOR = 1e-8
VARIANCE_EPSILON = 1e-5
INITIAL_SCALED_VARIANCE = 2.0
# Weight decay pulls xi towards zero. Below this bound 1 / xi^2 nears the largest float32.
SMALLEST_DIVISOR = 1e-12


def gaussian_density(
    x: Float[Tensor, "*shape feature"],
    mean_offset: Float[Tensor, "*parameter feature"],
    scaled_variance: Float[Tensor, "*parameter feature"],
    axis: int,
    exponent: Exponent = "2c",
    *,
    sign: Sign = "positive",
    mask: Bool[Tensor, "*shape"] | None = None,
) -> Float[Tensor, "*shape feature"]:
    """Return DA of Algorithm 1 in float32 or wider: in [0, 1], and above 1 only for a "free", negative xi.

    With mu and v the mean and variance of x over the attended axis,

        v  = |mean of squares - mu^2| + 1e-8
        z  = (x - (mu + delta)) / sqrt(v + 1e-5)
        DA = exp(-z^2 / (2 xi))          D1 "2c"  (Algorithm 1, released scripts)
        DA = exp(-z^2 / (2 xi^2))        D1 "2c2" (the paper's text)

    Departures, all deliberate:

    - v is computed as the mean of (x - mu)^2, the same number without its cancellation far from zero.
    - The divisor xi (or xi^2) acts as 1e-12 where it is smaller, so that values and gradients stay finite. DA
      is then 1 at the peak and 0 elsewhere, as it is in the limit.
    - Under "2c" a negative xi turns the density upside down: exp(z^2 / (2 |xi|)) > 1, growing without bound.
      `sign="positive"` (our own reading) lets a negative xi act as 1e-12; `sign="free"` (Algorithm 1 and the
      released scripts, which do not constrain xi) computes the formula as it stands, up to exp(44) in single
      precision: the square root of the largest number, so that x * DA and its gradients stay finite, too
      (bfloat16 has the same range; float16 ends at 65504). Under "2c2" the sign of xi has no effect.
    - Statistics and density are computed in float32 or wider whatever the precision of x.

    Args:
        x: values; mean and variance are taken over `axis`.
        mean_offset: delta, broadcast against x.
        scaled_variance: xi (the paper's c), broadcast against x.
        axis: attended axis of x.
        exponent: "2c" or "2c2" (D1).
        sign: what a negative xi does under "2c".
        mask: True at real positions, False at padding, where DA is 0; padding enters neither mean nor
            variance.
    """
    x = widened(x)
    if mask is None:
        real, count = None, torch.full((), x.shape[axis], dtype=x.dtype, device=x.device)
    else:
        real = mask.unsqueeze(-1).expand_as(x)
        count = real.sum(axis, keepdim=True).clamp_min(1).to(x.dtype)
    mean = _zero_padding(x, real).sum(axis, keepdim=True) / count
    centred = _zero_padding(x - mean, real)
    variance = centred.square().sum(axis, keepdim=True) / count + VARIANCE_FLOOR
    # The small tensors are divided, the large ones only multiplied: half of the time of a training step.
    z = (centred - mean_offset) * (variance + VARIANCE_EPSILON).rsqrt()
    logarithm = z.square() * (-0.5 / _divisor(scaled_variance.to(x.dtype), exponent, sign))
    if sign == "free" and exponent == "2c":
        logarithm = logarithm.clamp_max(math.floor(math.log(torch.finfo(x.dtype).max) / 2))
    return _zero_padding(torch.exp(logarithm), real)


def _divisor(xi: Tensor, exponent: Exponent, sign: Sign) -> Tensor:
    if exponent == "2c2":
        return xi.square().clamp_min(SMALLEST_DIVISOR)
    if sign == "positive":
        return xi.clamp_min(SMALLEST_DIVISOR)
    bound = torch.copysign(torch.full_like(xi, SMALLEST_DIVISOR), xi)
    return torch.where(xi.abs() < SMALLEST_DIVISOR, bound, xi)


class DensityAdaptiveAttention(nn.Module):
    """One head of density adaptive attention over any axis (the paper's Algorithm 1); 2 d parameters.

        y = x * DA,   DA = exp(-z^2 / (2 xi)),   z = (x - (mu + delta)) / sqrt(v + 1e-5)

    mu and v (+ 1e-8) are mean and variance of x over the axis; delta is `mean_offset`, xi (the paper's c) is
    `scaled_variance`. Departures: the default `sign="positive"` is not the published formula, which is
    `sign="free"`: it lets a negative xi act as 1e-12, so that DA stays in [0, 1]. |xi| acts as at least
    1e-12, and a free DA ends at exp(44), so that all stays finite. `gaussian_density` has the reasons.

    Args:
        features: size d of the last axis of the input.
        axis: axis that mean and variance are taken over; -2 is the layer (or time) axis of
            [batch, layer, feature]; the last axis is allowed. Its length is free.
        exponent: "2c", or "2c2" for xi^2 in place of xi (D1).
        sign: "positive" or "free": what a negative xi does under "2c".

    Attributes:
        mean_offset: delta [feature], initially 0.
        scaled_variance: xi [feature], initially 2.

    Raises:
        ConfigError: if the exponent or the sign is not one of those named, or an input has another size.
    """

    def __init__(
        self, features: int, axis: int = -2, exponent: Exponent = "2c", sign: Sign = "positive"
    ) -> None:
        super().__init__()
        self.out_features, self.axis = features, axis
        self.exponent, self.sign = _known(exponent, sign)
        self.mean_offset = nn.Parameter(torch.zeros(features))
        self.scaled_variance = nn.Parameter(torch.full((features,), INITIAL_SCALED_VARIANCE))

    def density(
        self, x: Float[Tensor, "*shape feature"], mask: Bool[Tensor, "*shape"] | None = None
    ) -> Float[Tensor, "*shape feature"]:
        """Return DA, and 0 at padded positions (`mask` False)."""
        return self._density(x, mask).to(x.dtype)

    def _density(self, x: Tensor, mask: Tensor | None) -> Tensor:
        check_input(self, x, mask, {-1: self.out_features, self.axis: None})
        return gaussian_density(
            x, self.mean_offset, self.scaled_variance, self.axis, self.exponent, sign=self.sign, mask=mask
        )

    def forward(
        self, x: Float[Tensor, "*shape feature"], mask: Bool[Tensor, "*shape"] | None = None
    ) -> Float[Tensor, "*shape feature"]:
        """Return x * DA, and 0 at padded positions (`mask` False)."""
        wide = widened(x)
        return _weighted(wide, self._density(wide, mask), mask).to(x.dtype)

    def extra_repr(self) -> str:
        """Say what `print` shows between the brackets."""
        return (
            f"features={self.out_features}, axis={self.axis}, exponent={self.exponent!r}, sign={self.sign!r}"
        )


class MultiHeadDensityAdaptiveAttention(nn.Module):
    """Heads of density adaptive attention over equal, contiguous slices of an axis; 2 g d parameters.

    For head i of g (the paper's multi-head DAAM; Algorithm 1 in each head), on positions
    i N / g ... (i + 1) N / g - 1 of the axis,

        y_i = x_i * DA_i,   DA_i = exp(-z_i^2 / (2 xi_i)),   z_i = (x_i - (mu_i + delta_i)) / sqrt(v_i + 1e-5)

    with mean mu_i and variance v_i (+ 1e-8) of its own slice; the outputs are stacked back. delta is
    `mean_offset`, xi (the paper's c) is `scaled_variance`. Departures: those of `DensityAdaptiveAttention`;
    the default `sign="positive"` is not the published formula, which is `sign="free"`.

    Args:
        layers: size N of the attended axis, the number of layers; with one head any length is accepted.
        features: size d of the last axis of the input.
        heads: number of heads g, a divisor of N; None chooses (`density_heads`).
        exponent: "2c", or "2c2" for xi^2 in place of xi (D1).
        axis: attended axis; -2 is the layer axis of [batch, layer, feature]. -1 shares the features among the
            heads (N = d): a head then has the parameters of its own features, 2 d in all.
        sign: "positive" or "free": what a negative xi does under "2c".

    Attributes:
        mean_offset: delta [head, feature], initially 0; [head, d / g] over the last axis.
        scaled_variance: xi, of the same shape, initially 2.

    Raises:
        ConfigError: if `heads` does not divide `layers`, the exponent or the sign is not one of those named,
            or an input has another size.
    """

    def __init__(
        self,
        layers: int,
        features: int,
        heads: int | None = None,
        exponent: Exponent = "2c",
        axis: int = -2,
        sign: Sign = "positive",
    ) -> None:
        super().__init__()
        if axis == -1 and layers != features:
            raise ConfigError(
                "over the last axis there are as many positions as features",
                where="layers",
                expected=features,
                found=layers,
            )
        self.heads = density_heads(layers, heads)
        self.layers, self.out_features, self.axis = layers, features, axis
        self.exponent, self.sign = _known(exponent, sign)
        shape = (self.heads, features // self.heads if axis == -1 else features)
        self.mean_offset = nn.Parameter(torch.zeros(shape))
        self.scaled_variance = nn.Parameter(torch.full(shape, INITIAL_SCALED_VARIANCE))

    def density(
        self, x: Float[Tensor, "*shape feature"], mask: Bool[Tensor, "*shape"] | None = None
    ) -> Float[Tensor, "*shape feature"]:
        """Return DA; each head's statistics are those of the real positions of its own slice.

        Slices are cut by position, padding included. `mask` is False at padded positions, where DA is 0.
        """
        return self._density(x, mask).to(x.dtype)

    def _density(self, x: Tensor, mask: Tensor | None) -> Tensor:
        attended = None if self.heads == 1 else self.layers
        check_input(self, x, mask, {self.axis: attended, -1: self.out_features})
        if self.axis == -1:
            slices = torch.unflatten(x, -1, (self.heads, -1))
            mask = None if mask is None else mask.unsqueeze(-1).expand(slices.shape[:-1])
            return self._of_slices(slices, mask, axis=-1).flatten(-2)
        axis = self.axis % x.ndim
        if axis == x.ndim - 1:
            raise ConfigError(
                "attends over the last axis of this input by another name",
                where=type(self).__name__,
                expected="axis=-1 for the last axis",
                found=f"axis={self.axis} of shape {tuple(x.shape)}",
            )
        slices = torch.unflatten(x.movedim(axis, -2), -2, (self.heads, -1))
        if mask is not None:
            mask = torch.unflatten(mask.movedim(axis, -1), -1, (self.heads, -1))
        return self._of_slices(slices, mask, axis=-2).flatten(-3, -2).movedim(-2, axis)

    def _of_slices(self, slices: Tensor, mask: Tensor | None, axis: int) -> Tensor:
        """Return DA of [..., head, layer of the slice, feature]; over axis -1 of [..., head, feature]."""
        parameters = self.mean_offset, self.scaled_variance
        offset, variance = parameters if axis == -1 else (p.unsqueeze(1) for p in parameters)
        return gaussian_density(slices, offset, variance, axis, self.exponent, sign=self.sign, mask=mask)

    def forward(
        self, x: Float[Tensor, "*shape feature"], mask: Bool[Tensor, "*shape"] | None = None
    ) -> Float[Tensor, "*shape feature"]:
        """Return x * DA, and 0 at padded positions (`mask` False)."""
        wide = widened(x)
        return _weighted(wide, self._density(wide, mask), mask).to(x.dtype)

    def extra_repr(self) -> str:
        """Say what `print` shows between the brackets."""
        return (
            f"layers={self.layers}, features={self.out_features}, heads={self.heads}, axis={self.axis}, "
            f"exponent={self.exponent!r}, sign={self.sign!r}"
        )


def _known(exponent: Exponent, sign: Sign) -> tuple[Exponent, Sign]:
    if exponent not in get_args(Exponent):
        raise unknown_name("density exponent", exponent, get_args(Exponent))
    if sign not in get_args(Sign):
        raise unknown_name("sign of the scaled variance", sign, get_args(Sign))
    return exponent, sign


def _weighted(x: Tensor, density: Tensor, mask: Tensor | None) -> Tensor:
    return _zero_padding(x * density, None if mask is None else mask.unsqueeze(-1))


def _zero_padding(x: Tensor, real: Tensor | None) -> Tensor:
    return x if real is None else x.masked_fill(~real, 0.0)
