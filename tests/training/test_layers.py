"""Training on some layers of a cache, by fold: the job, its records, and the tables that are made of them."""

import json

import numpy as np
import pytest
from rich.progress import Progress

from daam_bench.analysis.importance import read_density
from daam_bench.analysis.layer_choice import choose_layers
from daam_bench.analysis.studies.write import write_study_figures
from daam_bench.analysis.tables import make_tables
from daam_bench.cache.identity import SCHEMA_VERSION, CacheIdentity, digest_of_samples
from daam_bench.cache.store import CacheLayout
from daam_bench.cache.writer import CacheWriter
from daam_bench.config import FoldRule, Protocol, TrainingConfig
from daam_bench.records import read_records
from daam_bench.training.run import run_job
from daam_bench.training.spec import TrainingSpec

SAMPLES, LAYERS, FEATURES = 62, 6, 11
TELLING = 4  # the layer that has the class in it


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    """Return a cache of two groups and two classes; only one layer tells the classes apart."""
    labels = [row % 2 for row in range(SAMPLES)]
    layout = CacheLayout(
        samples=SAMPLES,
        layers=LAYERS,
        features=FEATURES,
        dtype="float32",
        rows_per_chunk=SAMPLES,
        sample_ids=[str(row) for row in range(SAMPLES)],
        labels=labels,
        splits=["train"] * SAMPLES,
        groups=[f"group {row // 31}" for row in range(SAMPLES)],
        contents=[f"{row:064x}" for row in range(SAMPLES)],
        attributes={"class_names": ["a", "b"], "dataset": "toy"},
    )
    values = np.random.default_rng(3).normal(size=layout.shape).astype(np.float32)
    values[:, TELLING - 1] += 3 * (2 * np.array(labels)[:, None] - 1)
    identity = CacheIdentity(
        schema_version=SCHEMA_VERSION,
        dataset="toy",
        encoder={"name": "tiny", "weights": "abc", "pooling": "mean"},
        stored_dtype="float32",
        samples=digest_of_samples(layout),
    )
    folder = tmp_path_factory.mktemp("cache")
    with CacheWriter(folder, "zarr", layout, identity) as writer:
        writer.write_chunk(0, values, [1] * SAMPLES, {})
        writer.finish()
    return writer.path


def spec(layers=None, **changes):
    training = {"epochs": 3, "batch_size": 8, "learning_rate": 1e-2, "precision": "float32"}
    return TrainingSpec(
        dataset="toy",
        encoder="tiny",
        variant="daam_v1",
        seeds=[0, 1],
        folds=FoldRule(),
        training=TrainingConfig(**(training | {"decoder_channels": 3} | changes)),
        protocol=Protocol.model_validate({"weight_decay": 0.0}),
        layers=layers,
    )


def train(cache, folder, job):
    run_job(job, cache, folder, Progress(disable=True))
    return read_records(folder)


def test_each_fold_sees_its_own_layers_alone(cache, tmp_path):
    # The layer with the class is in the choice of fold 0 only.
    records = train(cache, tmp_path, spec({0: [2, TELLING], 1: [1, 2]}, epochs=8))
    assert {(r.fold, tuple(r.layers)) for r in records} == {(0, (2, TELLING)), (1, (1, 2))}
    assert all(r.score > 0.85 for r in records if r.fold == 0)
    assert all(r.score < 0.75 for r in records if r.fold == 1)
    assert read_density(tmp_path, records[0]).shape == (2, FEATURES)


def test_heads_that_cannot_share_the_layers_give_way(cache, tmp_path):
    records = train(cache, tmp_path, spec({0: [1, 3], 1: [1, 2]}, density_heads=6, epochs=1))
    assert {r.training["density_heads"] for r in records} == {None}
    # One head of two layers: an offset and a spread for each feature.
    assert {r.parameters_attention for r in records} == {2 * FEATURES}


def test_all_layers_are_what_a_job_without_a_choice_trains_on(cache, tmp_path):
    everything = list(range(1, LAYERS + 1))
    plain = train(cache, tmp_path / "plain", spec())
    chosen = train(cache, tmp_path / "chosen", spec({0: everything, 1: everything}))
    assert [r.epochs for r in plain] == [r.epochs for r in chosen]
    assert {r.layers for r in plain} == {None}


def test_a_fold_trains_again_only_if_its_own_layers_changed(cache, tmp_path):
    first = train(cache, tmp_path, spec({0: [1, 2], 1: [3, 4]}, density_heads=6, epochs=1))
    second = train(cache, tmp_path, spec({0: [1, 2], 1: [3, 5]}, density_heads=6, epochs=1))
    same = [a == b for a, b in zip(first, second, strict=True)]
    assert same == [True, True, False, False]


def test_the_training_density_is_that_of_the_training_samples(cache, tmp_path):
    (fold0, _, fold1, _) = train(cache, tmp_path, spec(epochs=1))
    # Without a step the density depends on the samples alone: two folds exchange theirs.
    assert not np.array_equal(read_density(tmp_path, fold0), read_density(tmp_path, fold0, "training"))
    untrained = {"learning_rate": 1e-12, "epochs": 1}
    (fold0, _, fold1, _) = train(cache, tmp_path / "untrained", spec(**untrained))
    np.testing.assert_allclose(
        read_density(tmp_path / "untrained", fold0, "training"),
        read_density(tmp_path / "untrained", fold1, "validation"),
        rtol=1e-5,
    )


def test_from_a_run_to_the_layers_to_the_tables_and_the_curve(cache, tmp_path):
    base = tmp_path / "runs/toy/tiny/daam_v1"
    train(cache, base, spec())
    found = json.loads(json.dumps(choose_layers(base, ["top-1", "bottom-1", "random-1-1"], [0, 1])))
    folders = []
    for pick, layers in found["choices"].items():
        folders.append(tmp_path / f"studies/toy/tiny/layers-{pick}/daam_v1")
        train(cache, folders[-1], TrainingSpec.model_validate(spec().model_dump() | {"layers": layers}))
    tables = make_tables([base], folders)
    assert not {"protocols", "switch_effects"} & set(tables)
    by_fold = tables["layer_ablation"]
    high = by_fold[by_fold["importance"] == "high"]
    assert high["layers"].tolist() == [str(found["choices"]["top-1"][fold][0]) for fold in "01"]
    assert by_fold["importance"].value_counts().to_dict() == {"high": 2, "low": 2, "random": 2, "all": 2}
    curve = tables["layer_ablation_curve"].set_index("side")
    means = by_fold.groupby("side")["mean_percent"].mean()
    assert curve.loc["top", "effect_percent"] == pytest.approx(means["top"] - means["bottom"])
    paths = write_study_figures([base], folders, tmp_path / "figures")
    assert [path.name for path in paths] == [f"layer_ablation_toy_tiny_daam_v1.{e}" for e in ("png", "pdf")]
    assert all(path.stat().st_size > 5000 for path in paths)
