"""Attention modules over the layers of a frozen encoder, as plain `torch.nn.Module`s.

Names are resolved on first use, so that planning, which needs `daam_bench.heads.presets` alone, never
imports torch.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from daam_bench.heads.build import build_attention as build_attention
    from daam_bench.heads.build import build_model as build_model
    from daam_bench.heads.build import parameter_counts as parameter_counts
    from daam_bench.heads.decoder import ConvolutionalDecoder as ConvolutionalDecoder
    from daam_bench.heads.decoder import LinearDecoder as LinearDecoder
    from daam_bench.heads.decoder import grid_shape as grid_shape
    from daam_bench.heads.density import DensityAdaptiveAttention as DensityAdaptiveAttention
    from daam_bench.heads.density import (
        MultiHeadDensityAdaptiveAttention as MultiHeadDensityAdaptiveAttention,
    )
    from daam_bench.heads.divisors import density_heads as density_heads
    from daam_bench.heads.divisors import feature_heads as feature_heads
    from daam_bench.heads.grouped_query import GroupedQueryAttention as GroupedQueryAttention
    from daam_bench.heads.grouped_query import (
        GroupedQueryDensityAdaptiveAttention as GroupedQueryDensityAdaptiveAttention,
    )
    from daam_bench.heads.grouped_query import (
        ProjectedGroupedQueryAttention as ProjectedGroupedQueryAttention,
    )
    from daam_bench.heads.low_rank import LowRankSelfAttention as LowRankSelfAttention
    from daam_bench.heads.low_rank import lora_a_parameters as lora_a_parameters
    from daam_bench.heads.low_rank import lora_b_parameters as lora_b_parameters
    from daam_bench.heads.mixture import MixtureOfDensities as MixtureOfDensities
    from daam_bench.heads.model import AttentionClassifier as AttentionClassifier
    from daam_bench.heads.model import ParameterCounts as ParameterCounts
    from daam_bench.heads.multi_head import LayerSelfAttention as LayerSelfAttention
    from daam_bench.heads.presets import VARIANTS as VARIANTS
    from daam_bench.heads.presets import Variant as Variant
    from daam_bench.heads.presets import find_variant as find_variant
    from daam_bench.heads.selected_mixture import SelectedMixtureOfDensities as SelectedMixtureOfDensities
    from daam_bench.heads.softmax_sum import SoftmaxLayerWeights as SoftmaxLayerWeights

_MODULES = {
    "build": ["build_attention", "build_model", "parameter_counts"],
    "decoder": ["ConvolutionalDecoder", "LinearDecoder", "grid_shape"],
    "density": ["DensityAdaptiveAttention", "MultiHeadDensityAdaptiveAttention"],
    "divisors": ["density_heads", "feature_heads"],
    "grouped_query": [
        "GroupedQueryAttention",
        "GroupedQueryDensityAdaptiveAttention",
        "ProjectedGroupedQueryAttention",
    ],
    "low_rank": ["LowRankSelfAttention", "lora_a_parameters", "lora_b_parameters"],
    "mixture": ["MixtureOfDensities"],
    "model": ["AttentionClassifier", "ParameterCounts"],
    "multi_head": ["LayerSelfAttention"],
    "presets": ["VARIANTS", "Variant", "find_variant"],
    "selected_mixture": ["SelectedMixtureOfDensities"],
    "softmax_sum": ["SoftmaxLayerWeights"],
}
_HOME = {name: module for module, names in _MODULES.items() for name in names}


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOME[name]}"), name)


def __dir__() -> list[str]:
    return sorted(_HOME)
