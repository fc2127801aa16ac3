"""A whole job on every architecture: what is trained, what is written, what survives a kill."""

import json

import numpy as np
import pandas as pd
import pytest
import torch
from safetensors.torch import load_file
from tuning.conftest import BAD, MODALITY, QUIET, SAMPLES

from daam_bench.cache.reader import open_cache
from daam_bench.errors import CacheError, ConfigError, EncoderError
from daam_bench.records import COST_FIELDS, FINISHED, read_records
from daam_bench.training.bench import open_bench
from daam_bench.training.job import places_of, split_of
from daam_bench.training.run import run_job
from daam_bench.training.spec import TrainingSpec
from daam_bench.tuning import run as tuning_run
from daam_bench.tuning.run import run_tuning

every_architecture = pytest.mark.parametrize("name", sorted(MODALITY))


def run(work, folder, spec, **options):
    return run_tuning(spec, work.cache, work.samples, folder, QUIET, **options)


def facts_of(records):
    """Return everything of records that must not depend on time or machine."""
    return [record.model_dump(exclude={*COST_FIELDS, "environment"}) for record in records]


@every_architecture
def test_a_job_learns_and_writes_what_the_tables_need(work_of, tmp_path, name):
    work = work_of(name)
    spec = work.spec(epochs=5)
    records = run(work, tmp_path, spec)
    assert [(r.fold, r.seed, r.kind, r.variant) for r in records] == [
        (fold, 0, "encoder_tuning", "encoder_lora_r4") for fold in (0, 1)
    ]
    assert facts_of(read_records(tmp_path)) == facts_of(records)
    for record in records:
        losses = [epoch.train_loss for epoch in record.epochs]
        assert len(losses) == 5 and min(losses) < losses[0]
        # Gradients pass back through the layers, but frozen weights have none of their own.
        assert 0 < 1.2 * record.flops_forward < record.flops_training < 2.7 * record.flops_forward
        assert record.samples_per_second > 0 and record.peak_memory_bytes > 0
        layers, features = record.cache_shape[1:]
        # A and B of two projections of every layer: 2 (r d + d r) each.
        assert record.parameters_attention == record.parameters_with_decoder == layers * 2 * 2 * 4 * features
        assert record.training["rank"] == 4 and record.training["alpha"] == 16
        assert "every gradient non-zero" in record.note
        predictions = pd.read_parquet(tmp_path / f"{record.stem}.parquet")
        assert len(predictions) == record.validation_samples
        assert (predictions["label"] == predictions["prediction"]).mean() == record.score
        assert f"s{BAD}" not in set(predictions["sample_id"])
        state = load_file(tmp_path / f"{record.stem}.safetensors")
        updates = [key for key in state if key.startswith("base_model.model.")]
        assert sum(state[key].numel() for key in updates) == record.parameters_attention
        assert any(state[key].abs().max() > 0 for key in updates if "lora_B" in key)
        head = sum(value.numel() for key, value in state.items() if key.startswith("head."))
        assert record.parameters_with_classifier == record.parameters_attention + head
    assert sum(record.validation_samples for record in records) == SAMPLES - 1
    assert not list(tmp_path.glob("*checkpoint*"))


def test_folds_held_out_rows_and_samples_are_those_of_the_cached_variants(work_of, tmp_path):
    work = work_of("bert")
    spec = work.spec()
    cached = TrainingSpec(
        **spec.model_dump(include={"dataset", "encoder", "seeds", "folds", "training"}),
        protocol=spec.protocol,
        variant="softmax_sum",
    )
    theirs = run_job(cached, work.cache, tmp_path / "cached", QUIET)
    ours = run(work, tmp_path / "tuned", spec)
    for a, b in zip(theirs, ours, strict=True):
        assert (a.fold, a.fold_name, a.seed, a.metric) == (b.fold, b.fold_name, b.seed, b.metric)
        assert (a.train_samples, a.validation_samples, a.majority_score) == (
            b.train_samples,
            b.validation_samples,
            b.majority_score,
        )
        assert a.cache_identity == b.cache_identity
        ids = [pd.read_parquet(tmp_path / f / f"{a.stem}.parquet")["sample_id"] for f in ("cached", "tuned")]
        assert ids[0].equals(ids[1])
    bench = open_bench(work.cache, spec.folds, 2**20)
    for place in places_of(spec, bench):
        mine, others = split_of(spec, bench, place), split_of(cached, bench, place)
        for part in ("fitted", "held_out", "validation"):
            assert np.array_equal(getattr(mine, part), getattr(others, part))
        assert len(mine.held_out)


def test_equal_seeds_give_equal_results_and_others_do_not(work_of, tmp_path):
    work = work_of("llama")
    spec = work.spec()
    first, second = (run(work, tmp_path / name, spec) for name in ("a", "b"))
    assert facts_of(first) == facts_of(second)
    states = [load_file(tmp_path / name / "fold1_seed0.safetensors") for name in ("a", "b")]
    assert all(torch.equal(states[0][key], states[1][key]) for key in states[0])
    other = run(work, tmp_path / "c", spec.model_copy(update={"seeds": [1]}))
    assert other[0].epochs != first[0].epochs


def test_a_replica_does_not_depend_on_those_before_it(work_of, tmp_path):
    work = work_of("bert")
    spec = work.spec("encoder_lora_plus_r4").model_copy(update={"seeds": [3, 5]})
    together = run(work, tmp_path / "together", spec)
    for record in together:
        alone = spec.model_copy(update={"seeds": [record.seed]})
        (found,) = run(work, tmp_path / record.stem, alone, only_fold=record.fold)
        assert facts_of([found]) == facts_of([record])


class KilledError(Exception):
    """What the test kills a job with."""


@pytest.mark.parametrize("variant", ["encoder_lora_r4", "encoder_lora_plus_r8"])
@pytest.mark.parametrize("kill", [2, 4])
def test_killed_after_any_epoch_it_ends_with_identical_results(work_of, tmp_path, monkeypatch, variant, kill):
    work = work_of("bert")
    spec = work.spec(variant, {"schedule": "plateau"})
    whole = run(work, tmp_path / "whole", spec)
    save, saved = tuning_run.save_checkpoint, []

    def killing(*arguments):
        save(*arguments)
        saved.append(arguments)
        if len(saved) == kill:
            raise KilledError

    monkeypatch.setattr(tuning_run, "save_checkpoint", killing)
    with pytest.raises(KilledError):
        run(work, tmp_path / "killed", spec)
    assert not (tmp_path / "killed" / FINISHED).exists()
    resumed = run(work, tmp_path / "killed", spec)
    # Three epochs of two replicas; none is trained twice.
    assert len(saved) == 6
    assert facts_of(resumed) == facts_of(whole)
    for stem in ("fold0_seed0", "fold1_seed0"):
        states = [load_file(tmp_path / name / f"{stem}.safetensors") for name in ("whole", "killed")]
        assert states[0].keys() == states[1].keys()
        assert all(torch.equal(states[0][key], states[1][key]) for key in states[0])


def test_killed_after_a_record_it_leaves_no_checkpoint_behind(work_of, tmp_path, monkeypatch):
    work = work_of("bert")
    spec = work.spec()

    def killing(stem):
        stem.with_name(f"{stem.name}.checkpoint.json").unlink()
        raise KilledError

    with monkeypatch.context() as patched, pytest.raises(KilledError):
        patched.setattr(tuning_run, "remove_checkpoint", killing)
        run(work, tmp_path, spec)
    assert len(list(tmp_path.glob("*.checkpoint"))) == 1
    run(work, tmp_path, spec)
    assert not list(tmp_path.glob("*checkpoint*"))


def test_a_finished_job_loads_no_encoder(work_of, tmp_path, monkeypatch):
    work = work_of("bert")
    spec = work.spec()
    first = run(work, tmp_path, spec)
    monkeypatch.setattr(tuning_run, "open_session", None)
    assert facts_of(run(work, tmp_path, spec)) == facts_of(first)
    changed = work.spec(tuning={"alpha": 8.0})
    with pytest.raises(TypeError):  # it would have to be opened
        run(work, tmp_path, changed)


def test_wavlm_with_wrapped_modules_stops_before_training(work_of, tmp_path):
    work = work_of("wavlm")
    with pytest.raises(EncoderError, match=r"wavlm \(WavLMModel\): adapters have no gradient"):
        run(work, tmp_path, work.spec(tuning={"injection": "modules"}))
    assert not list(tmp_path.glob("*.json"))


def test_another_table_of_samples_is_refused(work_of, tmp_path):
    work = work_of("bert")
    table = pd.read_parquet(work.samples)
    swapped = table.iloc[[1, 0, *range(2, len(table))]]
    swapped.attrs = table.attrs
    swapped.to_parquet(tmp_path / "other.parquet")
    with pytest.raises(CacheError, match="not the one that the cache was extracted from"):
        run_tuning(work.spec(), work.cache, tmp_path / "other.parquet", tmp_path / "run", QUIET)


def test_one_fold_alone_writes_no_list(work_of, tmp_path):
    work = work_of("bert")
    (record,) = run(work, tmp_path, work.spec(), only_fold=1)
    assert record.fold == 1
    assert not (tmp_path / FINISHED).exists()
    with pytest.raises(ConfigError, match="no such fold"):
        run(work, tmp_path, work.spec(), only_fold=2)


def test_the_record_repeats_itself(work_of, tmp_path):
    from daam_bench.provenance.repeat import repeat_record

    work = work_of("bert")
    record = run(work, tmp_path / "runs", work.spec())[1]
    again = repeat_record(tmp_path / "runs/fold1_seed0.json", work.folder, tmp_path / "again", QUIET)
    assert facts_of([again]) == facts_of([record])
    assert json.loads((work.folder / "manifest.json").read_text())["digest"] == record.cache_identity
    assert open_cache(work.cache).quarantined.keys() == {f"s{BAD}"}
