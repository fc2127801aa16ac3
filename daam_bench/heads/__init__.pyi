# THE list of what the package exports; __init__.py reads it, and type checkers do.
from daam_bench.heads.build import build_attention as build_attention
from daam_bench.heads.build import build_model as build_model
from daam_bench.heads.build import parameter_counts as parameter_counts
from daam_bench.heads.convolution import convolution_pair as convolution_pair
from daam_bench.heads.convolution import unfolded_pair as unfolded_pair
from daam_bench.heads.decoder import ConvolutionalDecoder as ConvolutionalDecoder
from daam_bench.heads.decoder import LinearDecoder as LinearDecoder
from daam_bench.heads.decoder import grid_shape as grid_shape
from daam_bench.heads.density import DensityAdaptiveAttention as DensityAdaptiveAttention
from daam_bench.heads.density import Exponent as Exponent
from daam_bench.heads.density import MultiHeadDensityAdaptiveAttention as MultiHeadDensityAdaptiveAttention
from daam_bench.heads.density import Sign as Sign
from daam_bench.heads.density import gaussian_density as gaussian_density
from daam_bench.heads.divisors import density_heads as density_heads
from daam_bench.heads.divisors import feature_heads as feature_heads
from daam_bench.heads.grouped_query import GroupedQueries as GroupedQueries
from daam_bench.heads.grouped_query import GroupedQueryAttention as GroupedQueryAttention
from daam_bench.heads.grouped_query import (
    GroupedQueryDensityAdaptiveAttention as GroupedQueryDensityAdaptiveAttention,
)
from daam_bench.heads.grouped_query import ProjectedGroupedQueryAttention as ProjectedGroupedQueryAttention
from daam_bench.heads.low_rank import LowRankSelfAttention as LowRankSelfAttention
from daam_bench.heads.low_rank import LowRankUpdate as LowRankUpdate
from daam_bench.heads.low_rank import lora_a_parameters as lora_a_parameters
from daam_bench.heads.low_rank import lora_b_parameters as lora_b_parameters
from daam_bench.heads.mixture import MixtureOfDensities as MixtureOfDensities
from daam_bench.heads.mixture import Normalisation as Normalisation
from daam_bench.heads.model import AttentionClassifier as AttentionClassifier
from daam_bench.heads.model import Classifier as Classifier
from daam_bench.heads.model import HasAttentionWeights as HasAttentionWeights
from daam_bench.heads.model import HasDensity as HasDensity
from daam_bench.heads.model import HasNote as HasNote
from daam_bench.heads.model import HasPenalty as HasPenalty
from daam_bench.heads.model import ParameterCounts as ParameterCounts
from daam_bench.heads.multi_head import AttentionAxis as AttentionAxis
from daam_bench.heads.multi_head import LayerSelfAttention as LayerSelfAttention
from daam_bench.heads.presets import VARIANTS as VARIANTS
from daam_bench.heads.presets import Variant as Variant
from daam_bench.heads.presets import find_variant as find_variant
from daam_bench.heads.selected_mixture import SelectedMixtureOfDensities as SelectedMixtureOfDensities
from daam_bench.heads.softmax_sum import SoftmaxLayerWeights as SoftmaxLayerWeights
