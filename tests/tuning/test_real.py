"""The real text encoder on real samples: it learns, and B = 0 is where the cache is."""

import numpy as np
import pandas as pd
import pytest
import torch
from tuning.conftest import QUIET

from daam_bench.cache.extraction import ExtractionSpec, extract_part, finish_cache
from daam_bench.cache.reader import open_cache
from daam_bench.config import (
    CacheConfig,
    DatasetConfig,
    EncoderConfig,
    FoldRule,
    Protocol,
    TrainingConfig,
    TuningConfig,
)
from daam_bench.datasets.listing import list_samples
from daam_bench.training.bench import bench_of, usable_rows
from daam_bench.tuning.model import last_hidden_mean
from daam_bench.tuning.run import run_tuning
from daam_bench.tuning.samples import RowSource
from daam_bench.tuning.session import open_session
from daam_bench.tuning.spec import TuningSpec


@pytest.fixture(scope="module")
def vader(tmp_path_factory, real_resources):
    """Return folder and job of a cache of 64 snippets."""
    folder = tmp_path_factory.mktemp("vader")
    dataset = DatasetConfig(kind="vader", path=str(real_resources / "vader"), samples_per_group=16)
    list_samples("vader", dataset).to_parquet(folder / "samples.parquet")
    encoder = EncoderConfig(modality="text", model=str(real_resources / "minilm-l6"), max_length=64)
    spec = ExtractionSpec(dataset="vader", encoder_name="minilm-l6", encoder=encoder, cache=CacheConfig())
    extract_part(spec, pd.read_parquet(folder / "samples.parquet"), folder / "parts/1.json", (1, 1), QUIET)
    finish_cache(spec, folder / "samples.parquet", [folder / "parts/1.json"], folder / "manifest.json")
    job = TuningSpec(
        dataset="vader",
        encoder="minilm-l6",
        variant="encoder_lora_plus_r4",
        seeds=[0],
        folds=FoldRule(),
        training=TrainingConfig(epochs=3, batch_size=8, learning_rate=1e-3, precision="float32"),
        protocol=Protocol.model_validate({"weight_decay": 0.01}),
        tuning=TuningConfig(),
        encoder_settings=encoder,
    )
    return folder, job


def test_the_start_is_the_last_layer_of_the_cache(vader):
    folder, job = vader
    cache, device = open_cache(folder), torch.device("cpu")
    bench = bench_of(cache, job.folds, device, RowSource(len(usable_rows(cache)), device))
    session = open_session(job, bench, pd.read_parquet(folder / "samples.parquet"))
    rows = [0, 17, 40, 63]
    with torch.no_grad():
        found = last_hidden_mean(session.encoder, [s.prepared for s in session.reader.take(rows)])
    np.testing.assert_allclose(found, cache.load()[rows, -1].astype(np.float32), atol=2e-3)
    assert session.proof.adapters == 12
    assert session.proof.changes[0] > 1e-3


def test_it_learns_and_is_scored_on_the_samples_of_its_fold(vader, tmp_path):
    folder, job = vader
    (record,) = run_tuning(job, folder, folder / "samples.parquet", tmp_path, QUIET, only_fold=2)
    losses = [epoch.train_loss for epoch in record.epochs]
    assert losses[2] < losses[1] < losses[0]
    frame = pd.read_parquet(tmp_path / "fold2_seed0.parquet").set_index("sample_id")
    samples = pd.read_parquet(folder / "samples.parquet").set_index("sample_id")
    assert set(samples.loc[frame.index, "group"]) == {record.fold_name}
    assert (samples.loc[frame.index, "label"] == frame["label"]).all()
    assert record.modality == "text" and record.train_samples == 48
    # 6 layers x 2 projections x A and B of rank 4 over 384 features, and 384 x 3 + 3 of the classifier.
    assert (record.parameters_attention, record.parameters_with_classifier) == (36_864, 36_864 + 1_155)
