"""How broadly trained heads attend: entropy of density and of softmax attention (method.md section 3).

The paper argues that density attention spans broad and focused attention where softmax stays focused. Its
formula gives the differential entropy of a Gaussian, which has neither zero nor maximum in common with the
entropy of softmax weights. Both are measured here, and beside them the entropy of the density normalised over
the layers of its head: that one and the softmax are entropies of shares, 0 when all lies on one position, and
the logarithm of the number of positions when all have the same.
"""

import math

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn

from daam_bench.heads.density import SMALLEST_DIVISOR, MultiHeadDensityAdaptiveAttention
from daam_bench.heads.grouped_query import GroupedQueryDensityAdaptiveAttention
from daam_bench.heads.mixture import SMALLEST_SQUARED_SPREAD, MixtureOfDensities
from daam_bench.heads.model import HasAttentionWeights, HasDensity
from daam_bench.records import EntropyRecord
from daam_bench.training.folds import Rows

SAMPLES = 512  # evenly spaced validation samples: enough for the distribution of a head's entropies
_BATCH = 64


def gaussian_entropy(variances: Float[Tensor, "*shape gaussian"]) -> Float[Tensor, "*shape"]:
    """Return the differential entropy in nats of the normalised product of Gaussians of these variances.

    H = log(2 pi e s2) / 2 with 1 / s2 = sum of 1 / s2_i (paper; method.md section 3).
    """
    precision = variances.reciprocal().sum(-1)
    return 0.5 * (math.log(2 * math.pi * math.e) - precision.log())


def share_entropy(shares: Float[Tensor, "*shape position"]) -> Float[Tensor, "*shape"]:
    """Return -sum p log p over the last axis in nats; a share of 0 adds nothing."""
    entropy: Tensor = torch.special.entr(shares).sum(-1)
    return entropy


def some_rows(rows: Rows) -> Rows:
    """Return at most `SAMPLES` of ascending rows, evenly spaced."""
    return rows[np.linspace(0, len(rows) - 1, min(len(rows), SAMPLES)).round().astype(np.int64)]


@torch.inference_mode()
def measure_entropies(
    attention: nn.Module, values: Float[Tensor, "sample layer feature"], batch_size: int
) -> list[EntropyRecord]:
    """Return the entropies of every head of a trained attention module, in evaluation mode.

    Args:
        attention: attention part; one that shows neither density nor weights gives nothing.
        values: validation samples, on the device of the module.
        batch_size: of training; a module whose samples attend to each other (D2) is given whole batches of
            it, or all samples if they are fewer.
    """
    attention.eval()
    size, whole = _BATCH, len(values)
    if getattr(attention, "mixes_samples", False):
        size = min(batch_size, whole)
        whole -= whole % size
    batches = [values[i : i + size] for i in range(0, whole, size)]
    found = _of_gaussians(attention)
    if isinstance(attention, HasDensity):
        found += _of_shares("density", [_density_shares(attention, x) for x in batches])
    if isinstance(attention, HasAttentionWeights):
        weights = [attention.attention_weights(x).float().movedim(-3, 0) for x in batches]
        found += _of_shares("softmax", weights)
    return found


def _of_gaussians(attention: nn.Module) -> list[EntropyRecord]:
    """Return the paper's entropy of each head that is a Gaussian, over its features.

    A negative scaled variance (`sign="free"`) is no Gaussian and left out; sums of Gaussians have no closed
    form.
    """
    if isinstance(attention, GroupedQueryDensityAdaptiveAttention):
        attention = attention.density_attention
    if isinstance(attention, MixtureOfDensities):
        values = gaussian_entropy(attention.spread.square().clamp_min(SMALLEST_SQUARED_SPREAD)).unsqueeze(-1)
    elif isinstance(attention, MultiHeadDensityAdaptiveAttention):
        xi = attention.scaled_variance
        variance = xi.square() if attention.exponent == "2c2" else xi
        values = gaussian_entropy(variance.clamp_min(SMALLEST_DIVISOR).unsqueeze(-1))
        if attention.exponent == "2c" and attention.sign == "free":
            values = values.masked_fill(xi <= 0, math.nan)
    else:
        return []
    return _summaries("gaussian", values, None)


def _density_shares(attention: HasDensity, x: Tensor) -> Tensor:
    """Return the density of every head over its layers, [head, batch, feature, layer]; nan where it is 0."""
    inner = getattr(attention, "density_attention", attention)
    slices = torch.unflatten(attention.density(x).float(), 1, (getattr(inner, "heads", 1), -1))
    slices = slices.movedim(1, 0).transpose(-1, -2)
    return slices / slices.sum(-1, keepdim=True)


def _of_shares(kind: str, batches: list[Tensor]) -> list[EntropyRecord]:
    """Summarise shares [head, ..., position]."""
    values = torch.cat([share_entropy(shares).flatten(1) for shares in batches], dim=1)
    return _summaries(kind, values, math.log(batches[0].shape[-1]))


def _summaries(kind: str, values: Float[Tensor, "head value"], maximum: float | None) -> list[EntropyRecord]:
    records = []
    for head, row in enumerate(values.double().cpu().numpy()):
        known = row[np.isfinite(row)]
        if len(known):
            low, high = np.quantile(known, (0.05, 0.95))
            facts = {"kind": kind, "head": head, "mean": known.mean(), "low": low, "high": high}
            records.append(EntropyRecord.model_validate(facts | {"maximum": maximum}))
    return records
