"""Grouped-query attention over the layer axis, alone (GQA) and behind density attention (GQDAAM)."""

from typing import Literal, get_args

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn
from torch.nn.functional import scaled_dot_product_attention

from daam_bench.errors import ConfigError, unknown_name
from daam_bench.heads.density import MultiHeadDensityAdaptiveAttention
from daam_bench.heads.initial import xavier_
from daam_bench.heads.inputs import check_at_least_one, check_input
from daam_bench.heads.multi_head import hide_padding, hide_weights

GroupedQueries = Literal["separate", "summed"]

WIDTH = 512


class GroupedQueryAttention(nn.Module):
    """Self-attention whose query heads share fewer key and value heads (Ainslie et al., arXiv 2305.13245).

    With s the head size, Q_i the query heads, K_h and V_h the key/value heads, G_h the query heads of group h
    (i = h g ... h g + g - 1, g = query_heads / key_value_heads), each a linear projection of x with a bias,

        separate (paper)    Y_i = softmax(Q_i K_h^T / sqrt(s)) V_h for every i in G_h, joined over i
        summed (released)   Y_h = softmax((sum_{i in G_h} Q_i / sqrt(s)) K_h^T / sqrt(s)) V_h, joined over h
        both                y   = LayerNorm(Y) W^O

    so that with 8 query heads and 2 key/value heads of size 64 the output projection W^O (`output`) is
    512 -> 512 under "separate" and 128 -> 512 under "summed" (D3). The default is the paper's reading; the
    released scripts' is "summed". No other departure.

    It attends over the axis before the last of a tensor of three. For another axis, move that one there:
    `attention(x.movedim(axis, 1)).movedim(1, axis)`.

    Args:
        width: size of the input and output features; a multiple of `query_heads`.
        query_heads: number of query heads; a multiple of `key_value_heads`.
        key_value_heads: number of key and value heads.
        grouped_queries: "separate": each query head attends by itself, the logits scaled once by
            1 / sqrt(head size), all query heads concatenated (paper); "summed": the query heads of a group
            are summed before the softmax and the scale is applied twice, so that only `key_value_heads`
            heads come out (released scripts).

    Raises:
        ConfigError: if the heads do not divide, `grouped_queries` is neither of the two, or an input has
            another size.
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
        self.out_features = width
        self.head_size = width // query_heads
        self.query_heads, self.key_value_heads = query_heads, key_value_heads
        self.grouped_queries = grouped_queries
        # Summed: 1 / sqrt(head size), once on the query and once more on the logits.
        self.scale = 1 / self.head_size if grouped_queries == "summed" else self.head_size**-0.5
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
        x, looked_at = self._looked_at(x, mask)
        query, key = self._query_and_key(x)
        value = self._split(self.value(x), self.key_value_heads)
        attended = scaled_dot_product_attention(
            query, key, value, looked_at, scale=self.scale, enable_gqa=query.shape[1] != key.shape[1]
        )
        output: Tensor = self.output(self.norm(attended.transpose(1, 2).flatten(2)))
        return output if mask is None else output.masked_fill(~mask.unsqueeze(-1), 0.0)

    def attention_weights(
        self, x: Float[Tensor, "batch layer width"], mask: Bool[Tensor, "batch layer"] | None = None
    ) -> Float[Tensor, "batch head query key"]:
        """Return the softmax weights: one head a query head ("separate") or a group ("summed").

        They sum to one over the keys, and are 0 for padded keys and padded queries (`mask` False).
        """
        x, looked_at = self._looked_at(x, mask)
        query, key = self._query_and_key(x)
        key = key.repeat_interleave(query.shape[1] // key.shape[1], dim=1)
        logits = query @ key.transpose(-1, -2) * self.scale
        if mask is None or looked_at is None:
            return torch.softmax(logits, -1)
        smallest = torch.finfo(logits.dtype).min
        return hide_weights(torch.softmax(logits.masked_fill(~looked_at, smallest), -1), mask)

    def _looked_at(self, x: Tensor, mask: Tensor | None) -> tuple[Tensor, Tensor | None]:
        """Return x with zeros at padding, and the keys that may be looked at [batch, 1, 1, key]."""
        check_input(self, x, mask, {-1: self.out_features}, axes=3)
        if mask is None:
            return x, None
        x, ignored = hide_padding(x, mask)
        return x, ~ignored[:, None, None, :]

    def _query_and_key(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return what the softmax is taken of, [batch, head, layer, size]: its logits are scale Q K^T."""
        query = self._split(self.query(x), self.query_heads)
        key = self._split(self.key(x), self.key_value_heads)
        if self.grouped_queries == "summed":
            query = torch.unflatten(query, 1, (self.key_value_heads, -1)).sum(2).to(key.dtype)
        return query, key

    def _split(self, x: Tensor, heads: int) -> Tensor:
        """[batch, layer, heads * size] -> [batch, head, layer, size]."""
        return torch.unflatten(x, -1, (heads, self.head_size)).transpose(1, 2)

    def extra_repr(self) -> str:
        """Say what `print` shows between the brackets."""
        heads = f"query_heads={self.query_heads}, key_value_heads={self.key_value_heads}"
        return f"width={self.out_features}, {heads}, grouped_queries={self.grouped_queries!r}"


class ProjectedGroupedQueryAttention(nn.Module):
    """GQA: linear d -> 512, then grouped-query attention; the control that the paper's Table 1 counts.

        H = X W + b,   y = GroupedQueryAttention(H)

    with 8 query heads and 2 key/value heads of size 64 in the paper; W is `projection`. No departure beside
    the choice of D3. It attends over the axis before the last of a tensor of three; for another axis see
    `GroupedQueryAttention`.

    Args:
        features: number of features d of the input.
        grouped_queries: see `GroupedQueryAttention` (D3).
        width: number of features that come out, a multiple of `query_heads`.
        query_heads: number of query heads; a multiple of `key_value_heads`.
        key_value_heads: number of key and value heads.

    Attributes:
        feature_grid: on which the decoder lays the features out: (query heads, head size), which is 8 x 64,
            for d = 1024; None for any other d, which means the most square one (method.md section 1).

    Raises:
        ConfigError: if the heads do not divide, `grouped_queries` is neither of the two, or an input has
            another size.
    """

    def __init__(
        self,
        features: int,
        grouped_queries: GroupedQueries = "separate",
        width: int = WIDTH,
        query_heads: int = 8,
        key_value_heads: int = 2,
    ) -> None:
        super().__init__()
        self.in_features, self.out_features = features, width
        self.projection = nn.Linear(features, width)
        self.attention = GroupedQueryAttention(width, query_heads, key_value_heads, grouped_queries)
        self.feature_grid = (query_heads, self.attention.head_size) if features == 1024 else None
        xavier_(self.projection)

    def forward(
        self, x: Float[Tensor, "batch layer feature"], mask: Bool[Tensor, "batch layer"] | None = None
    ) -> Float[Tensor, "batch layer width"]:
        """Return [batch, layer, width], 0 at padded positions (`mask` False)."""
        output: Tensor = self.attention(self._project(x, mask), mask)
        return output

    def attention_weights(
        self, x: Float[Tensor, "batch layer feature"], mask: Bool[Tensor, "batch layer"] | None = None
    ) -> Float[Tensor, "batch head query key"]:
        """Return the softmax weights of the grouped-query attention, 0 for padded keys and queries."""
        return self.attention.attention_weights(self._project(x, mask), mask)

    def _project(self, x: Tensor, mask: Tensor | None) -> Tensor:
        check_input(self, x, mask, {-1: self.in_features}, axes=3)
        projected: Tensor = self.projection(x if mask is None else x.masked_fill(~mask.unsqueeze(-1), 0.0))
        return projected


class GroupedQueryDensityAdaptiveAttention(ProjectedGroupedQueryAttention):
    """GQDAAM: multi-head density adaptive attention, then GQA (the paper's combination of both).

        y = GroupedQueryAttention((x * DA) W + b),   DA = exp(-z^2 / (2 xi))

    DA, z and xi are those of the first stage (`MultiHeadDensityAdaptiveAttention`, 8 heads in the paper), W
    is `projection`, and the grouped-query attention that of `GroupedQueryAttention`. Departures: those of the
    two stages. It attends over the axis before the last of a tensor of three.

    Args:
        density_attention: the first stage, over axis -2; its `density` is this module's.
        grouped_queries: see `GroupedQueryAttention` (D3).
        width: number of features that come out, a multiple of `query_heads`.
        query_heads: number of query heads; a multiple of `key_value_heads`.
        key_value_heads: number of key and value heads.

    Raises:
        ConfigError: as `ProjectedGroupedQueryAttention`.
    """

    def __init__(
        self,
        density_attention: MultiHeadDensityAdaptiveAttention,
        grouped_queries: GroupedQueries = "separate",
        width: int = WIDTH,
        query_heads: int = 8,
        key_value_heads: int = 2,
    ) -> None:
        features = density_attention.out_features
        super().__init__(features, grouped_queries, width, query_heads, key_value_heads)
        self.density_attention = density_attention

    def density(
        self, x: Float[Tensor, "batch layer feature"], mask: Bool[Tensor, "batch layer"] | None = None
    ) -> Float[Tensor, "batch layer feature"]:
        """Return DA of the first stage."""
        return self.density_attention.density(x, mask)

    def _project(self, x: Tensor, mask: Tensor | None) -> Tensor:
        return super()._project(self.density_attention(x, mask), mask)


def _check(width: int, query_heads: int, key_value_heads: int, grouped_queries: str) -> None:
    if grouped_queries not in get_args(GroupedQueries):
        raise unknown_name("treatment of grouped queries", grouped_queries, get_args(GroupedQueries))
    check_at_least_one(width=width, query_heads=query_heads, key_value_heads=key_value_heads)
    if width % query_heads or query_heads % key_value_heads:
        raise ConfigError(
            "heads do not divide evenly",
            where="grouped-query attention",
            expected="width a multiple of query_heads, query_heads a multiple of key_value_heads",
            found=f"width {width}, query_heads {query_heads}, key_value_heads {key_value_heads}",
        )
