"""Multi-head, grouped-query and low-rank self-attention."""

import math

import pytest
import torch
from torch import Tensor, nn

from daam_bench.errors import ConfigError
from daam_bench.heads import (
    GroupedQueryAttention,
    GroupedQueryDensityAdaptiveAttention,
    LayerSelfAttention,
    LowRankSelfAttention,
    MultiHeadDensityAdaptiveAttention,
    ProjectedGroupedQueryAttention,
    SoftmaxLayerWeights,
    lora_a_parameters,
    lora_b_parameters,
)


def moved(module: nn.Module, x: Tensor, index: tuple[int, int]) -> Tensor:
    """Return which (sample, layer) pairs of the output change when one pair of the input does."""
    other = x.clone()
    other[index] += 1.0
    change: Tensor = module(x) - module(other)
    return change.abs().amax(-1) > 1e-6


@pytest.mark.parametrize("axis", ["layers", "batch"])
def test_one_input_reaches_its_own_axis_only(axis: str) -> None:
    torch.manual_seed(0)
    attention = LayerSelfAttention(3, 7, attention_axis=axis)  # type: ignore[arg-type]
    reached = moved(attention, torch.randn(5, 3, 7), (1, 2))
    expected = torch.zeros(5, 3, dtype=torch.bool)
    if axis == "layers":
        expected[1, :] = True
    else:
        expected[:, 2] = True
    assert torch.equal(reached, expected)


def test_batch_axis_is_the_layer_axis_of_the_transposed_tensor() -> None:
    over_layers, over_batch = LayerSelfAttention(None, 7), LayerSelfAttention(3, 7, attention_axis="batch")
    over_batch.load_state_dict(over_layers.state_dict())
    x = torch.randn(5, 3, 7)
    torch.testing.assert_close(over_batch(x), over_layers(x.transpose(0, 1)).transpose(0, 1))


def test_any_number_of_layers_is_taken_where_none_was_said() -> None:
    attention = LayerSelfAttention(None, 7)
    assert attention(torch.randn(2, 3, 7)).shape == (2, 3, 7)
    assert attention(torch.randn(2, 11, 7)).shape == (2, 11, 7)
    with pytest.raises(ConfigError, match="number of layers"):
        LayerSelfAttention(None, 7, batch_norm=True)


def test_batch_norm_normalises_each_layer_channel() -> None:
    output = LayerSelfAttention(3, 7, batch_norm=True)(torch.randn(11, 3, 7) * 5)
    torch.testing.assert_close(output.mean((0, 2)), torch.zeros(3), atol=1e-5, rtol=0)
    torch.testing.assert_close(output.var((0, 2), correction=0), torch.ones(3), atol=1e-2, rtol=0)


def test_sizes_of_heads_can_be_chosen() -> None:
    assert LayerSelfAttention(3, 12, heads=2).attention.num_heads == 2
    assert LowRankSelfAttention(3, 12, rank=2, heads=3).attention.num_heads == 3
    with pytest.raises(ConfigError, match=r"features cannot be shared.*a divisor of 12.*found 5"):
        LayerSelfAttention(3, 12, heads=5)
    grouped = ProjectedGroupedQueryAttention(7, width=12, query_heads=6, key_value_heads=3)
    assert grouped(torch.randn(2, 5, 7)).shape == (2, 5, grouped.out_features) == (2, 5, 12)
    assert grouped.attention.key.out_features == 3 * 2
    density = MultiHeadDensityAdaptiveAttention(6, 7)
    behind = GroupedQueryDensityAdaptiveAttention(density, "summed", width=12, query_heads=4)
    assert behind(torch.randn(2, 6, 7)).shape == (2, 6, 12)
    assert behind.attention.output.in_features == 2 * 3


def test_heads_of_the_feature_axis() -> None:
    assert LayerSelfAttention(3, 16).attention.num_heads == 8
    assert LayerSelfAttention(3, 14).attention.num_heads == 7


def test_as_many_key_heads_as_query_heads_is_multi_head_attention() -> None:
    torch.manual_seed(0)
    grouped = GroupedQueryAttention(20, query_heads=5, key_value_heads=5)
    grouped.add_module("norm", nn.Identity())
    for parameter in grouped.parameters():
        nn.init.normal_(parameter, std=0.3)
    reference = nn.MultiheadAttention(20, 5, batch_first=True)
    stacked = (grouped.query, grouped.key, grouped.value)
    with torch.no_grad():
        reference.in_proj_weight.copy_(torch.cat([part.weight for part in stacked]))
        reference.in_proj_bias.copy_(torch.cat([part.bias for part in stacked]))
    reference.out_proj.load_state_dict(grouped.output.state_dict())
    x = torch.randn(3, 7, 20)
    torch.testing.assert_close(grouped(x), reference(x, x, x)[0])


def literal_grouped(module: GroupedQueryAttention, x: Tensor) -> Tensor:
    """D3 in plain loops over samples, layers and heads."""
    size, group = module.head_size, module.query_heads // module.key_value_heads
    query, key, value = module.query(x), module.key(x), module.value(x)
    samples = []
    for b in range(x.shape[0]):
        heads = []
        for h in range(module.key_value_heads):
            shared = slice(h * size, (h + 1) * size)
            members = [query[b][:, i * size : (i + 1) * size] for i in range(h * group, (h + 1) * group)]
            if module.grouped_queries == "summed":
                # Both divisions by sqrt(size): the query's own and the attention's.
                members = [torch.stack(members).sum(0) / math.sqrt(size)]
            for member in members:
                logits = member @ key[b][:, shared].T / math.sqrt(size)
                heads.append(torch.softmax(logits, -1) @ value[b][:, shared])
        samples.append(torch.cat(heads, dim=-1))
    output: Tensor = module.output(module.norm(torch.stack(samples)))
    return output


@pytest.mark.parametrize("grouped_queries", ["separate", "summed"])
def test_grouped_queries_equal_a_plain_loop(grouped_queries: str) -> None:
    torch.manual_seed(0)
    module = GroupedQueryAttention(24, 6, 2, grouped_queries)  # type: ignore[arg-type]
    for parameter in module.parameters():
        nn.init.normal_(parameter)
    x = torch.randn(3, 5, 24)
    torch.testing.assert_close(module(x), literal_grouped(module, x), rtol=1e-4, atol=1e-4)


def test_summed_queries_give_two_heads() -> None:
    module = GroupedQueryAttention(grouped_queries="summed")
    assert module.head_size == 64
    assert module.norm.normalized_shape == (128,)
    assert (module.output.in_features, module.output.out_features) == (128, 512)


def test_gqdaam_attends_what_its_densities_let_through() -> None:
    density = MultiHeadDensityAdaptiveAttention(6, 7)
    module, x = GroupedQueryDensityAdaptiveAttention(density), torch.randn(5, 6, 7)
    torch.testing.assert_close(module.density(x), density.density(x))
    torch.testing.assert_close(module(x), module.attention(module.projection(x * density.density(x))))


def test_low_rank_update_starts_at_the_frozen_attention() -> None:
    torch.manual_seed(0)
    plain = LayerSelfAttention(3, 7)
    torch.manual_seed(0)
    adapted, x = LowRankSelfAttention(3, 7, rank=4), torch.randn(5, 3, 7)
    torch.testing.assert_close(adapted(x), plain(x))


@pytest.mark.parametrize("alpha", [16.0, 5.0])
def test_low_rank_update_adds_scaled_factors_to_query_and_key(alpha: float) -> None:
    torch.manual_seed(0)
    adapted = LowRankSelfAttention(3, 7, rank=4, **({} if alpha == 16 else {"alpha": alpha}))
    frozen = adapted.attention.in_proj_weight.detach().clone()
    factors = lora_a_parameters(adapted) | lora_b_parameters(adapted)
    with torch.no_grad():
        for parameter in factors.values():
            parameter.normal_()
    part = {name.rsplit(".", 1)[1]: value for name, value in factors.items()}
    update = (adapted.attention.in_proj_weight - frozen) / (alpha / 4)
    torch.testing.assert_close(update[:7], part["query_b"] @ part["query_a"], rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(update[7:14], part["key_b"] @ part["key_a"], rtol=1e-4, atol=1e-4)
    assert update[14:].eq(0).all()


def test_factors_are_all_that_trains_and_b_is_told_from_a() -> None:
    adapted = nn.Sequential(LowRankSelfAttention(3, 7, rank=2))
    a, b = lora_a_parameters(adapted), lora_b_parameters(adapted)
    trained = {name: p for name, p in adapted.named_parameters() if p.requires_grad}
    assert trained.keys() == a.keys() | b.keys()
    assert all(trained[name] is p for name, p in (a | b).items())
    assert {p.shape for p in a.values()} == {(2, 7)} and {p.shape for p in b.values()} == {(7, 2)}
    assert all(p.eq(0).all() for p in b.values()) and all(p.ne(0).any() for p in a.values())
    assert lora_b_parameters(LayerSelfAttention(3, 7)) == {}


@pytest.mark.usefixtures("unchecked")
def test_bad_arguments_are_refused() -> None:
    with pytest.raises(ConfigError, match="layers"):
        LayerSelfAttention(3, 7, attention_axis="layer")  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="summed"):
        GroupedQueryAttention(grouped_queries="sum")  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="multiple"):
        GroupedQueryAttention(20, 5, 2)
    with pytest.raises(ConfigError, match="rank"):
        LowRankSelfAttention(3, 7, rank=0)


@pytest.mark.parametrize("kind", ["mha", "gqa"])
def test_masked_layers_count_as_if_they_were_not_there(kind: str) -> None:
    torch.manual_seed(0)
    module = LayerSelfAttention(None, 14) if kind == "mha" else GroupedQueryAttention(14, 14, 7)
    x = torch.randn(3, 7, 14)
    mask = (torch.arange(7) < 4).expand(3, -1)
    torch.testing.assert_close(module(x, mask)[:, :4], module(x[:, :4]))


def test_masked_samples_count_as_if_they_were_not_there() -> None:
    torch.manual_seed(0)
    module, x = LayerSelfAttention(3, 7, attention_axis="batch"), torch.randn(5, 3, 7)
    mask = (torch.arange(5) < 4).unsqueeze(1).expand(-1, 3)
    torch.testing.assert_close(module(x, mask)[:4], module(x[:4]))


PADDED = torch.tensor([[True] * 5, [True, True, True, False, False], [False, True, False, True, False]])


def with_nan_at_padding(mask: Tensor | None) -> Tensor:
    x = torch.randn(3, 5, 16, generator=torch.Generator().manual_seed(2))
    return x if mask is None else x.masked_fill(~mask.unsqueeze(-1), float("nan"))


def heads_side_by_side(shares: Tensor, values: Tensor, mask: Tensor | None, size: int) -> Tensor:
    """weights @ values of every head, values without padding."""
    values = values if mask is None else values.masked_fill(~mask.unsqueeze(-1), 0.0)
    values = values.unflatten(-1, (-1, size)).transpose(1, 2)
    values = values.repeat_interleave(shares.shape[1] // values.shape[1], dim=1)
    return (shares @ values).transpose(1, 2).flatten(2)


masks = pytest.mark.parametrize("mask", [None, PADDED], ids=["all-real", "padded"])


@masks
@pytest.mark.parametrize("axis", ["layers", "batch"])
@pytest.mark.parametrize("kind", [LayerSelfAttention, LowRankSelfAttention])
def test_weights_times_values_are_what_multi_head_attention_gives(
    kind: type[LayerSelfAttention], axis: str, mask: Tensor | None
) -> None:
    torch.manual_seed(0)
    more = {"rank": 2} if kind is LowRankSelfAttention else {}
    module, x = kind(5, 16, attention_axis=axis, **more), with_nan_at_padding(mask)  # type: ignore[arg-type]
    inner, shares = module.attention, module.attention_weights(x, mask)
    values = x @ inner.in_proj_weight[32:].T + inner.in_proj_bias[32:]
    if axis == "batch":
        values, turned = values.transpose(0, 1), None if mask is None else mask.T
        attended = heads_side_by_side(shares, values, turned, 2).transpose(0, 1)
    else:
        attended = heads_side_by_side(shares, values, mask, 2)
    output = inner.out_proj(attended)
    output = output if mask is None else output.masked_fill(~mask.unsqueeze(-1), 0.0)
    torch.testing.assert_close(output, module(x, mask))


@masks
@pytest.mark.parametrize("grouped_queries", ["separate", "summed"])
@pytest.mark.parametrize("with_density", [False, True])
def test_weights_times_values_are_what_grouped_queries_give(
    grouped_queries: str, with_density: bool, mask: Tensor | None
) -> None:
    torch.manual_seed(0)
    sizes = {"grouped_queries": grouped_queries, "width": 12, "query_heads": 6, "key_value_heads": 2}
    density = MultiHeadDensityAdaptiveAttention(5, 16)
    kinds = (GroupedQueryDensityAdaptiveAttention, density), (ProjectedGroupedQueryAttention, 16)
    kind, first = kinds[0] if with_density else kinds[1]
    module, x = kind(first, **sizes), with_nan_at_padding(mask)  # type: ignore[arg-type]
    seen = density(x, mask) if with_density else x
    inner, values = module.attention, module.attention.value(module.projection(seen))
    attended = heads_side_by_side(module.attention_weights(x, mask), values, mask, 2)
    output = inner.output(inner.norm(attended))
    output = output if mask is None else output.masked_fill(~mask.unsqueeze(-1), 0.0)
    torch.testing.assert_close(output, module(x, mask))


@masks
def test_weights_times_values_are_what_the_softmax_sum_gives(mask: Tensor | None) -> None:
    module, x = SoftmaxLayerWeights(5, 16), with_nan_at_padding(mask)
    nn.init.normal_(module.score)
    shares = module.attention_weights(x, mask)[:, 0, 0, :, None]
    real = x if mask is None else x.masked_fill(~mask.unsqueeze(-1), 0.0)
    torch.testing.assert_close(shares * real, module(x, mask))
