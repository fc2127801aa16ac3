"""Mixture of densities (the paper's Algorithms 2 to 4; method.md section 3)."""

import math
from typing import Literal, get_args

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from daam_bench.errors import unknown_name
from daam_bench.heads.divisors import density_heads
from daam_bench.heads.inputs import check_at_least_one, check_input, widened

Normalisation = Literal["exact", "clamped"]

VARIANCE_EPSILON = 1e-8
SMALLEST_SUM = 1e-8
# c_k^2 is a divisor, and weight decay pulls c_k towards zero.
SMALLEST_SQUARED_SPREAD = 1e-12


class MixtureOfDensities(nn.Module):
    """Products of Gaussians over equal, contiguous slices of an axis, and a skip; 2 g K parameters.

    The paper's Algorithms 2 to 4. With mu and var the mean and unbiased variance of x over a head's slice,

        z_k = (x - (mu + m_k)) / sqrt(var + 1e-8)
        g_k = exp(-z_k^2 / (2 c_k^2)) / sqrt(2 pi c_k^2)
        DA  = prod_k g_k / S,   S = max(sum over the slice of prod_k g_k, 1e-8)
        y   = x * DA + x

    The offset m_k is `mean_offset`, the spread c_k is `spread`: two scalars per Gaussian. A product of
    Gaussians is a Gaussian: with a_k = 1 / (2 c_k^2), A = sum_k a_k and m = sum_k a_k m_k / A,

        sum_k a_k (u - m_k)^2 = A (u - m)^2 + sum_k a_k (m_k - m)^2

    so the product costs no more than one Gaussian; it is taken in logarithms, where nothing underflows. K
    changes how a density is parametrised, not (under "exact") which densities there are.

    Departures, all deliberate:

    - `normalisation="exact"`, the default and our own reading, leaves the bound 1e-8 on S out. Where the
      bound acts (an offset of many standard deviations, or many Gaussians, each of which contributes a factor
      of about 0.4) the published density fades away; the exact one still sums to one. `"clamped"` is the
      algorithm as published.
    - c_k^2 acts as 1e-12 where it is smaller, so that values and gradients stay finite.
    - A head of a single layer has variance 0 instead of 0 / 0.
    - Statistics, density and output are computed in float32 or wider, and rounded once.

    Args:
        layers: size N of the attended axis, the number of layers; with one head any length is accepted.
        features: number of features d, kept.
        heads: number of heads g, a divisor of N; None chooses (`density_heads`).
        gaussians: number of Gaussians K a head.
        normalisation: "exact": DA sums to one over a head's layers; "clamped": the sum it is divided by is at
            least 1e-8 (Algorithms 2 to 4, released scripts).
        axis: attended axis; -2 is the layer axis of [batch, layer, feature]; the last is allowed.

    Attributes:
        mean_offset: m [head, gaussian], in the units of x, initially 0.
        spread: c [head, gaussian], in units of the slice's standard deviation; initially exp of a standard
            normal draw (released scripts; the paper does not say).

    Raises:
        ConfigError: if `heads` does not divide `layers`, `gaussians` is below 1, the normalisation is neither
            of the two, or an input has another size.
    """

    def __init__(
        self,
        layers: int,
        features: int,
        heads: int | None = None,
        gaussians: int = 4,
        normalisation: Normalisation = "exact",
        axis: int = -2,
    ) -> None:
        super().__init__()
        if normalisation not in get_args(Normalisation):
            raise unknown_name("normalisation of the mixture", normalisation, get_args(Normalisation))
        check_at_least_one(gaussians=gaussians)
        self.heads = density_heads(layers, heads)
        self.layers, self.out_features, self.axis = layers, features, axis
        self.normalisation = normalisation
        self.mean_offset = nn.Parameter(torch.zeros(self.heads, gaussians))
        self.spread = nn.Parameter(torch.randn(self.heads, gaussians).exp())

    def density(
        self, x: Float[Tensor, "*shape feature"], mask: Bool[Tensor, "*shape"] | None = None
    ) -> Float[Tensor, "*shape feature"]:
        """Return DA, in [0, 1], and 0 at padded positions (`mask` False), which enter no statistic.

        Over the real positions of a head's slice it sums to one ("exact") or to at most one ("clamped").
        """
        return self._density(x, mask).to(x.dtype)

    def _density(self, x: Tensor, mask: Tensor | None) -> Tensor:
        attended = None if self.heads == 1 else self.layers
        check_input(self, x, mask, {self.axis: attended, -1: self.out_features})
        slices, real = cut(x, mask, self.axis, self.heads)
        logarithm, level = self._log_product(*standardised(slices, real))
        if real is not None:
            logarithm = logarithm.masked_fill(~real, torch.finfo(logarithm.dtype).min)
        density = torch.softmax(logarithm, -1)
        if self.normalisation == "clamped":
            # exp(l - max(s, log 1e-8)) = softmax(l) exp(min(s - log 1e-8, 0)), s the logarithm of the sum.
            total = torch.logsumexp(logarithm, -1, keepdim=True) + level
            density = density * torch.exp((total - math.log(SMALLEST_SUM)).clamp_max(0.0))
        return stacked(density, real, self.axis)

    def _log_product(self, centred: Tensor, variance: Tensor) -> tuple[Tensor, Tensor]:
        """[..., head, layer of the slice] and [..., head, 1]: the sum over k of log g_k in two summands.

        The second is the same for a whole slice. Of a narrow slice it is larger than the first by far, and in
        one sum would leave nothing of what tells the layers apart.
        """
        offset, spread = self.mean_offset.to(centred.dtype), self.spread.to(centred.dtype)
        squared = spread.square().clamp_min(SMALLEST_SQUARED_SPREAD)
        weight = 0.5 / squared
        weights = weight.sum(-1, keepdim=True)
        centre = (weight * offset).sum(-1, keepdim=True) / weights
        rest = (weight * (offset - centre).square()).sum(-1, keepdim=True)
        constant = -0.5 * (2 * math.pi * squared).log().sum(-1, keepdim=True)
        # (c - m)^2 = m^2 - c (2 m - c)
        relative = weights * centred * (2 * centre - centred) / variance
        return relative, constant - (weights * centre.square() + rest) / variance

    def forward(
        self, x: Float[Tensor, "*shape feature"], mask: Bool[Tensor, "*shape"] | None = None
    ) -> Float[Tensor, "*shape feature"]:
        """Return x * DA + x, and 0 at padded positions (`mask` False)."""
        wide = widened(x)
        return let_through(wide, self._density(wide, mask), mask).to(x.dtype)

    def extra_repr(self) -> str:
        """Say what `print` shows between the brackets."""
        return (
            f"layers={self.layers}, features={self.out_features}, heads={self.heads}, "
            f"gaussians={self.spread.shape[1]}, normalisation={self.normalisation!r}, axis={self.axis}"
        )


def let_through(
    x: Float[Tensor, "*shape feature"],
    density: Float[Tensor, "*shape feature"],
    mask: Bool[Tensor, "*shape"] | None,
) -> Float[Tensor, "*shape feature"]:
    """Return x * DA + x, and 0 at padded positions."""
    output = x * density + x
    return output if mask is None else output.masked_fill(~mask.unsqueeze(-1), 0.0)


def cut(
    x: Float[Tensor, "*shape"], mask: Bool[Tensor, "*batch"] | None, axis: int, heads: int
) -> tuple[Float[Tensor, "*slices head slice"], Bool[Tensor, "*slices head slice"] | None]:
    """Move an axis to the end and cut it into heads; in float32 or wider. The mask lacks x's last axis."""
    wide = widened(x)
    real = None if mask is None else mask.unsqueeze(-1).expand_as(x)
    if real is not None:
        real = torch.unflatten(real.movedim(axis, -1), -1, (heads, -1))
    return torch.unflatten(wide.movedim(axis, -1), -1, (heads, -1)), real


def stacked(
    density: Float[Tensor, "*slices head slice"], real: Bool[Tensor, "*slices head slice"] | None, axis: int
) -> Float[Tensor, "*shape"]:
    """Undo `cut`, with 0 at padded positions."""
    density = density if real is None else density.masked_fill(~real, 0.0)
    return density.flatten(-2).movedim(-1, axis)


def standardised(
    slices: Float[Tensor, "*slices head slice"], real: Bool[Tensor, "*slices head slice"] | None
) -> tuple[Float[Tensor, "*slices head slice"], Float[Tensor, "*slices head 1"]]:
    """Return x - mu and var + 1e-8 (unbiased) over each slice's real positions."""
    if real is None:
        centred = slices - slices.mean(-1, keepdim=True)
        count = torch.full((), slices.shape[-1], dtype=slices.dtype, device=slices.device)
    else:
        count = real.sum(-1, keepdim=True).clamp_min(1)
        mean = slices.masked_fill(~real, 0.0).sum(-1, keepdim=True) / count
        centred = (slices - mean).masked_fill(~real, 0.0)
    return centred, centred.square().sum(-1, keepdim=True) / (count - 1).clamp_min(1) + VARIANCE_EPSILON
