"""THE table of variants. Imports no torch: builders are named, and resolved only to build.

To add a variant made of existing parts, add an entry. For a new attention module write it in its own file,
add a builder to `build.py` and an entry here; the contract tests pick it up.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Literal

from daam_bench.errors import unknown_name

# The baselines of `training.names`, which share the folder of records with variants.
RESERVED = ("majority", "best_single_layer")

_PAPER = "arXiv 2401.11143"
_LORA = "arXiv 2106.09685"
_LORA_PLUS = "arXiv 2402.12354"


@dataclass(frozen=True)
class Variant:
    """An attention module of the benchmark.

    Attributes:
        name: key in configurations, paths and results.
        title: name in tables and figures.
        builder: "module:function", called with (layers, features, protocol, **options).
        description: one sentence for a reader of the report.
        source: where it comes from.
        has_density: whether its `density(x)` gives an importance map.
        lora_plus: whether the B factors learn faster than all other parameters.
        decoder: "convolutional" (the paper's) or "linear" (layers added up, then one linear layer).
        options: keyword arguments of the builder.
        own: whether it is a user's own module (`heads.own`); builder is then "file.py:Name".
    """

    name: str
    title: str
    builder: str
    description: str
    source: str
    has_density: bool = False
    lora_plus: bool = False
    decoder: Literal["convolutional", "linear"] = "convolutional"
    options: Mapping[str, Any] = field(default_factory=dict, hash=False)
    own: bool = False

    @property
    def low_rank(self) -> int | None:
        """Rank r of the low-rank updates; None if the variant has none."""
        return self.options.get("rank")


def _low_rank(rank: int, plus: bool) -> Variant:
    kind, learning = ("LoRA+", ", B learning faster than A") if plus else ("LoRA", "")
    return Variant(
        name=f"lora_{'plus_' if plus else ''}r{rank}",
        title=f"{kind} r={rank} (cached)",
        builder="daam_bench.heads.build:low_rank",
        description=f"MHA with frozen projections and rank-{rank} updates of query and key{learning}",
        source=_LORA_PLUS if plus else _LORA,
        lora_plus=plus,
        options={"rank": rank},
    )


_ENTRIES = (
    Variant(
        name="mha",
        title="MHA",
        builder="daam_bench.heads.build:multi_head",
        description="multi-head self-attention, 8 heads",
        source="arXiv 1706.03762",
    ),
    Variant(
        name="mha_bn",
        title="MHA + BN",
        builder="daam_bench.heads.build:multi_head",
        description="multi-head self-attention, then batch normalisation over the layer channels",
        source=_PAPER,
        options={"batch_norm": True},
    ),
    Variant(
        name="gqa",
        title="GQA",
        builder="daam_bench.heads.build:grouped_query",
        description="grouped-query attention on 512 features, 8 query heads, 2 key/value heads",
        source="arXiv 2305.13245",
    ),
    _low_rank(4, plus=False),
    _low_rank(8, plus=False),
    _low_rank(4, plus=True),
    _low_rank(8, plus=True),
    Variant(
        name="daam_v1",
        title="DAAMv1",
        builder="daam_bench.heads.build:density",
        description="density adaptive attention, 8 heads that share the layers",
        source=f"{_PAPER}, Algorithm 1",
        has_density=True,
    ),
    Variant(
        name="daam_v2",
        title="DAAMv2",
        builder="daam_bench.heads.build:density",
        description="density adaptive attention, one head over all layers",
        source=f"{_PAPER}, Algorithm 1",
        has_density=True,
        options={"heads": 1},
    ),
    Variant(
        name="gqdaam",
        title="GQDAAM",
        builder="daam_bench.heads.build:grouped_query_density",
        description="density adaptive attention, 8 heads, then grouped-query attention on 512 features",
        source=_PAPER,
        has_density=True,
    ),
    Variant(
        name="mixture",
        title="Mixture of densities",
        builder="daam_bench.heads.build:mixture",
        description="products of 4 Gaussians, 8 heads that share the layers, skip connection",
        source=f"{_PAPER}, Algorithms 2 to 4",
        has_density=True,
    ),
    Variant(
        name="mixture_selected",
        title="Mixture, learnt size",
        builder="daam_bench.heads.build:selected_mixture",
        description="sums of up to 4 gated Gaussians a head; those not worth their BIC cost are pruned",
        source=f"an answer to the future work of {_PAPER}; gates after arXiv 1712.01312",
        has_density=True,
    ),
    Variant(
        name="softmax_sum",
        title="Softmax sum + linear",
        builder="daam_bench.heads.build:softmax_sum",
        description="softmax-weighted sum of the layers, one learnt scalar each, and a linear classifier",
        source="arXiv 2105.01051",
        decoder="linear",
    ),
)

VARIANTS: Mapping[str, Variant] = MappingProxyType({variant.name: variant for variant in _ENTRIES})


def find_variant(name: str, where: object = None) -> Variant:
    """Return a variant by its name; `where` is the configuration key that an error should name.

    Raises:
        ConfigError: if there is none, with the nearest names.
    """
    if name not in VARIANTS:
        raise unknown_name("variant", name, VARIANTS, where)
    return VARIANTS[name]
