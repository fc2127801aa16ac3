"""Mixture of densities (the paper's Algorithms 2 to 4; method.md section 3).

With mu and var the mean and unbiased variance of x over a head's slice of layers,

    z_k = (x - (mu + m_k)) / sqrt(var + 1e-8)
    g_k = exp(-z_k^2 / (2 c_k^2)) / sqrt(2 pi c_k^2)
    DA  = prod_k g_k / sum over the slice of prod_k g_k
    y   = x * DA + x

m_k is `mean_offset`, c_k is `spread`: two scalars per Gaussian.
"""

import torch
from jaxtyping import Float
from torch import Tensor, nn

from daam_bench.heads.divisors import density_heads

VARIANCE_EPSILON = 1e-8
# c_k^2 is a divisor, and weight decay pulls c_k towards zero.
SMALLEST_SQUARED_SPREAD = 1e-6


class MixtureOfDensities(nn.Module):
    """Products of Gaussians over equal, contiguous slices of the layer axis, with a skip connection.

    The product over k and its normalisation are one softmax of summed exponents: nothing underflows, and
    1 / sqrt(2 pi c_k^2), equal at every layer of a slice, cancels. The algorithm clamps the sum at 1e-8;
    where that clamp bites (an offset of many standard deviations, or many Gaussians) its density vanishes,
    whereas this one still sums to one.

    Args:
        layers: number of layers N.
        features: number of features d, kept.
        heads: number of heads, a divisor of N; None chooses (`density_heads`).
        gaussians: number of Gaussians K a head.

    Attributes:
        mean_offset: m [head, gaussian], initially 0.
        spread: c [head, gaussian], in units of the slice's standard deviation; initially exp of a standard
            normal draw (released scripts; the paper does not say).

    Raises:
        ConfigError: if `heads` does not divide `layers`.
    """

    def __init__(self, layers: int, features: int, heads: int | None = None, gaussians: int = 4) -> None:
        super().__init__()
        self.heads = density_heads(layers, heads)
        self.out_features = features
        self.mean_offset = nn.Parameter(torch.zeros(self.heads, gaussians))
        self.spread = nn.Parameter(torch.randn(self.heads, gaussians).exp())

    def density(self, x: Float[Tensor, "batch layer feature"]) -> Float[Tensor, "batch layer feature"]:
        """Return DA, in [0, 1]; for each feature it sums to one over the layers of a head."""
        wide = x.to(torch.promote_types(x.dtype, torch.float32))
        slices = torch.unflatten(wide, 1, (self.heads, -1))
        centred = slices - slices.mean(2, keepdim=True)
        # Unbiased; a head of a single layer has variance 0 instead of 0 / 0.
        variance = centred.square().sum(2, keepdim=True) / max(slices.shape[2] - 1, 1)
        scale = (variance + VARIANCE_EPSILON).sqrt()
        # [head, gaussian] -> [head, layer of the slice, feature, gaussian]
        offset, spread = (p.to(slices.dtype)[:, None, None, :] for p in (self.mean_offset, self.spread))
        z = (centred.unsqueeze(-1) - offset) / scale.unsqueeze(-1)
        squared_spread = spread.square().clamp_min(SMALLEST_SQUARED_SPREAD)
        log_product = -(z.square() / (2 * squared_spread)).sum(-1)
        return torch.softmax(log_product, 2).flatten(1, 2).to(x.dtype)

    def forward(self, x: Float[Tensor, "batch layer feature"]) -> Float[Tensor, "batch layer feature"]:
        """Return x * DA + x."""
        return x * self.density(x) + x

    def extra_repr(self) -> str:
        """Say what `print` shows between the brackets."""
        return f"heads={self.heads}, gaussians={self.spread.shape[1]}"
