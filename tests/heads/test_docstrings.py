"""`help(daam_bench.heads.X)` shows the equation, where it stands, our names and our departures."""

import inspect

import pytest
from torch import nn

from daam_bench import heads

FORMULAS = {
    "DensityAdaptiveAttention": "DA = exp(-z^2 / (2 xi)),   z = (x - (mu + delta)) / sqrt(v + 1e-5)",
    "MultiHeadDensityAdaptiveAttention": "DA_i = exp(-z_i^2 / (2 xi_i))",
    "MixtureOfDensities": "g_k = exp(-z_k^2 / (2 c_k^2)) / sqrt(2 pi c_k^2)",
    "SelectedMixtureOfDensities": "DA   = G p(u) / (sum over the slice of p(u))",
    "GroupedQueryAttention": "softmax((sum_{i in G_h} Q_i / sqrt(s)) K_h^T / sqrt(s)) V_h",
    "ProjectedGroupedQueryAttention": "H = X W + b,   y = GroupedQueryAttention(H)",
    "GroupedQueryDensityAdaptiveAttention": "y = GroupedQueryAttention((x * DA) W + b)",
    "LayerSelfAttention": "softmax(X W_i^Q (X W_i^K)^T / sqrt(s)) X W_i^V",
    "LowRankSelfAttention": "W = W0 + (alpha / r) B A",
    "LowRankUpdate": "W^Q = W0^Q + (alpha / r) B_q A_q",
    "SoftmaxLayerWeights": "y_l = w_l x_l,   w = softmax(s)",
    "ConvolutionalDecoder": "logits = W flatten(ReLU(conv_2(ReLU(conv_1(x))))) + b",
    "LinearDecoder": "logits = W sum_l x_l + b",
}
SOURCES = ("Algorithm", "arXiv", "method.md section", "the paper's")
DECODERS = ("ConvolutionalDecoder", "LinearDecoder", "LowRankUpdate")


def exported_modules() -> set[str]:
    found = {name: getattr(heads, name) for name in heads.__all__}
    classes = {n for n, value in found.items() if inspect.isclass(value) and issubclass(value, nn.Module)}
    return classes - {"Classifier", "AttentionClassifier"}  # these join others


def test_every_exported_module_has_a_row_here() -> None:
    assert exported_modules() == FORMULAS.keys()


@pytest.mark.parametrize("name", FORMULAS)
def test_a_module_s_own_docstring_is_complete(name: str) -> None:
    text = getattr(heads, name).__doc__ or ""
    assert FORMULAS[name] in text
    assert any(source in text for source in SOURCES)
    assert name in DECODERS or "eparture" in text


@pytest.mark.parametrize("kind", [heads.DensityAdaptiveAttention, heads.MultiHeadDensityAdaptiveAttention])
def test_a_default_that_is_not_the_published_formula_is_said(kind: type[nn.Module]) -> None:
    text = " ".join((kind.__doc__ or "").split())
    assert inspect.signature(kind).parameters["sign"].default == "positive"
    assert 'the default `sign="positive"` is not the published formula, which is `sign="free"`' in text


def test_what_is_printed_has_the_switches_that_change_numbers() -> None:
    shown = {
        str(heads.DensityAdaptiveAttention(3, -1, "2c2", "free")): "axis=-1, exponent='2c2', sign='free'",
        str(
            heads.MultiHeadDensityAdaptiveAttention(6, 3, 2, axis=0)
        ): "heads=2, axis=0, exponent='2c', sign=",
        str(heads.MixtureOfDensities(6, 3, 2, 5, "clamped")): "gaussians=5, normalisation='clamped', axis=-2",
        str(heads.SelectedMixtureOfDensities(6, 3, axis=1)): "axis=1",
        str(heads.GroupedQueryAttention(12, 6, 2, "summed")): "key_value_heads=2, grouped_queries='summed'",
        str(heads.LayerSelfAttention(3, 4, attention_axis="batch")): "heads=4, attention_axis='batch'",
        str(heads.LowRankSelfAttention(3, 4, rank=2, alpha=3.0)): "rank=2, alpha=3.0",
        str(heads.SoftmaxLayerWeights(3, 4)): "layers=3, features=4",
        str(heads.ConvolutionalDecoder(3, 8, 2, 5)): "grid=2x4",
    }
    for text, part in shown.items():
        assert part in text
