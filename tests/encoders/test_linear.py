import pytest
import torch
from torch.nn import functional as F

from daam_bench.encoders.linear import OneDnnLinear


@pytest.fixture
def calls(monkeypatch):
    """Count what oneDNN is asked for."""
    found = []
    original = torch.ops.mkldnn._linear_pointwise

    def counted(*arguments):
        found.append(arguments)
        return original(*arguments)

    monkeypatch.setattr(torch.ops.mkldnn, "_linear_pointwise", counted)
    return found


@pytest.mark.parametrize("shape", [(7,), (5, 7), (3, 5, 7), (478, 7), (2, 239, 7)])
@pytest.mark.parametrize("with_bias", [True, False])
def test_it_gives_what_float64_gives(shape, with_bias, calls):
    torch.manual_seed(0)
    x, weight = torch.randn(*shape), torch.randn(11, 7)
    bias = torch.randn(11) if with_bias else None
    with torch.inference_mode(), OneDnnLinear():
        found = F.linear(x, weight, bias)
    expected = F.linear(x.double(), weight.double(), None if bias is None else bias.double())
    assert len(calls) == 1
    torch.testing.assert_close(found.double(), expected, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("case", ["trained", "bfloat16", "float64", "autocast", "empty"])
def test_everything_else_is_left_alone(case, calls):
    dtype = {"bfloat16": torch.bfloat16, "float64": torch.float64}.get(case, torch.float32)
    layer = torch.nn.Linear(7, 11, dtype=dtype)
    x = torch.ones(0 if case == "empty" else 3, 7, dtype=dtype)
    autocast = torch.autocast("cpu", enabled=case == "autocast")
    with torch.set_grad_enabled(case == "trained"), OneDnnLinear(), autocast:
        found = layer(x)
    assert found.shape == (len(x), 11)
    assert not calls


def test_a_layer_of_a_model_is_computed_by_it(calls):
    with torch.inference_mode(), OneDnnLinear():
        torch.nn.Linear(7, 11)(torch.ones(3, 7))
    assert len(calls) == 1


@pytest.mark.parametrize(
    ("shape", "rows"),
    [((480, 7), 480), ((467, 7), 480), ((2, 239, 7), 480), ((257, 7), 257), ((5, 7), 5), ((1, 750, 7), 752)],
)
def test_numbers_of_rows_are_rounded_up_where_that_adds_little(shape, rows, calls):
    with torch.inference_mode(), OneDnnLinear():
        found = F.linear(torch.ones(shape), torch.ones(11, 7))
    assert torch.equal(found, torch.full((*shape[:-1], 11), 7.0))
    ((x, *_),) = calls
    assert x.numel() // 7 == rows
