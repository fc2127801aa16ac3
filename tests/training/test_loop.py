import numpy as np
import pytest
import torch

from daam_bench.config import Protocol, TrainingConfig
from daam_bench.heads import build_model
from daam_bench.records import EpochRecord
from daam_bench.training.folds import hold_out
from daam_bench.training.optimization import build_optimizer, selection_score
from daam_bench.training.replica import Split
from daam_bench.training.together import train_replica

LAYERS, FEATURES, CLASSES, CHANNELS = 6, 24, 3, 5


def task(samples=120):
    """Return separable data: the class is the largest of three features of one layer."""
    generator = torch.Generator().manual_seed(1)
    embeddings = torch.randn(samples, LAYERS, FEATURES, generator=generator)
    labels = embeddings[:, 2, :CLASSES].argmax(dim=1)
    embeddings[:, 2, :CLASSES] *= 3
    return embeddings, labels


def train(select="inner", epochs=3, seed=0, variant="daam_v1", **switches):
    embeddings, labels = task()
    rows = np.arange(100)
    names = [str(row) for row in range(len(labels))]
    fitted, held_out = hold_out(rows, labels.numpy(), names, names, 0.2, 0)
    split = Split(fitted, held_out if select == "inner" else None, np.arange(100, 120))
    protocol = Protocol.model_validate({"select": select, "weight_decay": 0.0, **switches})
    training = TrainingConfig(
        epochs=epochs, batch_size=10, learning_rate=3e-3, precision="float32", decoder_channels=CHANNELS
    )
    torch.manual_seed(seed)
    model = build_model(variant, LAYERS, FEATURES, CLASSES, protocol, decoder_channels=CHANNELS)
    return train_replica(model, embeddings, labels, split, training, protocol, (seed, 0)), embeddings, labels


def test_training_learns():
    outcome, _, _ = train(epochs=25)
    assert outcome.epochs[-1].train_loss < 0.5 * outcome.epochs[0].train_loss
    assert max(e.validation_score for e in outcome.epochs) > 0.6


def test_equal_seeds_give_equal_replicas_and_others_differ():
    first, again, other = (train(seed=seed)[0] for seed in (0, 0, 1))
    assert first.epochs == again.epochs
    assert first.epochs != other.epochs
    for left, right in zip(first.model.parameters(), again.model.parameters(), strict=True):
        torch.testing.assert_close(left, right, rtol=0, atol=0)


def test_predictions_are_those_of_the_selected_epoch():
    outcome, _, labels = train(epochs=7)
    inner = [e.inner_score for e in outcome.epochs]
    assert outcome.selected_epoch == 1 + inner.index(max(inner))
    accuracy = (outcome.predictions == labels[100:120]).double().mean()
    assert accuracy == pytest.approx(outcome.epochs[outcome.selected_epoch - 1].validation_score)


def test_last_selects_the_last_epoch():
    assert train("last", epochs=4)[0].selected_epoch == 4


@pytest.mark.parametrize(("select", "score"), [("inner", 0.2), ("last", 7.0), ("best_validation", 0.9)])
def test_selection_score(select, score):
    record = EpochRecord(epoch=7, learning_rate=1, train_loss=1, validation_score=0.9, inner_score=0.2)
    assert selection_score(record, Protocol.model_validate({"select": select})) == score


def test_plateau_divides_the_learning_rate_by_ten():
    outcome, _, _ = train("last", epochs=26, schedule="plateau")
    rates = [e.learning_rate for e in outcome.epochs]
    assert rates[0] == pytest.approx(3e-3)
    assert rates[-1] == pytest.approx(rates[0] / 10)


def test_lora_plus_gives_only_b_a_higher_rate():
    protocol, training = Protocol.model_validate("corrected"), TrainingConfig(learning_rate=1e-3)
    model = build_model("lora_plus_r4", LAYERS, FEATURES, CLASSES, protocol, decoder_channels=CHANNELS)
    slow, fast = build_optimizer(model, training, protocol, lora_plus=True).param_groups
    assert fast["lr"] == pytest.approx(2.828e-3)
    assert sorted(tuple(p.shape) for p in fast["params"]) == [(FEATURES, 4)] * 2
    trainable = sum(p.requires_grad for p in model.parameters())
    assert len(slow["params"]) + len(fast["params"]) == trainable


def test_optimiser_follows_the_protocol():
    model = build_model(
        "mha", LAYERS, FEATURES, CLASSES, Protocol.model_validate("paper"), decoder_channels=CHANNELS
    )
    for name, kind, decay in (("paper", torch.optim.Adam, 0.1), ("released", torch.optim.AdamW, 0.01)):
        optimizer = build_optimizer(model, TrainingConfig(), Protocol.model_validate(name))
        assert type(optimizer) is kind
        assert optimizer.param_groups[0]["weight_decay"] == decay
