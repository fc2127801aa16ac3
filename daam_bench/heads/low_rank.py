"""Cached LoRA and LoRA+: low-rank updates of a frozen self-attention (method.md section 3).

W = W0 + (alpha / r) B A on the query and key projections; all of W0 stays at its initialisation. LoRA+
differs in training only, where B learns faster than A (Hayou et al., arXiv 2402.12354).
"""

import math

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.utils import parametrize

from daam_bench.errors import ConfigError
from daam_bench.heads.multi_head import AttentionAxis, LayerSelfAttention

ALPHA = 16.0


class LowRankUpdate(nn.Module):
    """Adds (alpha / r) B A to the query and key thirds of a stacked query-key-value weight.

    Attributes:
        query_a, key_a: A [rank, feature], Kaiming-uniform.
        query_b, key_b: B [feature, rank], zero, so that training starts from W0.
    """

    def __init__(self, features: int, rank: int, alpha: float = ALPHA) -> None:
        super().__init__()
        self.scale = alpha / rank
        self.query_a = nn.Parameter(torch.empty(rank, features))
        self.query_b = nn.Parameter(torch.zeros(features, rank))
        self.key_a = nn.Parameter(torch.empty(rank, features))
        self.key_b = nn.Parameter(torch.zeros(features, rank))
        for a in (self.query_a, self.key_a):
            nn.init.kaiming_uniform_(a, a=math.sqrt(5))

    def forward(self, weight: Float[Tensor, "stacked feature"]) -> Float[Tensor, "stacked feature"]:
        """Return the updated weight [3 * feature, feature]; its value third is unchanged."""
        query, key = self.query_b @ self.query_a, self.key_b @ self.key_a
        return weight + self.scale * torch.cat((query, key, torch.zeros_like(query)))


class LowRankSelfAttention(LayerSelfAttention):
    """The MHA variant, its four projections frozen, with trainable low-rank updates on query and key.

    4 r d trainable parameters.

    Args:
        layers: number of layers N.
        features: number of features d.
        rank: r of the updates, at least 1; alpha is 16.
        attention_axis: as in `LayerSelfAttention` (D2).

    Raises:
        ConfigError: if the rank is below 1 or the axis is unknown.
    """

    def __init__(
        self, layers: int, features: int, rank: int, attention_axis: AttentionAxis = "layers"
    ) -> None:
        super().__init__(layers, features, attention_axis)
        if rank < 1:
            raise ConfigError("the rank of a low-rank update must be at least 1", expected=">= 1", found=rank)
        self.attention.requires_grad_(False)
        parametrize.register_parametrization(self.attention, "in_proj_weight", LowRankUpdate(features, rank))


def lora_a_parameters(module: nn.Module) -> dict[str, nn.Parameter]:
    """Return every A of a module's low-rank updates by its qualified name; empty if it has none."""
    return _factors(module, "_a")


def lora_b_parameters(module: nn.Module) -> dict[str, nn.Parameter]:
    """Return every B of a module's low-rank updates by its qualified name; empty if it has none.

    LoRA+ trains these with a larger learning rate than all others.
    """
    return _factors(module, "_b")


def _factors(module: nn.Module, ending: str) -> dict[str, nn.Parameter]:
    return {
        f"{path}.{name}" if path else name: parameter
        for path, part in module.named_modules()
        if isinstance(part, LowRankUpdate)
        for name, parameter in part.named_parameters(recurse=False)
        if name.endswith(ending)
    }
