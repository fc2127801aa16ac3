"""Floating point operations, against counts by hand, and energy."""

import pytest
import torch

from daam_bench.config import Protocol
from daam_bench.heads import build_model
from daam_bench.heads.convolution import unfolded_pair
from daam_bench.training import cost
from daam_bench.training.cost import flops_per_sample

LAYERS, FEATURES, CLASSES, CHANNELS = 6, 24, 3, 5
POSITIONS, TAPS = FEATURES, 9
CONVOLUTIONS = 2 * (2 * POSITIONS * TAPS * LAYERS * CHANNELS)
CLASSIFIER = 2 * LAYERS * FEATURES * CLASSES
PROJECTIONS = 2 * LAYERS * FEATURES * 4 * FEATURES  # query, key, value, output
ATTENTION = 2 * 2 * LAYERS * LAYERS * FEATURES  # every query with every key, then with every value


def count(variant):
    model = build_model(
        variant,
        LAYERS,
        FEATURES,
        CLASSES,
        Protocol.model_validate("corrected"),
        decoder_channels=CHANNELS,
    )
    return model, flops_per_sample(model, torch.randn(2, LAYERS, FEATURES))


def test_a_linear_layer():
    _, (forward, training) = count("softmax_sum")
    # The weights of the layers have no matrix product.
    assert forward == 2 * FEATURES * CLASSES
    # Gradients of the weights, and of the input, which the layer weights need.
    assert training == 3 * forward


def test_convolutions():
    _, (forward, training) = count("daam_v1")
    assert forward == CONVOLUTIONS + CLASSIFIER
    assert training == 3 * forward


def test_attention_written_out():
    _, (forward, training) = count("mha")
    assert forward == PROJECTIONS + ATTENTION + CONVOLUTIONS + CLASSIFIER
    # The samples need no gradient: one product less a projection of query, key and value.
    assert training == 3 * forward - PROJECTIONS * 3 // 4


@pytest.mark.parametrize("variant", ["daam_v1", "mha"])
def test_the_way_of_computing_does_not_matter(variant):
    model, plain = count(variant)
    model.decoder.training_pair = unfolded_pair
    assert flops_per_sample(model, torch.randn(2, LAYERS, FEATURES)) == plain


@pytest.fixture
def counters(tmp_path, monkeypatch):
    """Return the files of two counters of energy, which begin anew at 1 and 2 joules."""
    monkeypatch.setattr(cost, "_COUNTERS", tmp_path)
    for package, largest in enumerate((1_000_000, 2_000_000)):
        folder = tmp_path / f"intel-rapl:{package}"
        folder.mkdir()
        (folder / "max_energy_range_uj").write_text(f"{largest}\n")
        (folder / "energy_uj").write_text("700000\n")
    return sorted(tmp_path.glob("*/energy_uj"))


def test_energy_is_the_sum_of_all_counters_though_one_begins_anew(counters):
    meter = cost.EnergyMeter(torch.device("cpu"))
    counters[0].write_text("200000\n")  # 0.3 up to its end, 0.2 after it
    counters[1].write_text("1100000\n")
    assert meter.joules() == pytest.approx(0.5 + 0.4)


@pytest.mark.parametrize("text", ["", "none\n"])
def test_energy_that_cannot_be_read_is_none(counters, text):
    meter = cost.EnergyMeter(torch.device("cpu"))
    counters[1].write_text(text)
    assert meter.joules() is None


def test_without_counters_there_is_no_energy(monkeypatch, tmp_path):
    monkeypatch.setattr(cost, "_COUNTERS", tmp_path)
    assert cost.EnergyMeter(torch.device("cpu")).joules() is None
