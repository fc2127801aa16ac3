"""Replicas that train together equal solo runs, whoever trains beside them and wherever values lie."""

import copy

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from training.plain_loop import train_plainly

from daam_bench.cache.stream import RowReader
from daam_bench.config import Protocol, TrainingConfig
from daam_bench.heads import build_model
from daam_bench.heads.presets import VARIANTS
from daam_bench.training.batched import BatchedReplicas, batch_replicas
from daam_bench.training.checkpoint import load_checkpoint, save_checkpoint
from daam_bench.training.optimization import build_optimizer
from daam_bench.training.order import deal_buffers
from daam_bench.training.prediction import evaluation_batch
from daam_bench.training.replica import Replica, Split, set_noise, state_of_noise
from daam_bench.training.source import Buffer, ResidentSource, StreamingSource
from daam_bench.training.together import train_together

SAMPLES, LAYERS, FEATURES, CLASSES = 113, 6, 24, 3
ROW_BYTES = LAYERS * FEATURES * 4
# One row a run, 23 rows a buffer.
SMALL = 23 * 2**18


class Array(RowReader):
    """A reader of rows that lie in memory."""

    def __init__(self, values):
        self.values = values

    def read_once(self, rows):
        return self.values[rows].numpy()


def values():
    return torch.randn(SAMPLES, LAYERS, FEATURES, generator=torch.Generator().manual_seed(1))


def labels():
    return values()[:, 2, :CLASSES].argmax(dim=1)


def replica(variant="daam_v1", seed=0, fold=0, epochs=3, precision="float32", **switches):
    switches = {"weight_decay": 0.01, **switches}
    protocol = Protocol.model_validate(switches)
    training = TrainingConfig(
        epochs=epochs, batch_size=8, learning_rate=3e-3, precision=precision, decoder_channels=5
    )
    rows = np.arange(SAMPLES)
    validation = rows[fold::5]
    others = np.setdiff1d(rows, validation)
    inner = protocol.select == "inner"
    split = Split(others[10:] if inner else others, others[:10] if inner else None, validation)
    torch.manual_seed(seed)
    model = build_model(variant, LAYERS, FEATURES, CLASSES, protocol, decoder_channels=5)
    return Replica(model, labels(), split, training, protocol, (seed, fold))


def source(kind, buffer_bytes=SMALL):
    row_bytes = 2**18  # as if rows were long: a run is one row
    if kind == "resident":
        return ResidentSource(values(), row_bytes, buffer_bytes)
    device = torch.device("cpu")
    return StreamingSource(Array(values()), np.arange(SAMPLES), row_bytes, buffer_bytes, device)


def train(kind, *replicas, buffer_bytes=SMALL):
    where = source(kind, buffer_bytes)
    train_together(replicas, where)
    return [each.outcome() for each in replicas], where


def assert_equal(left, right):
    """Equal bit for bit, but for an evaluation's loss: how many samples it takes at once decides kernels."""
    for a, b in zip(left.epochs, right.epochs, strict=True):
        assert a.validation_loss == pytest.approx(b.validation_loss, rel=1e-6)
        assert a.model_copy(update={"validation_loss": 0.0}) == b.model_copy(update={"validation_loss": 0.0})
    assert left.selected_epoch == right.selected_epoch
    assert torch.equal(left.predictions, right.predictions)
    for a, b in zip(left.model.state_dict().values(), right.model.state_dict().values(), strict=True):
        assert torch.equal(a, b)


@pytest.mark.parametrize("variant", VARIANTS)
def test_a_replica_in_company_equals_one_alone_bit_for_bit(variant):
    places = [(0, 0), (0, 3), (7, 0)]
    together, _ = train("streaming", *(replica(variant, *place) for place in places))
    for place, found in zip(places, together, strict=True):
        (alone,), _ = train("resident", replica(variant, *place))
        assert_equal(found, alone)


@pytest.mark.parametrize("select", ["inner", "best_validation"])
def test_samples_that_attend_to_each_other_do_so_in_the_same_batches_wherever_values_lie(select):
    """D2: neither memory nor company may decide who is in a batch of validation."""
    switches = {"attention_axis": "batch", "select": select}
    places = [(0, 0), (0, 3), (7, 0)]
    together, _ = train("streaming", *(replica("mha", *place, **switches) for place in places))
    for place, found in zip(places, together, strict=True):
        (alone,), _ = train("resident", replica("mha", *place, **switches))
        assert_equal(found, alone)


def assert_steps_at_once_equal_solo_runs(made, kind):
    """Folds of 80 and 81 samples: the last batches of an epoch are of some replicas alone."""
    places = [(0, 0), (0, 2), (0, 3), (7, 0), (7, 4)]
    assert batch_replicas([made(*place) for place in places], source(kind)) is not None
    together = [made(*place) for place in places]
    train_together(together, source(kind), at_once=True)
    for place, one in zip(places, together, strict=True):
        (alone,), _ = train("resident", made(*place))
        found = one.outcome()
        assert torch.equal(found.predictions, alone.predictions)
        assert found.epochs[0].train_loss == pytest.approx(alone.epochs[0].train_loss, rel=1e-6)
        assert found.epochs[0].validation_loss == pytest.approx(alone.epochs[0].validation_loss, rel=1e-6)


@pytest.mark.parametrize("variant", ["daam_v1", "mha_bn", "mixture_selected", "softmax_sum"])
def test_replicas_that_step_at_once_equal_solo_runs(variant):
    assert_steps_at_once_equal_solo_runs(lambda *place: replica(variant, *place, epochs=1), "resident")


@pytest.mark.parametrize("kind", ["resident", "streaming"])
@pytest.mark.parametrize("variant", VARIANTS)
def test_every_variant_can_step_at_once(variant, kind, monkeypatch):
    # In float64: a unit of this small decoder at the edge of its ReLU makes much of float32's last bits.
    take = Buffer.take
    monkeypatch.setattr(Buffer, "take", lambda *arguments: take(*arguments).double())

    def made(*place):
        found = replica(variant, *place, epochs=1)
        found.model.double()
        return found

    assert_steps_at_once_equal_solo_runs(made, kind)


@pytest.mark.parametrize(
    "switches", [{"schedule": "plateau"}, {"optimizer": "adamw"}, {"attention_axis": "batch"}], ids=str
)
@pytest.mark.parametrize("variant", ["mha_bn", "lora_plus_r4"])
def test_switches_hold_for_replicas_that_step_at_once(variant, switches, tmp_path):
    made = [replica(variant, seed, epochs=2, **switches) for seed in (0, 1)]

    def after():
        for each in made:
            save_checkpoint(tmp_path / "one", "key", each)
        resumed = replica(variant, 1, epochs=2, **switches)
        assert load_checkpoint(tmp_path / "one", "key", resumed)
        assert_state_equal(resumed, made[1])

    train_together(made, source("resident"), after, at_once=True)
    (alone,), _ = train("resident", replica(variant, 1, epochs=2, **switches))
    assert made[1].outcome().epochs[1].train_loss == pytest.approx(alone.epochs[1].train_loss, rel=1e-5)


def assert_state_equal(left, right):
    mine, other = left.optimizer.state_dict()["state"], right.optimizer.state_dict()["state"]
    assert mine.keys() == other.keys()
    assert mine
    for key, moments in mine.items():
        for name, value in moments.items():
            assert torch.equal(value, other[key][name])


def test_fewer_replicas_step_at_once_where_memory_ends(monkeypatch, caplog):
    made = [replica("mha_bn", seed, epochs=2) for seed in range(5)]
    plain, sizes = BatchedReplicas._losses, []

    def short_of_memory(self, places, values, labels):
        found = plain(self, places, values, labels)
        if torch.is_grad_enabled():
            sizes.append(len(places))
            if len(places) > 2:
                raise torch.OutOfMemoryError
        return found

    monkeypatch.setattr(BatchedReplicas, "_losses", short_of_memory)
    train_together(made, source("resident"), at_once=True)
    assert sizes[:4] == [5, 2, 2, 1]
    assert max(sizes[1:]) == 2
    assert "2 replicas at once" in caplog.text
    for seed, found in enumerate(made):
        alone = replica("mha_bn", seed, epochs=2)
        train_together([alone], source("resident"))
        assert found.epochs[1].train_loss == pytest.approx(alone.epochs[1].train_loss, rel=1e-5)
        # Batches that were taken again count once in the statistics of batch normalisation.
        for name, value in alone.model.named_buffers():
            mine = dict(found.model.named_buffers())[name]
            torch.testing.assert_close(mine, value, rtol=1e-4, atol=1e-6)


def test_replicas_that_draw_noise_train_one_after_another(caplog):
    def noisy(seed):
        made = replica(seed=seed)
        made.model.attention = torch.nn.Sequential(made.model.attention, torch.nn.Dropout(0.1))
        return made

    made = [noisy(seed) for seed in (0, 1)]
    train_together(made, source("resident"), at_once=True)
    assert "one after another" in caplog.text
    for seed, found in enumerate(made):
        (alone,), _ = train("resident", noisy(seed))
        assert found.epochs == alone.epochs


@pytest.mark.parametrize(
    "switches",
    [{"schedule": "plateau"}, {"select": "last"}, {"select": "best_validation"}, {"optimizer": "adamw"}],
    ids=str,
)
def test_protocols_stream_as_they_do_in_memory(switches):
    (streamed,), _ = train("streaming", replica(**switches))
    (resident,), _ = train("resident", replica(**switches))
    assert_equal(streamed, resident)


@pytest.mark.parametrize("variant", ["daam_v1", "mha_bn", "mixture_selected", "gqdaam"])
def test_training_equals_the_plain_loop(variant):
    made = replica(variant, select="last", epochs=4)
    model, noise = copy.deepcopy(made.model), made.noise
    optimizer = build_optimizer(model, made.training, made.protocol)
    (found,), _ = train("resident", made, buffer_bytes=2**40)
    rows = made.split
    losses, accuracies, states = train_plainly(
        model, values(), labels(), rows.fitted, rows.validation, made.training, optimizer, (0, 0), noise
    )
    assert [e.train_loss for e in found.epochs] == pytest.approx(losses, rel=1e-6)
    assert [e.validation_score for e in found.epochs] == pytest.approx(accuracies)
    for name, value in found.model.state_dict().items():
        torch.testing.assert_close(value, states[-1][name], rtol=1e-5, atol=1e-6)


def test_a_stream_is_read_about_once_an_epoch_however_many_replicas():
    replicas = [replica(seed=seed, fold=fold, epochs=4) for seed in range(2) for fold in range(5)]
    _, where = train("streaming", *replicas)
    cache = SAMPLES * ROW_BYTES
    # Four epochs and the last one's scores, of rows that every fold needs.
    assert where.bytes_read <= 5 * cache
    assert where.bytes_read > 4 * cache


@given(st.integers(1, 3000), st.integers(1, 2**19), st.integers(1, 2**28), st.integers(1, 9))
def test_every_row_is_in_one_buffer_of_an_epoch(samples, row_bytes, buffer_bytes, epoch):
    buffers = deal_buffers(samples, row_bytes, buffer_bytes, epoch)
    assert np.array_equal(np.sort(np.concatenate(buffers)), np.arange(samples))
    for rows in buffers:
        assert (np.diff(rows) > 0).all()
        assert len(rows) <= max(1, buffer_bytes // row_bytes, 2**18 // row_bytes)


def test_batches_of_a_sorted_cache_are_as_mixed_as_a_full_shuffle():
    row_bytes, samples = 49152, 24_000  # 24 x 1024 in float16
    classes = np.arange(samples) * 10 // samples
    buffers = deal_buffers(samples, row_bytes, 2**28, 1)
    assert len(buffers) > 3
    rng = np.random.default_rng(0)

    def entropy(order):
        shares = [np.bincount(classes[part], minlength=10) / 32 for part in order.reshape(-1, 32)]
        return np.mean([-(s[s > 0] * np.log(s[s > 0])).sum() for s in shares])

    ours = np.concatenate([rng.permutation(rows) for rows in buffers])
    assert entropy(ours) == pytest.approx(entropy(rng.permutation(samples)), rel=0.01)


@pytest.mark.parametrize("layers, features, expected", [(24, 1024, 512), (40, 5120, 81), (4096, 8192, 1)])
def test_fewer_large_samples_are_evaluated_at_once(layers, features, expected):
    values = torch.empty(3, layers, features, device="meta")
    assert evaluation_batch(Buffer(0, np.arange(3), values, torch.device("cpu"))) == expected


def test_noise_is_that_of_the_processor_and_of_the_gpu(monkeypatch):
    gpu = {"state": torch.arange(3, dtype=torch.uint8)}
    monkeypatch.setattr(torch.cuda, "get_rng_state", lambda _: gpu["state"])
    monkeypatch.setattr(torch.cuda, "set_rng_state", lambda state, _: gpu.update(state=state))
    device = torch.device("cuda")
    kept, expected = state_of_noise(device), torch.rand(5)
    gpu["state"] = torch.zeros(3, dtype=torch.uint8)
    set_noise(kept, device)
    assert torch.equal(torch.rand(5), expected)
    assert gpu["state"].tolist() == [0, 1, 2]
