import math

import numpy as np
import pytest
import torch
from scipy import stats
from torch import nn

from daam_bench.config import PROTOCOLS, Protocol
from daam_bench.heads import VARIANTS, build_model
from daam_bench.heads.density import MultiHeadDensityAdaptiveAttention
from daam_bench.heads.mixture import MixtureOfDensities
from daam_bench.training.entropy import SAMPLES, gaussian_entropy, measure_entropies, share_entropy, some_rows

LAYERS, FEATURES = 6, 11
KINDS = {
    "mha": {"softmax"},
    "gqa": {"softmax"},
    "softmax_sum": {"softmax"},
    "daam_v1": {"gaussian", "density"},
    "gqdaam": {"gaussian", "density", "softmax"},
    "mixture": {"gaussian", "density"},
    "mixture_selected": {"density"},
}


def embeddings(samples=41):
    return torch.randn(samples, LAYERS, FEATURES, generator=torch.Generator().manual_seed(3))


def of_kind(records, kind):
    return [record for record in records if record.kind == kind]


def test_a_product_of_gaussians_has_the_entropy_of_the_gaussian_that_it_is():
    found = gaussian_entropy(torch.tensor([[4.0, 4.0], [1.0, 0.25]]))
    assert found.tolist() == pytest.approx(
        [stats.norm(0, 2**0.5).entropy(), stats.norm(0, 0.2**0.5).entropy()]
    )


def test_shares_have_entropies_from_zero_to_the_logarithm_of_their_number():
    found = share_entropy(torch.tensor([[1.0, 0.0, 0.0], [1 / 3, 1 / 3, 1 / 3], [0.5, 0.5, 0.0]]))
    assert found.tolist() == pytest.approx([0, math.log(3), math.log(2)])


@pytest.mark.parametrize(("exponent", "variance"), [("2c", 3.0), ("2c2", 9.0)])
def test_the_gaussian_of_a_density_head_has_the_variance_of_its_exponent(exponent, variance):
    attention = MultiHeadDensityAdaptiveAttention(LAYERS, FEATURES, 2, exponent)
    attention.scaled_variance.data[0] = 3.0
    first, second = of_kind(measure_entropies(attention, embeddings(), 8, has_density=True), "gaussian")
    assert first.mean == pytest.approx(stats.norm(0, variance**0.5).entropy())
    assert second.mean == pytest.approx(stats.norm(0, (2.0 if exponent == "2c" else 4.0) ** 0.5).entropy())
    assert first.maximum is None


def test_a_negative_variance_is_no_gaussian():
    attention = MultiHeadDensityAdaptiveAttention(LAYERS, FEATURES, 2, sign="free")
    attention.scaled_variance.data[0] = -1.0
    attention.scaled_variance.data[1, 0] = -1.0
    (only,) = of_kind(measure_entropies(attention, embeddings(), 8, has_density=True), "gaussian")
    assert only.head == 1
    assert only.mean == pytest.approx(stats.norm(0, 2**0.5).entropy())


def test_a_mixture_multiplies_its_gaussians():
    attention = MixtureOfDensities(LAYERS, FEATURES, heads=3, gaussians=4)
    attention.spread.data[:] = 2.0
    found = of_kind(measure_entropies(attention, embeddings(), 8, has_density=True), "gaussian")
    assert [r.mean for r in found] == pytest.approx([stats.norm(0, 1).entropy()] * 3)


def test_a_flat_density_is_broad_and_a_narrow_one_focused():
    attention = MultiHeadDensityAdaptiveAttention(LAYERS, FEATURES, 2)
    attention.scaled_variance.data[0] = 1e9
    attention.scaled_variance.data[1] = 1e-4
    flat, narrow = of_kind(measure_entropies(attention, embeddings(), 8, has_density=True), "density")
    assert flat.maximum == pytest.approx(math.log(3))
    assert flat.low == pytest.approx(math.log(3))
    assert narrow.mean < 0.1


@pytest.mark.parametrize("protocol", list(PROTOCOLS))
@pytest.mark.parametrize("variant", list(VARIANTS))
def test_every_variant_says_how_broadly_it_attends(variant, protocol):
    torch.manual_seed(0)
    model = build_model(variant, LAYERS, FEATURES, 3, Protocol.model_validate(protocol), decoder_channels=2)
    found = measure_entropies(model.attention, embeddings(), 8, VARIANTS[variant].has_density)
    kinds = {record.kind for record in found}
    assert kinds == KINDS.get(variant, kinds)
    assert kinds
    for record in found:
        assert record.low <= record.high
        if record.maximum is not None:
            assert record.low >= -1e-6
            assert record.high <= record.maximum + 1e-6


@pytest.mark.parametrize(("samples", "size", "positions"), [(37, 8, 8), (5, 8, 5)])
def test_samples_that_attend_to_each_other_do_so_in_whole_batches(samples, size, positions):
    protocol = Protocol.model_validate("released")
    attention = build_model("mha", LAYERS, FEATURES, 3, protocol, decoder_channels=2).attention
    found = measure_entropies(attention, embeddings(samples), size, has_density=False)
    assert {record.maximum for record in found} == {math.log(positions)}


def test_softmax_weights_are_those_that_the_forward_pass_uses():
    torch.manual_seed(1)
    for protocol in map(Protocol.model_validate, ("paper", "released")):
        attention = build_model("gqa", LAYERS, FEATURES, 3, protocol, decoder_channels=2).attention.eval()
        x = embeddings(7)
        inner, z = attention.attention, attention.projection(x)
        value = inner._split(inner.value(z), inner.key_value_heads)
        weights = inner.attention_weights(z)
        value = value.repeat_interleave(weights.shape[1] // value.shape[1], dim=1)
        by_hand = inner.output(inner.norm((weights @ value).transpose(1, 2).flatten(2)))
        torch.testing.assert_close(by_hand, inner(z), rtol=1e-4, atol=1e-5)


def test_many_validation_samples_are_thinned_evenly():
    rows = np.arange(100, 100 + 3 * SAMPLES)
    few = some_rows(rows)
    assert (len(few), few[0], few[-1]) == (SAMPLES, rows[0], rows[-1])
    assert set(np.diff(few)) <= {2, 3, 4}
    assert some_rows(rows[:7]).tolist() == rows[:7].tolist()


def test_a_module_that_shows_nothing_has_no_entropy():
    assert measure_entropies(nn.Identity(), embeddings(), 8, has_density=False) == []
