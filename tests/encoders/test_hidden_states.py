"""Every architecture: pooled layers equal one plain unbatched forward, whatever the batch."""

from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
from transformers import (
    BertConfig,
    BertModel,
    LlamaConfig,
    LlamaModel,
    PreTrainedModel,
)

from daam_bench.encoders.hidden_states import LayerPooler
from daam_bench.encoders.pooling import MaskedMean
from daam_bench.errors import EncoderError

SMALL = {"hidden_size": 24, "intermediate_size": 37, "num_hidden_layers": 5, "num_attention_heads": 4}
MODELS = {
    "bert": lambda: BertModel(BertConfig(vocab_size=53, **SMALL)),
    "llama": lambda: LlamaModel(LlamaConfig(vocab_size=53, **SMALL)),
}


def build(name) -> PreTrainedModel:
    torch.manual_seed(7)
    return MODELS[name]().eval()


def padded(rows):
    longest = max(len(row) for row in rows)
    ids = torch.zeros(len(rows), longest, dtype=torch.long)
    mask = torch.zeros(len(rows), longest, dtype=torch.long)
    for i, row in enumerate(rows):
        ids[i, : len(row)] = row
        mask[i, : len(row)] = 1
    return {"input_ids": ids, "attention_mask": mask}, mask.bool()


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("composition", [(1,), (1, 2), (31, 1, 7), (3, 3, 3), (31, 29, 2, 1, 1)])
def test_batches_equal_plain_single_forwards(name, composition):
    model = build(name)
    rows = [torch.randint(1, 53, (length,)) for length in composition]
    pooler = LayerPooler(model, 5)
    pooler.calibrate(*padded([torch.arange(1, 8), torch.arange(1, 4)]))
    found = pooler.pool(*padded(rows))
    for row, pooled in zip(rows, found, strict=True):
        with torch.inference_mode():
            states = model(input_ids=row[None], output_hidden_states=True).hidden_states
        expected = torch.stack([state[0].mean(dim=0) for state in states[1:]])
        scale = expected.square().mean(dim=1, keepdim=True).sqrt()
        assert ((pooled - expected).abs() / scale).max() < 1e-5


@pytest.mark.parametrize(("name", "normalised"), [("bert", False), ("llama", True)])
def test_what_the_last_layer_is_is_found_out(name, normalised):
    pooler = LayerPooler(build(name), 5)
    pooler.calibrate(*padded([torch.arange(1, 8)]))
    assert pooler.last_is_normalised is normalised


class Other(torch.nn.Module):
    """A module that is no layer."""

    def __init__(self, output):
        super().__init__()
        self.output = output

    def forward(self):
        return self.output


@pytest.mark.parametrize("output", [{}, None, torch.ones(1, 7), torch.ones(1, 3, 24), torch.ones(1, 7, 24)])
def test_other_lists_of_as_many_modules_are_no_layers(output):
    model = build("bert")
    model.embeddings.others = torch.nn.ModuleList([Other(output) for _ in range(5)])
    model.embeddings.register_forward_pre_hook(lambda module, _: [m() for m in module.others] and None)
    pooler = LayerPooler(model, 5)
    pooler.calibrate(*padded([torch.arange(1, 8)]))
    assert pooler.blocks is model.encoder.layer


def test_masked_mean_ignores_padding_even_when_it_is_nan():
    states = torch.tensor([[[1.0, 2.0], [3.0, 6.0], [float("nan"), 0.0]]])
    found = MaskedMean(torch.tensor([[True, True, False]]))(states)
    assert found.tolist() == [[2.0, 4.0]]


def test_a_mean_of_no_position_is_nan_and_other_shapes_are_refused():
    mean = MaskedMean(torch.tensor([[False, True, True], [False, False, False]]))
    states = torch.arange(30.0).reshape(2, 3, 5)
    found = mean(states)
    assert found[0].tolist() == [7.5, 8.5, 9.5, 10.5, 11.5]
    assert found[1].isnan().all()
    assert torch.equal(mean(states.half())[0], found[0])
    for wrong in (states.reshape(3, 2, 5), states[:1], states[:, :2]):
        with pytest.raises(ValueError, match=r"of a mask \(2, 3\)"):
            mean(wrong)


def test_gradients_of_a_mean_reach_its_positions_alone():
    mask = torch.tensor([[True, True, False], [False, True, False]])
    states = torch.randn(2, 3, 5, requires_grad=True)
    MaskedMean(mask)(states).sum().backward()
    assert states.grad[..., 0].tolist() == [[0.5, 0.5, 0], [0, 1, 0]]
    assert torch.equal(states.grad, states.grad[..., :1].expand(2, 3, 5))


def test_nothing_is_computed_behind_the_last_layer():
    model = build("bert")
    pooler = LayerPooler(model, 5)
    pooler.calibrate(*padded([torch.arange(1, 8)]))
    heads = []
    model.pooler.register_forward_hook(lambda *_: heads.append(1))
    assert pooler.pool(*padded([torch.arange(1, 8)])).shape == (1, 5, 24)
    assert not heads
    model(**padded([torch.arange(1, 8)])[0])
    assert heads


def test_threads_that_pool_the_same_model_at_once_get_their_own_means():
    model = build("bert")
    pooler = LayerPooler(model, 5)
    rows = [torch.randint(1, 53, (length,)) for length in (31, 3, 2, 29)]
    batches = [padded(rows[:2]), padded(rows[2:])]
    pooler.calibrate(*batches[0])
    alone = [pooler.pool(*batch) for batch in batches]
    hooks = [len(module._forward_hooks) for module in model.modules()]  # transformers has some too
    with ThreadPoolExecutor(3) as threads:
        found = list(threads.map(lambda number: pooler.pool(*batches[number % 2]), range(61)))
    for number, pooled in enumerate(found):
        torch.testing.assert_close(pooled, alone[number % 2])
    assert [len(module._forward_hooks) for module in model.modules()] == hooks


def test_padding_that_a_model_turns_to_nan_never_reaches_a_mean():
    model = build("bert")
    rows = [torch.arange(1, 8), torch.arange(1, 4), torch.arange(5, 6)]
    pooler = LayerPooler(model, 5)
    pooler.calibrate(*padded(rows))
    sound = pooler.pool(*padded(rows))
    real = padded(rows)[1][..., None]
    model.encoder.layer[-1].register_forward_hook(lambda _m, _a, states: states.masked_fill(~real, torch.nan))
    assert torch.equal(pooler.pool(*padded(rows)), sound)


def test_model_without_such_layers_is_refused():
    with pytest.raises(EncoderError, match="expected 8 entries of hidden_states.*found 6"):
        LayerPooler(build("bert"), 7).calibrate(*padded([torch.arange(1, 8)]))
