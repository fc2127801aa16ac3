"""The softmax-weighted sum of layers with its linear decoder."""

import torch

from daam_bench.config import PROTOCOLS, Protocol
from daam_bench.heads import (
    LinearDecoder,
    ParameterCounts,
    SoftmaxLayerWeights,
    build_model,
    parameter_counts,
)

CORRECTED = Protocol.model_validate("corrected")


def test_two_layers_by_hand() -> None:
    model = build_model("softmax_sum", 2, 3, 1, CORRECTED)
    with torch.no_grad():
        model.attention.score.copy_(torch.tensor([0.0, 3.0]).log1p())  # type: ignore[union-attr,operator]
        model.decoder.classifier.weight.copy_(torch.tensor([[1.0, 10.0, 100.0]]))
        model.decoder.classifier.bias.fill_(0.5)
    # Weights 1/5 and 4/5: features 0.2 * 5 + 0.8 * 10 = 9, 4, 0.
    x = torch.tensor([[[5.0, 20.0, 0.0], [10.0, 0.0, 0.0]]])
    torch.testing.assert_close(model(x), torch.tensor([[9.0 + 40.0 + 0.5]]))


def test_layers_start_equal() -> None:
    attention = SoftmaxLayerWeights(7, 3)
    torch.testing.assert_close(attention.weights(), torch.full((7,), 1 / 7))


def test_a_mask_shares_the_weight_among_the_real_layers() -> None:
    attention = SoftmaxLayerWeights(5, 3)
    torch.nn.init.normal_(attention.score)
    mask = torch.tensor([[True, True, False, True, False], [False] * 5])
    score = attention.score.exp()
    weights = attention.weights(mask)
    torch.testing.assert_close(weights[0], score * mask[0] / (score * mask[0]).sum())
    assert weights[1].eq(0).all()


def test_the_sum_does_not_know_the_order_of_features_or_the_size_of_the_grid() -> None:
    decoder = LinearDecoder(11, 3)
    x = torch.randn(5, 4, 11)
    torch.testing.assert_close(decoder(x), decoder.classifier(x[:, 0] + x[:, 1] + x[:, 2] + x[:, 3]))


def test_exact_counts_whatever_the_protocol() -> None:
    for name in PROTOCOLS:
        counts = parameter_counts("softmax_sum", 24, 1024, 4, Protocol.model_validate(name))
        assert counts == ParameterCounts(24, 24, 24 + 1024 * 4 + 4)


def test_double_precision_is_kept() -> None:
    attention = SoftmaxLayerWeights(3, 1).double()
    with torch.no_grad():
        attention.score.copy_(torch.tensor([0.0, 0.1, 0.3], dtype=torch.float64))
    share = attention.score.exp() / attention.score.exp().sum()
    x = torch.ones(1, 3, 1, dtype=torch.float64)
    torch.testing.assert_close(attention(x)[0, :, 0], share, rtol=1e-14, atol=0)
    torch.testing.assert_close(attention.attention_weights(x).flatten(), share, rtol=1e-14, atol=0)
