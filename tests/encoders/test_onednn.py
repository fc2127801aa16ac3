import pytest
import torch
from torch.nn import functional as F
from torch.overrides import TorchFunctionMode

from daam_bench.encoders.onednn import OneDnn


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


class Recorder(TorchFunctionMode):
    """Note the shapes that GELU is computed of in the end."""

    def __init__(self):
        super().__init__()
        self.shapes = []

    def __torch_function__(self, func, types, args=(), kwargs=None):
        if func is F.gelu:
            self.shapes.append(tuple(args[0].shape))
        return func(*args, **(kwargs or {}))


@pytest.mark.parametrize("shape", [(131, 7), (5, 29, 7), (478, 7), (2, 239, 7), (480, 7)])
@pytest.mark.parametrize("with_bias", [True, False])
def test_it_gives_what_float64_gives(shape, with_bias, calls):
    torch.manual_seed(0)
    x, weight = torch.randn(*shape), torch.randn(11, 7)
    bias = torch.randn(11) if with_bias else None
    with torch.inference_mode(), OneDnn():
        found = F.linear(x, weight, bias)
    expected = F.linear(x.double(), weight.double(), None if bias is None else bias.double())
    assert len(calls) == 1
    torch.testing.assert_close(found.double(), expected, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("case", ["trained", "bfloat16", "float64", "autocast", "empty", "few rows"])
def test_everything_else_is_left_alone(case, calls):
    dtype = {"bfloat16": torch.bfloat16, "float64": torch.float64}.get(case, torch.float32)
    layer = torch.nn.Linear(7, 11, dtype=dtype)
    x = torch.ones({"empty": 0, "few rows": 127}.get(case, 131), 7, dtype=dtype)
    autocast = torch.autocast("cpu", enabled=case == "autocast")
    with Recorder() as recorder, torch.set_grad_enabled(case == "trained"), OneDnn(), autocast:
        found = F.gelu(layer(x))
    assert found.shape == (len(x), 11)
    assert recorder.shapes == [(len(x), 11)]
    assert not calls


def test_a_layer_of_a_model_is_computed_by_it(calls):
    with torch.inference_mode(), OneDnn():
        torch.nn.Linear(7, 11)(torch.ones(131, 7))
    assert len(calls) == 1


@pytest.mark.parametrize(
    ("shape", "rows"),
    [((480, 7), 480), ((467, 7), 480), ((2, 239, 7), 480), ((257, 7), 272), ((1, 750, 7), 752)],
)
def test_numbers_of_rows_are_rounded_up(shape, rows, calls):
    with torch.inference_mode(), Recorder() as recorder, OneDnn():
        found = F.gelu(F.linear(torch.ones(shape), torch.ones(11, 7)))
    expected = F.gelu(torch.tensor(7.0)).expand(*shape[:-1], 11)
    torch.testing.assert_close(found, expected, rtol=1e-6, atol=0)
    assert calls[0][0].numel() // 7 == rows
    assert recorder.shapes == [(rows, 11)]


@pytest.mark.parametrize("options", [{}, {"approximate": "tanh"}])
@pytest.mark.parametrize(
    "cut",
    [
        lambda x: x,
        lambda x: x[1:],  # the storage ends with it
        lambda x: x[:-1],  # other values lie behind it
        lambda x: x.transpose(0, 1),
        lambda x: x[:, :, ::2],
    ],
)
def test_gelu_of_any_part_of_a_tensor(cut, options):
    torch.manual_seed(0)
    x = torch.randn(7, 53, 11)
    part = cut(x)
    expected = F.gelu(part.double(), **options)
    with torch.inference_mode(), OneDnn():
        found = F.gelu(part, **options)
    torch.testing.assert_close(found.double(), expected, rtol=1e-5, atol=1e-6)


def test_gelu_is_called_in_every_way_it_can_be():
    x, out = torch.linspace(-3, 3, 131 * 7).view(131, 7), torch.empty(131, 7)
    expected = F.gelu(x)
    with torch.inference_mode(), OneDnn():
        single, named = F.gelu(x[0, 0]), F.gelu(input=x)
        F.gelu(x, out=out)
    torch.testing.assert_close(single, expected[0, 0])
    torch.testing.assert_close(named, expected)
    torch.testing.assert_close(out, expected)
