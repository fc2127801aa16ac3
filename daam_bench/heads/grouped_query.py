"""Grouped-query attention over the layer axis, alone (GQA) and behind density attention (GQDAAM).

With s the head size, Q_i the query heads, K_h and V_h the key/value heads, G_h the query heads of group h
(method.md section 3):

    separate (paper)    Y_i = softmax(Q_i K_h^T / sqrt(s)) V_h for every i in G_h, joined over i
    summed (released)   Y_h = softmax((sum_{i in G_h} Q_i / sqrt(s)) K_h^T / sqrt(s)) V_h, joined over h
    both                output = LayerNorm(Y) W^O

so that with 8 query heads and 2 key/value heads of size 64 the output projection is 512 -> 512 under
"separate" and 128 -> 512 under "summed" (D3).
"""

from typing import Literal, get_args

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn
from torch.nn.functional import scaled_dot_product_attention

from daam_bench.errors import ConfigError, unknown_name
from daam_bench.heads.density import MultiHeadDensityAdaptiveAttention
from daam_bench.heads.initial import xavier_
from daam_bench.heads.multi_head import hide_padding

GroupedQueries = Literal["separate", "summed"]

WIDTH = 512


class GroupedQueryAttention(nn.Module):
    """Self-attention whose query heads share fewer key and value heads.

    Query heads h * g ... h * g + g - 1 belong to key/value head h, with g = query_heads / key_value_heads.

    Args:
        width: size of the input and output features; a multiple of `query_heads`.
        query_heads: number of query heads; a multiple of `key_value_heads`.
        key_value_heads: number of key and value heads.
        grouped_queries: "separate": each query head attends by itself, the logits scaled once by
            1 / sqrt(head size), all query heads concatenated (paper); "summed": the query heads of a group
            are summed before the softmax and the scale is applied twice, so that only `key_value_heads`
            heads come out (released scripts).

    Raises:
        ConfigError: if the heads do not divide, or `grouped_queries` is neither of the two.
    """

    def __init__(
        self,
        width: int = WIDTH,
        query_heads: int = 8,
        key_value_heads: int = 2,
        grouped_queries: GroupedQueries = "separate",
    ) -> None:
        super().__init__()
        _check(width, query_heads, key_value_heads, grouped_queries)
        self.head_size = width // query_heads
        self.query_heads, self.key_value_heads = query_heads, key_value_heads
        self.grouped_queries = grouped_queries
        shared = key_value_heads * self.head_size
        joined = width if grouped_queries == "separate" else shared
        self.query = nn.Linear(width, width)
        self.key = nn.Linear(width, shared)
        self.value = nn.Linear(width, shared)
        self.norm = nn.LayerNorm(joined)
        self.output = nn.Linear(joined, width)
        xavier_(self)

    def forward(
        self, x: Float[Tensor, "batch layer width"], mask: Bool[Tensor, "batch layer"] | None = None
    ) -> Float[Tensor, "batch layer width"]:
        """Return the attended, layer-normalised and projected values.

        Nothing attends to padded positions (`mask` False), and they come out as 0.
        """
        looked_at = None
        if mask is not None:
            x, ignored = hide_padding(x, mask)
            looked_at = ~ignored[:, None, None, :]
        query = self._split(self.query(x), self.query_heads)
        key = self._split(self.key(x), self.key_value_heads)
        value = self._split(self.value(x), self.key_value_heads)
        if self.grouped_queries == "separate":
            attended = scaled_dot_product_attention(query, key, value, looked_at, enable_gqa=True)
        else:
            summed = torch.unflatten(query, 1, (self.key_value_heads, -1)).sum(2).to(key.dtype)
            # 1 / sqrt(head size), once on the query and once more on the logits.
            attended = scaled_dot_product_attention(summed, key, value, looked_at, scale=1 / self.head_size)
        output: Tensor = self.output(self.norm(attended.transpose(1, 2).flatten(2)))
        return output if mask is None else output.masked_fill(~mask.unsqueeze(-1), 0.0)

    def attention_weights(
        self, x: Float[Tensor, "batch layer width"]
    ) -> Float[Tensor, "batch head query key"]:
        """Return the softmax weights: one head a query head ("separate") or a group ("summed")."""
        query = self._split(self.query(x), self.query_heads)
        key = self._split(self.key(x), self.key_value_heads)
        if self.grouped_queries == "separate":
            key = key.repeat_interleave(self.query_heads // self.key_value_heads, dim=1)
            return torch.softmax(query @ key.transpose(-1, -2) / self.head_size**0.5, -1)
        summed = torch.unflatten(query, 1, (self.key_value_heads, -1)).sum(2)
        return torch.softmax(summed @ key.transpose(-1, -2) / self.head_size, -1)

    def _split(self, x: Tensor, heads: int) -> Tensor:
        """[batch, layer, heads * size] -> [batch, head, layer, size]."""
        return torch.unflatten(x, -1, (heads, self.head_size)).transpose(1, 2)

    def extra_repr(self) -> str:
        """Say what `print` shows between the brackets."""
        return f"heads={self.query_heads}/{self.key_value_heads}, grouped_queries={self.grouped_queries!r}"


class ProjectedGroupedQueryAttention(nn.Module):
    """GQA: linear d -> 512, then grouped-query attention (8 query heads, 2 key/value heads of size 64).

    Args:
        features: number of features d of the input.
        grouped_queries: see `GroupedQueryAttention` (D3).

    Raises:
        ConfigError: if `grouped_queries` is neither of the two.
    """

    def __init__(self, features: int, grouped_queries: GroupedQueries = "separate") -> None:
        super().__init__()
        self.out_features = WIDTH
        self.projection = nn.Linear(features, WIDTH)
        self.attention = GroupedQueryAttention(grouped_queries=grouped_queries)
        xavier_(self.projection)

    def forward(
        self, x: Float[Tensor, "batch layer feature"], mask: Bool[Tensor, "batch layer"] | None = None
    ) -> Float[Tensor, "batch layer width"]:
        """Return [batch, layer, 512], 0 at padded positions (`mask` False)."""
        if mask is not None:
            x = x.masked_fill(~mask.unsqueeze(-1), 0.0)
        output: Tensor = self.attention(self.projection(x), mask)
        return output

    def attention_weights(
        self, x: Float[Tensor, "batch layer feature"]
    ) -> Float[Tensor, "batch head query key"]:
        """Return the softmax weights of the grouped-query attention."""
        return self.attention.attention_weights(self.projection(x))


class GroupedQueryDensityAdaptiveAttention(ProjectedGroupedQueryAttention):
    """GQDAAM: multi-head density adaptive attention, then GQA.

    Args:
        density_attention: the first stage; its `density` is this module's.
        grouped_queries: see `GroupedQueryAttention` (D3).
    """

    def __init__(
        self,
        density_attention: MultiHeadDensityAdaptiveAttention,
        grouped_queries: GroupedQueries = "separate",
    ) -> None:
        super().__init__(density_attention.out_features, grouped_queries)
        self.density_attention = density_attention

    def density(
        self, x: Float[Tensor, "batch layer feature"], mask: Bool[Tensor, "batch layer"] | None = None
    ) -> Float[Tensor, "batch layer feature"]:
        """Return DA of the first stage."""
        return self.density_attention.density(x, mask)

    def forward(
        self, x: Float[Tensor, "batch layer feature"], mask: Bool[Tensor, "batch layer"] | None = None
    ) -> Float[Tensor, "batch layer width"]:
        """Return [batch, layer, 512], 0 at padded positions (`mask` False)."""
        return super().forward(self.density_attention(x, mask), mask)

    def attention_weights(
        self, x: Float[Tensor, "batch layer feature"]
    ) -> Float[Tensor, "batch head query key"]:
        """Return the softmax weights of the second stage."""
        return super().attention_weights(self.density_attention(x))


def _check(width: int, query_heads: int, key_value_heads: int, grouped_queries: str) -> None:
    if grouped_queries not in get_args(GroupedQueries):
        raise unknown_name("treatment of grouped queries", grouped_queries, get_args(GroupedQueries))
    if width % query_heads or query_heads % key_value_heads:
        raise ConfigError(
            "heads do not divide evenly",
            where="grouped-query attention",
            expected="width a multiple of query_heads, query_heads a multiple of key_value_heads",
            found=f"width {width}, query_heads {query_heads}, key_value_heads {key_value_heads}",
        )
