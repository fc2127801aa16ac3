"""Cached LoRA and LoRA+: low-rank updates of a frozen self-attention (method.md section 3)."""

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

        W^Q = W0^Q + (alpha / r) B_q A_q,    W^K = W0^K + (alpha / r) B_k A_k,    W^V = W0^V

    (Hu et al., arXiv 2106.09685, section 4.1). A parametrisation of `torch.nn.utils.parametrize`.

    Args:
        features: number of features d.
        rank: r, at least 1.
        alpha: scale of the update.

    Attributes:
        query_a, key_a: A [rank, feature], Kaiming-uniform.
        query_b, key_b: B [feature, rank], zero, so that training starts from W0.

    Raises:
        ConfigError: if the rank is below 1.
    """

    def __init__(self, features: int, rank: int, alpha: float = ALPHA) -> None:
        super().__init__()
        if rank < 1:
            raise ConfigError("the rank of a low-rank update must be at least 1", expected=">= 1", found=rank)
        self.rank, self.alpha, self.scale = rank, alpha, alpha / rank
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

    def extra_repr(self) -> str:
        """Say what `print` shows between the brackets."""
        return f"rank={self.rank}, alpha={self.alpha}"


class LowRankSelfAttention(LayerSelfAttention):
    """Cached LoRA: MHA, its projections frozen, with trainable low-rank updates of query and key.

        W = W0 + (alpha / r) B A     for W^Q and W^K of `LayerSelfAttention`

    (Hu et al., arXiv 2106.09685, section 4.1; r in {4, 8} and alpha = 16 in the paper); 4 r d trainable
    parameters: A is `query_a` and `key_a`, B is `query_b` and `key_b` of `LowRankUpdate`. LoRA+ is the same
    module: in training B learns faster than A (Hayou et al., arXiv 2402.12354). Departure: W0 is the random
    initialisation of this module, not an encoder's projection, which a cache of frozen outputs cannot serve;
    the paper's baseline itself is encoder LoRA. What it attends over is said at `LayerSelfAttention`.

    Args:
        layers: number of layers N; None for any number.
        features: number of features d.
        rank: r of the updates, at least 1.
        heads: number of heads, a divisor of d; None chooses (`feature_heads`).
        attention_axis: as in `LayerSelfAttention` (D2).
        alpha: scale of the updates.

    Raises:
        ConfigError: if the rank is below 1, or as `LayerSelfAttention`.
    """

    def __init__(
        self,
        layers: int | None,
        features: int,
        rank: int,
        heads: int | None = None,
        attention_axis: AttentionAxis = "layers",
        alpha: float = ALPHA,
    ) -> None:
        super().__init__(layers, features, heads, attention_axis)
        self.attention.requires_grad_(False)
        update = LowRankUpdate(features, rank, alpha)
        parametrize.register_parametrization(self.attention, "in_proj_weight", update)


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
