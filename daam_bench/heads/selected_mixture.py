"""A mixture of densities that learns how many Gaussians, and how many heads, it needs."""

import math

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from daam_bench.heads.divisors import density_heads
from daam_bench.heads.inputs import check_at_least_one, check_input, widened
from daam_bench.heads.mixture import SMALLEST_SQUARED_SPREAD, cut, let_through, stacked, standardised

PARAMETERS_PER_GAUSSIAN = 3
# An optimiser of Adam's kind moves s by about the learning rate: a tenth is some fifty steps at 1e-3.
GATE_SCALE = 0.1
CLOSED_BELOW = 0.1
INITIAL_GATE = 0.5


class SelectedMixtureOfDensities(nn.Module):
    """Sums of gated Gaussians over equal, contiguous slices of an axis, and a skip; 3 g K parameters.

    Our own answer to what the paper leaves to future work, the number of Gaussians per dataset. In its own
    mixture (Algorithms 2 to 4) that number is no real choice: Gaussians are multiplied, and a product of
    Gaussians is a Gaussian (see `MixtureOfDensities`). Here they are added, each behind a gate that closes.
    With u = (x - mu) / sqrt(var + 1e-8), mu and var the mean and unbiased variance over a head's slice,

        p(u) = sum_k g_k exp(-(u - m_k)^2 / (2 c_k^2)) / c_k        gate g_k = clip(s_k / 0.1 - 0.1, 0, 1)
        DA   = G p(u) / (sum over the slice of p(u))                G = 1 - prod_k (1 - g_k)
        y    = x * DA + x

    m_k is `mean_offset`, c_k is `spread` (as in the paper's mixture, but m_k in standard deviations), s_k is
    `gate_score`. A Gaussian whose gate is 0 is gone. A head that has lost all of its Gaussians has G = 0 and
    passes x through, so that the number of heads is learnt with it. G also gives a head's last Gaussian its
    gradient: by normalisation alone its gate would cancel. A gate is closed for s_k below 0.01: weight decay
    pulls towards closed, a closed gate gets no gradient, and so what is pruned stays pruned. What drives
    gates apart is `penalty`. Departures from the paper's mixture, beside all this: c_k^2 acts as at least
    1e-12, a head of a single layer has variance 0, and the sum p is not bounded from below.

    Args:
        layers: size N of the attended axis, the number of layers; with one head any length is accepted.
        features: number of features d, kept.
        heads: largest number of heads g, a divisor of N; None chooses (`density_heads`).
        gaussians: largest number of Gaussians K a head.
        axis: attended axis; -2 is the layer axis of [batch, layer, feature]; the last is allowed.

    Attributes:
        mean_offset: m [head, gaussian], in units of the slice's standard deviation; initially evenly spread
            over -1 ... 1.
        spread: c [head, gaussian], in the same units, initially 1.
        gate_score: s [head, gaussian], initially where every gate is half open.

    Raises:
        ConfigError: if `heads` does not divide `layers`, `gaussians` is below 1, or an input has another
            size.
    """

    def __init__(
        self, layers: int, features: int, heads: int | None = None, gaussians: int = 4, axis: int = -2
    ) -> None:
        super().__init__()
        check_at_least_one(gaussians=gaussians)
        self.heads = density_heads(layers, heads)
        self.layers, self.out_features, self.axis = layers, features, axis
        shape = (self.heads, gaussians)
        places = torch.linspace(-1.0, 1.0, gaussians) if gaussians > 1 else torch.zeros(1)
        self.mean_offset = nn.Parameter(places.repeat(self.heads, 1))
        self.spread = nn.Parameter(torch.ones(shape))
        self.gate_score = nn.Parameter(torch.full(shape, GATE_SCALE * (INITIAL_GATE + CLOSED_BELOW)))

    def gates(self) -> Float[Tensor, "head gaussian"]:
        """Return g, in [0, 1], float32 or wider; 0 means that a Gaussian is gone."""
        return (widened(self.gate_score) / GATE_SCALE - CLOSED_BELOW).clamp(0.0, 1.0)

    def penalty(self, samples: int) -> Float[Tensor, ""]:
        """Return what to add to the mean loss of n = `samples` training samples, in the units of that loss.

            penalty = sum over heads and k of g_k * 3 ln(n) / (2 n)

        That is the cost which the Bayesian information criterion puts on free parameters, three per Gaussian,
        as criterion / (2 n): exact once every gate is 0 or 1, its continuous relaxation before. The criterion
        speaks of a log-likelihood. With cross-entropy the mean loss is one, and loss + penalty is the
        criterion of the classifier on its training samples. Focal loss is no log-likelihood (it scales the
        cross-entropy down, with alpha 0.25 to a quarter or less): the penalty is then a surrogate, and
        stricter.
        """
        cost = PARAMETERS_PER_GAUSSIAN * math.log(samples) / (2 * samples)
        return cost * self.gates().sum()

    def gaussians_per_head(self) -> list[int]:
        """Return how many Gaussians each head has kept; 0 for a head that passes its input through."""
        kept: list[int] = (self.gates() > 0).sum(-1).tolist()
        return kept

    def note(self) -> str:
        """Say what was chosen, for the record of a result.

        The sum of the gates is what the kept Gaussians count for: where it is far below their number,
        training was too short to close gates that are on their way.
        """
        kept = self.gaussians_per_head()
        return (
            f"Gaussians kept: {sum(kept)} of {self.spread.numel()}, by their gates "
            f"{self.gates().sum().item():.1f}; heads kept: {sum(k > 0 for k in kept)} of {self.heads}; "
            f"per head: {' '.join(map(str, kept))}"
        )

    def density(
        self, x: Float[Tensor, "*shape feature"], mask: Bool[Tensor, "*shape"] | None = None
    ) -> Float[Tensor, "*shape feature"]:
        """Return DA, in [0, 1], and 0 at padded positions (`mask` False), which enter no statistic.

        Over the real positions of a head's slice it sums to G.
        """
        return self._density(x, mask).to(x.dtype)

    def _density(self, x: Tensor, mask: Tensor | None) -> Tensor:
        attended = None if self.heads == 1 else self.layers
        check_input(self, x, mask, {self.axis: attended, -1: self.out_features})
        slices, real = cut(x, mask, self.axis, self.heads)
        centred, variance = standardised(slices, real)
        logarithm = self._log_sum(centred / variance.sqrt())
        if real is not None:
            logarithm = logarithm.masked_fill(~real, torch.finfo(logarithm.dtype).min)
        strength = 1 - (1 - self.gates()).prod(-1, keepdim=True)
        density = torch.softmax(logarithm, -1) * strength.to(logarithm.dtype)
        return stacked(density, real, self.axis)

    def _log_sum(self, u: Tensor) -> Tensor:
        """[..., head, layer of the slice]: log p(u); finite also where every gate is closed."""
        # [head, gaussian] -> [head, layer of the slice, gaussian]
        offset, spread, gate = (
            p.to(u.dtype).unsqueeze(-2) for p in (self.mean_offset, self.spread, self.gates())
        )
        squared = spread.square().clamp_min(SMALLEST_SQUARED_SPREAD)
        is_open = gate > 0
        weight = torch.where(is_open, gate, 1.0).log() - 0.5 * squared.log()
        logarithm = weight - (u.unsqueeze(-1) - offset).square() / (2 * squared)
        return logarithm.masked_fill(~is_open, torch.finfo(u.dtype).min / 2).logsumexp(-1)

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
            f"gaussians={self.spread.shape[1]}, axis={self.axis}"
        )
