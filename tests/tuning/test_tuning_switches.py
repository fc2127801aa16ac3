"""D8, D9 and D11: each changes what it should, and nothing else."""

import numpy as np
import pandas as pd
import pytest
import torch
from encoders.conftest import model_folder
from tuning.conftest import QUIET

from daam_bench.adapters.presets import ENCODER_VARIANTS, find_encoder_variant
from daam_bench.cache.reader import open_cache
from daam_bench.config import Protocol
from daam_bench.errors import ConfigError
from daam_bench.training.bench import bench_of, usable_rows
from daam_bench.training.job import places_of
from daam_bench.tuning.model import ClassificationHead
from daam_bench.tuning.optimization import freeze_head
from daam_bench.tuning.run import run_tuning
from daam_bench.tuning.samples import RowSource
from daam_bench.tuning.session import open_session

__all__ = ["model_folder"]  # a fixture
AS_RELEASED = {"encoder_lora_classifier": "as_released"}


def session_of(work, spec):
    cache, device = open_cache(work.cache), torch.device("cpu")
    bench = bench_of(cache, spec.folds, device, RowSource(len(usable_rows(cache)), device))
    return open_session(spec, bench, pd.read_parquet(work.samples))


def replica_of(work, spec):
    session = session_of(work, spec)
    return session.replica(places_of(spec, session.bench)[0])


def trained(work, spec):
    """Return the trained replica of the first fold, and its state before."""
    replica = replica_of(work, spec)
    before = {name: value.clone() for name, value in replica.model.state_dict().items()}
    (buffer,) = RowSource(13, torch.device("cpu")).epoch(1)
    replica.train_on(buffer, 1)
    return replica, before


def changed(replica, before):
    return {
        name for name, value in replica.model.state_dict().items() if not torch.equal(value, before[name])
    }


@pytest.mark.parametrize(
    ("targets", "names"), [("query_key", {"query", "key"}), ("query_value", {"query", "value"})]
)
def test_d8_targets(work_of, targets, names):
    work = work_of("bert")
    session = session_of(work, work.spec(protocol={"encoder_lora_targets": targets}))
    assert {factor.module.rpartition(".")[2] for factor in session.adapters.factors()} == names


@pytest.mark.parametrize(
    ("variant", "scale", "expected"),
    [
        ("encoder_lora_r4", "alpha_over_r", 4),
        ("encoder_lora_r8", "alpha_over_r", 2),
        ("encoder_lora_r8", "alpha", 16),
    ],
)
def test_d8_scale_multiplies_the_update(work_of, variant, scale, expected):
    """Update of one weight as the encoder has it, against B A by hand."""
    work = work_of("bert")
    spec = work.spec(variant, {"encoder_lora_scale": scale}, {"injection": "weights"})
    assert spec.scale == expected
    session = session_of(work, spec)
    module, a, b = next(session.adapters.factors())
    with torch.no_grad():
        b.fill_(0.25)
        projection = session.encoder.model.get_submodule(module)
        original = projection.parametrizations.weight.original
        torch.testing.assert_close(
            projection.weight - original, expected * 0.25 * a.sum(dim=0).expand(24, 24)
        )


@pytest.mark.parametrize("variant", sorted(ENCODER_VARIANTS))
@pytest.mark.parametrize(("name", "type_"), [("bert", "bert"), ("llama", "llama"), ("wavlm", "wavlm")])
@pytest.mark.parametrize("switch", ["trained", "as_released"])
def test_d9_what_is_trained_beside_a_and_b(work_of, variant, name, type_, switch):
    work = work_of(name)
    replica, before = trained(work, work.spec(variant, {"encoder_lora_classifier": switch}))
    moved = changed(replica, before)
    assert any("lora_A" in key or "lora_B" in key for key in moved)
    plus, released = find_encoder_variant(variant).lora_plus, switch == "as_released"
    assert ("head.classifier.weight" in moved) == (not released or not (plus or type_ == "llama"))
    assert ("head.projector.weight" in before) == (name == "wavlm")
    assert ("head.projector.weight" in moved) == (name == "wavlm" and not released)
    counts = replica.model.parameter_counts()
    frozen = sum(
        value.numel() for key, value in before.items() if key.startswith("head.") and key not in moved
    )
    assert counts.with_classifier == sum(value.numel() for value in before.values()) - frozen


def test_d9_freezes_nothing_that_it_does_not_name():
    head = ClassificationHead(11, None, 3)
    protocol = Protocol.model_validate(AS_RELEASED)
    freeze_head(head, find_encoder_variant("encoder_lora_r4"), "whisper", protocol)
    assert all(parameter.requires_grad for parameter in head.parameters())


@pytest.mark.parametrize(("name", "batch"), [("wavlm", 1), ("bert", 4), ("beit", 16)])
def test_d11_budget(work_of, name, batch):
    work = work_of(name)
    own = {"epochs": 7, "batch_size": 9, "learning_rate": 3e-3}
    usual, released = (
        work.spec(protocol={"encoder_lora_budget": budget}, tuning=own)
        for budget in ("as_others", "released")
    )
    assert usual.budget == usual.training.model_copy(update=own)
    assert work.spec().budget == work.spec().training
    assert released.budget.batch_size == batch
    text = name == "bert"
    assert (released.budget.epochs, released.budget.learning_rate) == ((1, 1e-6) if text else (7, 3e-3))
    assert released.tuned_encoder.max_length == (128 if text else None)
    assert usual.tuned_encoder == usual.encoder_settings


def test_d11_cuts_no_shorter_than_the_encoder_does(work_of):
    work = work_of("bert")
    spec = work.spec(protocol={"encoder_lora_budget": "released"})
    short = spec.model_copy(
        update={"encoder_settings": spec.encoder_settings.model_copy(update={"max_length": 11})}
    )
    assert short.tuned_encoder.max_length == 11


def test_d11_is_what_the_record_says(work_of, tmp_path):
    work = work_of("bert")
    spec = work.spec(protocol={"encoder_lora_budget": "released"})
    records = run_tuning(spec, work.cache, work.samples, tmp_path, QUIET)
    assert {
        (r.training["epochs"], r.training["batch_size"], r.training["learning_rate"]) for r in records
    } == {(1, 4, 1e-6)}
    assert [len(record.epochs) for record in records] == [1, 1]


def test_d10_reaches_the_encoder(work_of):
    work = work_of("wavlm")
    lengths = []
    for clips in ("masked", "zero_padded"):
        session = session_of(work, work.spec(protocol={"short_clips": clips}))
        lengths.append(len(session.reader.take([0])[0].prepared))
    assert lengths == [2400, 80000]


def test_lora_plus_learns_b_faster_by_the_ratio(work_of):
    """Groups of peft: A and matrices at the rate, B at 3 times it, vectors likewise and without decay."""
    work = work_of("bert")
    spec = work.spec("encoder_lora_plus_r4", {"weight_decay": 0.07}, lora_plus_ratio=3.0, learning_rate=2e-3)
    replica = replica_of(work, spec)
    names = {id(parameter): name for name, parameter in replica.model.named_parameters()}
    found = {
        names[id(p)]: (group["lr"], group["weight_decay"])
        for group in replica.optimizer.param_groups
        for p in group["params"]
    }
    assert found.keys() == set(names.values())
    for name, settings in found.items():
        slow = "lora_A" in name or name == "head.classifier.weight"
        assert settings == (pytest.approx(2e-3 if slow else 6e-3), 0.0 if name.endswith("bias") else 0.07), (
            name
        )
    plain = replica_of(work, work.spec("encoder_lora_r4"))
    assert {group["lr"] for group in plain.optimizer.param_groups} == {1e-2}


@pytest.mark.parametrize(("optimizer", "kind"), [("adam", torch.optim.Adam), ("adamw", torch.optim.AdamW)])
@pytest.mark.parametrize("variant", ["encoder_lora_r4", "encoder_lora_plus_r4"])
def test_d4_is_the_optimiser(work_of, optimizer, kind, variant):
    work = work_of("bert")
    assert type(replica_of(work, work.spec(variant, {"optimizer": optimizer})).optimizer) is kind


def test_a_step_in_parts_is_the_step_on_the_whole_batch(work_of, monkeypatch):
    work = work_of("bert")
    spec = work.spec(batch_size=5)
    whole, _ = trained(work, spec)
    monkeypatch.setattr("daam_bench.tuning.model._POSITIONS_AT_ONCE", 11)
    parts, _ = trained(work, spec)
    assert len(parts.classifier.parts(torch.arange(5))) > 1
    for a, b in zip(whole.model.parameters(), parts.model.parameters(), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-3, atol=1e-5)
        # Of the last full batch; Adam's step hides their size.
        torch.testing.assert_close(a.grad, b.grad, rtol=1e-3, atol=1e-6)
    for replica in (whole, parts):
        replica.end_training(1)
    assert whole.pending[2] == pytest.approx(parts.pending[2], rel=1e-4)


@pytest.mark.parametrize("name", ["bert", "whisper", "wavlm", "wav2vec2_group_norm", "beit"])
def test_logits_do_not_depend_on_the_batch(work_of, name):
    work = work_of(name)
    model = replica_of(work, work.spec()).classifier
    rows = torch.tensor([7, 0, 11, 3, 3])
    with torch.no_grad():
        together = model(rows)
        alone = torch.cat([model(row[None]) for row in rows])
    torch.testing.assert_close(together, alone, rtol=1e-4, atol=1e-5)
    assert len(np.unique(together.numpy().round(6), axis=0)) == 4


def test_unknown_variants_are_named_with_the_nearest():
    with pytest.raises(ConfigError, match="encoder_lora_r4"):
        find_encoder_variant("encoder_lora_r5")
