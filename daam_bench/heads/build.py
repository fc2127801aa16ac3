"""From a variant's name to its modules: one builder for each kind of attention in `presets`."""

from pkgutil import resolve_name
from typing import cast

import torch
from torch import nn

from daam_bench.config import Protocol
from daam_bench.heads.decoder import ConvolutionalDecoder, LinearDecoder
from daam_bench.heads.density import MultiHeadDensityAdaptiveAttention
from daam_bench.heads.grouped_query import (
    GroupedQueryDensityAdaptiveAttention,
    ProjectedGroupedQueryAttention,
)
from daam_bench.heads.low_rank import LowRankSelfAttention
from daam_bench.heads.mixture import MixtureOfDensities
from daam_bench.heads.model import AttentionClassifier, ParameterCounts
from daam_bench.heads.multi_head import LayerSelfAttention
from daam_bench.heads.own import build_own
from daam_bench.heads.presets import Variant, find_variant
from daam_bench.heads.selected_mixture import SelectedMixtureOfDensities
from daam_bench.heads.softmax_sum import SoftmaxLayerWeights


def build_attention(
    variant: str | Variant,
    layers: int,
    features: int,
    protocol: Protocol,
    *,
    density_heads: int | None = None,
) -> nn.Module:
    """Build the attention part of a variant.

    Its `out_features` says how many features come out, its `feature_grid`, if any, on which grid the decoder
    lays them out.

    `density_heads` goes to variants with a density whose number of heads is not part of what they are.

    Raises:
        ConfigError: if the variant is unknown or does not fit the number of layers.
    """
    found = find_variant(variant) if isinstance(variant, str) else variant
    if found.own:
        return build_own(found, layers, features, protocol)
    options = dict(found.options)
    if found.has_density:
        options.setdefault("heads", density_heads)
    attention: nn.Module = resolve_name(found.builder)(layers, features, protocol, **options)
    return attention


def build_model(
    variant: str | Variant,
    layers: int,
    features: int,
    classes: int,
    protocol: Protocol,
    *,
    decoder_channels: int = 512,
    density_heads: int | None = None,
) -> AttentionClassifier:
    """Build a classifier of [batch, layer, feature] with initial weights from torch's global generator.

    Args:
        variant: a name in `presets.VARIANTS`, or an entry of one's own.
        layers: number of layers N.
        features: number of features d.
        classes: number of classes.
        protocol: the switches D1 to D3 and D7, `scaled_variance` and `mixture_normalisation` are read.
        decoder_channels: channels between the convolutional decoder's two convolutions.
        density_heads: heads of density attention (not DAAMv2's); None for the usual number.

    Raises:
        ConfigError: if the variant is unknown or does not fit the number of layers.
    """
    attention = build_attention(variant, layers, features, protocol, density_heads=density_heads)
    width = cast(int, attention.out_features)
    found = find_variant(variant) if isinstance(variant, str) else variant
    if found.decoder == "linear":
        return AttentionClassifier(attention, LinearDecoder(width, classes))
    grid = getattr(attention, "feature_grid", None)
    decoder = ConvolutionalDecoder(layers, width, classes, decoder_channels, grid)
    return AttentionClassifier(attention, decoder)


def parameter_counts(
    variant: str | Variant,
    layers: int,
    features: int,
    classes: int,
    protocol: Protocol,
    *,
    decoder_channels: int = 512,
    density_heads: int | None = None,
) -> ParameterCounts:
    """Count a variant's trainable parameters (method.md section 4) without allocating them.

    Arguments and errors are those of `build_model`.
    """
    with torch.device("meta"):
        model = build_model(
            variant,
            layers,
            features,
            classes,
            protocol,
            decoder_channels=decoder_channels,
            density_heads=density_heads,
        )
    return model.parameter_counts()


def multi_head(layers: int, features: int, protocol: Protocol, batch_norm: bool = False) -> nn.Module:
    """Build MHA, which takes any number of layers, or MHA+BN."""
    known = layers if batch_norm else None
    return LayerSelfAttention(known, features, attention_axis=protocol.attention_axis, batch_norm=batch_norm)


def low_rank(layers: int, features: int, protocol: Protocol, rank: int) -> nn.Module:
    """Build cached LoRA, which takes any number of layers; LoRA+ is the same module."""
    return LowRankSelfAttention(None, features, rank, attention_axis=protocol.attention_axis)


def softmax_sum(layers: int, features: int, protocol: Protocol) -> nn.Module:
    """Build the softmax weights of the layers, which no switch of the protocol touches."""
    return SoftmaxLayerWeights(layers, features)


def density(layers: int, features: int, protocol: Protocol, heads: int | None = None) -> nn.Module:
    """Build DAAM with a given number of heads, or the usual one."""
    return _density(layers, features, protocol, heads)


def mixture(
    layers: int, features: int, protocol: Protocol, heads: int | None = None, gaussians: int = 4
) -> nn.Module:
    """Build the mixture of densities."""
    return MixtureOfDensities(
        layers, features, heads, gaussians, normalisation=protocol.mixture_normalisation
    )


def selected_mixture(
    layers: int, features: int, protocol: Protocol, heads: int | None = None, gaussians: int = 4
) -> nn.Module:
    """Build the mixture that learns its size, which no switch of the protocol touches."""
    return SelectedMixtureOfDensities(layers, features, heads, gaussians)


def grouped_query(layers: int, features: int, protocol: Protocol) -> nn.Module:
    """Build GQA, the control of GQDAAM; it takes any number of layers."""
    return ProjectedGroupedQueryAttention(features, protocol.grouped_queries)


def grouped_query_density(
    layers: int, features: int, protocol: Protocol, heads: int | None = None
) -> nn.Module:
    """Build GQDAAM; `heads` gives way to a protocol of one head (D7)."""
    first = _density(layers, features, protocol, 1 if protocol.gqdaam_heads == 1 else heads)
    return GroupedQueryDensityAdaptiveAttention(first, protocol.grouped_queries)


def _density(
    layers: int, features: int, protocol: Protocol, heads: int | None
) -> MultiHeadDensityAdaptiveAttention:
    return MultiHeadDensityAdaptiveAttention(
        layers, features, heads, exponent=protocol.density_exponent, sign=protocol.scaled_variance
    )
