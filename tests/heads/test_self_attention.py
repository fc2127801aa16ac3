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
    attention = LayerSelfAttention(3, 7, axis)  # type: ignore[arg-type]
    reached = moved(attention, torch.randn(5, 3, 7), (1, 2))
    expected = torch.zeros(5, 3, dtype=torch.bool)
    if axis == "layers":
        expected[1, :] = True
    else:
        expected[:, 2] = True
    assert torch.equal(reached, expected)


def test_batch_axis_is_the_layer_axis_of_the_transposed_tensor() -> None:
    over_layers, over_batch = LayerSelfAttention(3, 7), LayerSelfAttention(3, 7, "batch")
    over_batch.load_state_dict(over_layers.state_dict())
    x = torch.randn(5, 3, 7)
    torch.testing.assert_close(over_batch(x), over_layers(x.transpose(0, 1)).transpose(0, 1))


def test_batch_norm_normalises_each_layer_channel() -> None:
    output = LayerSelfAttention(3, 7, batch_norm=True)(torch.randn(11, 3, 7) * 5)
    torch.testing.assert_close(output.mean((0, 2)), torch.zeros(3), atol=1e-5, rtol=0)
    torch.testing.assert_close(output.var((0, 2), correction=0), torch.ones(3), atol=1e-2, rtol=0)


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


def test_low_rank_update_adds_scaled_factors_to_query_and_key() -> None:
    torch.manual_seed(0)
    adapted = LowRankSelfAttention(3, 7, rank=4)
    frozen = adapted.attention.in_proj_weight.detach().clone()
    factors = lora_a_parameters(adapted) | lora_b_parameters(adapted)
    with torch.no_grad():
        for parameter in factors.values():
            parameter.normal_()
    part = {name.rsplit(".", 1)[1]: value for name, value in factors.items()}
    update = (adapted.attention.in_proj_weight - frozen) / (16 / 4)
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
        LayerSelfAttention(3, 7, "layer")  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="summed"):
        GroupedQueryAttention(grouped_queries="sum")  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="multiple"):
        GroupedQueryAttention(20, 5, 2)
    with pytest.raises(ConfigError, match="rank"):
        LowRankSelfAttention(3, 7, rank=0)


@pytest.mark.parametrize("kind", ["mha", "gqa"])
def test_masked_layers_count_as_if_they_were_not_there(kind: str) -> None:
    torch.manual_seed(0)
    module = LayerSelfAttention(7, 14) if kind == "mha" else GroupedQueryAttention(14, 14, 7)
    x = torch.randn(3, 7, 14)
    mask = (torch.arange(7) < 4).expand(3, -1)
    torch.testing.assert_close(module(x, mask)[:, :4], module(x[:, :4]))


def test_masked_samples_count_as_if_they_were_not_there() -> None:
    torch.manual_seed(0)
    module, x = LayerSelfAttention(3, 7, "batch"), torch.randn(5, 3, 7)
    mask = (torch.arange(5) < 4).unsqueeze(1).expand(-1, 3)
    torch.testing.assert_close(module(x, mask)[:4], module(x[:4]))
