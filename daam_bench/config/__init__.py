"""The configuration: one typed model of `config.yaml` and its overlays, unknown keys refused.

What to compute lives here; threads, memory and folders do not. Imports neither torch nor transformers.
"""

from daam_bench.config.cache import CacheConfig
from daam_bench.config.dataset import Columns, DatasetConfig, FoldRule, Modality
from daam_bench.config.encoder import EncoderConfig
from daam_bench.config.load import parse_config, protocol_of, training_of, tuning_of
from daam_bench.config.protocol import BY_DATASET, PROTOCOLS, Protocol, ShortClips, published_rate
from daam_bench.config.section import REVISION
from daam_bench.config.studies import LayerAblationStudy, ProtocolStudy, Study, SwitchStudy
from daam_bench.config.training import Metric, TrainingConfig
from daam_bench.config.tuning import TuningConfig
from daam_bench.config.variant import VariantConfig
from daam_bench.config.whole import Config, Experiment

__all__ = [
    "BY_DATASET",
    "PROTOCOLS",
    "REVISION",
    "CacheConfig",
    "Columns",
    "Config",
    "DatasetConfig",
    "EncoderConfig",
    "Experiment",
    "FoldRule",
    "LayerAblationStudy",
    "Metric",
    "Modality",
    "Protocol",
    "ProtocolStudy",
    "ShortClips",
    "Study",
    "SwitchStudy",
    "TrainingConfig",
    "TuningConfig",
    "VariantConfig",
    "parse_config",
    "protocol_of",
    "published_rate",
    "training_of",
    "tuning_of",
]
