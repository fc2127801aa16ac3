"""How broadly trained heads attend: entropy of density and of softmax attention (method.md section 3).

The paper argues that density attention spans broad and focused attention where softmax stays focused. Its
formula gives the differential entropy of a Gaussian, which has neither zero nor maximum in common with the
entropy of softmax weights. Both are measured here, and beside them the entropy of the density normalised over
the layers of its head: that one and the softmax are entropies of shares, 0 when all lies on one position, and
the logarithm of the number of positions when all have the same.
"""

import math
from inspect import ismethod
from typing import TypeGuard, cast

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn

from daam_bench.errors import ConfigError
from daam_bench.heads.density import SMALLEST_DIVISOR, MultiHeadDensityAdaptiveAttention
from daam_bench.heads.grouped_query import GroupedQueryDensityAdaptiveAttention
from daam_bench.heads.mixture import SMALLEST_SQUARED_SPREAD, MixtureOfDensities
from daam_bench.heads.model import HasAttentionWeights, HasDensity
from daam_bench.heads.presets import Variant
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
    attention: nn.Module, values: Float[Tensor, "sample layer feature"], batch_size: int, has_density: bool
) -> list[EntropyRecord]:
    """Return the entropies of every head of a trained attention module, in evaluation mode.

    Args:
        attention: attention part; one that shows neither density nor weights gives nothing.
        values: validation samples, on the device of the module.
        batch_size: of training; a module whose samples attend to each other (D2) is given whole batches of
            it, or all samples if they are fewer.
        has_density: whether its `density(x)` is one.
    """
    attention.eval()
    size, whole = _BATCH, len(values)
    if getattr(attention, "mixes_samples", False):
        size = min(batch_size, whole)
        whole -= whole % size
    batches = [values[i : i + size] for i in range(0, whole, size)]
    found = _of_gaussians(attention)
    if has_density:
        shares = [_density_shares(cast(HasDensity, attention), x) for x in batches]
        found += _of_shares("density", shares)
    if shows_weights(attention):
        weights = [attention.attention_weights(x).float().movedim(-3, 0) for x in batches]
        found += _of_shares("softmax", weights)
    return found


def shows_weights(attention: nn.Module) -> TypeGuard[HasAttentionWeights]:
    """Say whether a module has the method; a parameter or a part of that name is no such thing."""
    return ismethod(getattr(attention, "attention_weights", None))


@torch.inference_mode()
def try_measures(entry: Variant, attention: nn.Module, layers: int, features: int) -> None:
    """Ask a module, before it is trained, for all that it will be asked for afterwards.

    Args:
        entry: of the table; it says whether there is a density.
        attention: the module, on any device.
        layers: of the samples, of which it is given two of zeros.
        features: of the samples.

    Raises:
        ConfigError: if its `density(x)` or `attention_weights(x)` fails, or gives another shape.
    """
    parameter = next(attention.parameters(), None)
    x = torch.zeros(2, layers, features, device=None if parameter is None else parameter.device)
    training = attention.training
    attention.eval()
    if entry.has_density:
        density = _ask(entry, attention, "density", x)
        _require(entry, "density(x)", density, density.shape == x.shape, f"{tuple(x.shape)}")
    if shows_weights(attention):
        weights = _ask(entry, cast(nn.Module, attention), "attention_weights", x)
        _require(entry, "attention_weights(x)", weights, weights.ndim == 4, "[any, head, query, key]")
    attention.train(training)


def _ask(entry: Variant, attention: nn.Module, name: str, x: Tensor) -> Tensor:
    try:
        found = getattr(attention, name)(x)
    except Exception as error:
        raise ConfigError(
            f"{name}(x) fails ({type(error).__name__}: {error})",
            where=entry.builder,
            expected=f"{name}(x) of x [batch, layer, feature], which is measured after training",
        ) from error
    _require(entry, f"{name}(x)", found, isinstance(found, Tensor), "a tensor")
    return cast(Tensor, found)


def _require(entry: Variant, what: str, found: object, holds: bool, expected: str) -> None:
    if not holds:
        shape = tuple(found.shape) if isinstance(found, Tensor) else type(found).__name__
        raise ConfigError(f"{what} has another shape", where=entry.builder, expected=expected, found=shape)


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
    heads = getattr(inner, "heads", 1)  # of a user's own module it may be anything
    heads = heads if isinstance(heads, int) and heads > 0 and x.shape[1] % heads == 0 else 1
    slices = torch.unflatten(attention.density(x).float(), 1, (heads, -1))
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
