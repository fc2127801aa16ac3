"""The mixture that learns how many Gaussians it needs."""

import math

import numpy as np
import pytest
import torch
from torch import Tensor

from daam_bench.config import Protocol, TrainingConfig
from daam_bench.heads import SelectedMixtureOfDensities, build_model, parameter_counts
from daam_bench.training.replica import Split
from daam_bench.training.together import train_replica

CORRECTED = Protocol.model_validate("corrected")


def with_gates(layers: int, gates: list[list[float]]) -> SelectedMixtureOfDensities:
    """A mixture of gates that are given, 0 meaning well closed, and random Gaussians."""
    torch.manual_seed(0)
    mixture = SelectedMixtureOfDensities(layers, 5, len(gates), len(gates[0]))
    with torch.no_grad():
        values = torch.tensor(gates)
        mixture.gate_score.copy_(torch.where(values > 0, 0.1 * (values + 0.1), -1.0))
        mixture.mean_offset.normal_()
        mixture.spread.uniform_(0.3, 2.0)
    return mixture


def literal(mixture: SelectedMixtureOfDensities, gates: list[list[float]], x: Tensor) -> Tensor:
    """The equations as written, without logarithms."""
    parts = []
    for head, part in enumerate(x.chunk(len(gates), dim=1)):
        u = (part - part.mean(1, keepdim=True)) / (part.var(1, keepdim=True) + 1e-8).sqrt()
        p, missing = torch.zeros_like(part), 1.0
        for gate, m, c in zip(gates[head], mixture.mean_offset[head], mixture.spread[head], strict=True):
            p = p + gate * torch.exp(-((u - m) ** 2) / (2 * c**2)) / c
            missing *= 1 - gate
        parts.append((1 - missing) * p / p.sum(1, keepdim=True).clamp_min(1e-30))
    return torch.cat(parts, dim=1)


def test_equals_its_equations() -> None:
    gates = [[1.0, 0.5, 0.0], [0.2, 0.0, 0.0]]
    mixture, x = with_gates(6, gates), torch.randn(4, 6, 5)
    torch.testing.assert_close(mixture.gates(), torch.tensor(gates))
    torch.testing.assert_close(mixture.density(x), literal(mixture, gates, x))
    torch.testing.assert_close(mixture(x), x * literal(mixture, gates, x) + x)


def test_density_sums_to_the_strength_of_its_head() -> None:
    mixture = with_gates(6, [[0.5, 0.5], [0.25, 0.0]])
    sums = mixture.density(torch.randn(4, 6, 5)).unflatten(1, (2, 3)).sum(2)
    torch.testing.assert_close(sums, torch.tensor([0.75, 0.25])[:, None].expand(4, 2, 5))


def test_a_pruned_gaussian_is_as_if_it_had_never_been() -> None:
    three, x = with_gates(4, [[1.0, 0.0, 0.7]]), torch.randn(4, 4, 5)
    two = with_gates(4, [[1.0, 0.7]])
    kept = torch.tensor([0, 2])
    with torch.no_grad():
        two.mean_offset.copy_(three.mean_offset[:, kept])
        two.spread.copy_(three.spread[:, kept])
    torch.testing.assert_close(three(x), two(x))


def test_a_head_without_gaussians_passes_its_layers_through_with_finite_gradients() -> None:
    mixture, x = with_gates(6, [[0.0, 0.0], [1.0, 0.5]]), torch.randn(4, 6, 5)
    output = mixture(x)
    assert torch.equal(output[:, :3], x[:, :3]) and not torch.equal(output[:, 3:], x[:, 3:])
    output.square().sum().backward()
    for parameter in mixture.parameters():
        assert parameter.grad is not None and parameter.grad.isfinite().all()
        assert parameter.grad[0].eq(0).all()


def test_what_was_chosen_can_be_told() -> None:
    mixture = with_gates(6, [[0.0, 0.0, 0.0], [1.0, 0.5, 0.0]])
    assert mixture.gaussians_per_head() == [0, 2]
    assert mixture.note() == ("Gaussians kept: 2 of 6, by their gates 1.5; heads kept: 1 of 2; per head: 0 2")


def test_penalty_is_the_information_criterion_s() -> None:
    # Two Gaussians, three parameters each: k ln n / (2 n) = 6 ln(100) / 200.
    mixture = with_gates(6, [[1.0, 1.0, 0.0]])
    assert mixture.penalty(100).item() == pytest.approx(6 * math.log(100) / 200)


def test_two_separate_peaks_which_a_product_cannot_have() -> None:
    mixture = SelectedMixtureOfDensities(3, 1, 1, 2)
    with torch.no_grad():
        mixture.mean_offset.copy_(torch.tensor([[-1.0, 1.0]]))
        mixture.spread.fill_(0.2)
    density = mixture.density(torch.tensor([[[1.0], [2.0], [3.0]]])).flatten()
    assert density[0] > 100 * density[1] and density[2] > 100 * density[1]


def test_counts_are_exact() -> None:
    for layers, heads in ((24, 8), (40, 8), (6, 3), (13, 1)):
        assert parameter_counts("mixture_selected", layers, 7, 4, CORRECTED).attention == 3 * 4 * heads


def train(seed: int) -> list[int]:
    """Train the whole classifier on separable data; return the Gaussians kept of one head's four."""
    generator = torch.Generator().manual_seed(5 + seed)
    x = torch.randn(240, 5, 6, generator=generator)
    labels = torch.randint(0, 2, (240,), generator=generator)
    x[:, 0] += 4.0 * labels[:, None] - 2.0
    split = Split(np.arange(200), None, np.arange(200, 240))
    training = TrainingConfig(epochs=12, batch_size=20, learning_rate=3e-3, precision="float32")
    protocol = Protocol.model_validate({"select": "last", "weight_decay": 0.0})
    torch.manual_seed(seed)
    model = build_model("mixture_selected", 5, 6, 2, protocol, decoder_channels=4)
    outcome = train_replica(model, x, labels, split, training, protocol, (seed, 0))
    assert outcome.epochs[-1].train_loss < 0.05
    assert isinstance(model.attention, SelectedMixtureOfDensities)
    return model.attention.gaussians_per_head()


@pytest.mark.parametrize("seed", [0, 1])
def test_training_pays_the_penalty(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    # The skip connection alone solves this task: what the loss leaves open, the penalty closes.
    assert train(seed) == [0]
    monkeypatch.setattr(SelectedMixtureOfDensities, "penalty", lambda *_: torch.zeros(()))
    assert train(seed)[0] > 0


@pytest.mark.parametrize(
    ("teacher", "fewest", "most"), [([[1.0]], 1, 3), ([[0.0]], 0, 0)], ids=["one", "none"]
)
def test_a_gaussian_that_is_needed_survives_the_penalty(
    teacher: list[list[float]], fewest: int, most: int
) -> None:
    wanted, learner = with_gates(5, teacher), SelectedMixtureOfDensities(5, 5, 1, 4)
    x = 3 * torch.randn(200, 5, 5, generator=torch.Generator().manual_seed(1))
    target = wanted(x).detach()
    optimizer = torch.optim.Adam(learner.parameters(), lr=3e-3)
    for _ in range(300):
        optimizer.zero_grad()
        loss = (learner(x) - target).square().mean() + learner.penalty(200)
        loss.backward()
        optimizer.step()
    assert fewest <= learner.gaussians_per_head()[0] <= most
