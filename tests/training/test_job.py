"""A whole job: the same results wherever values lie, what it reads and costs, and modules of one's own."""

import math

import numpy as np
import pytest
import torch
from rich.progress import Progress
from training.test_layers import FEATURES, LAYERS, SAMPLES, cache, spec

from daam_bench.analysis.figures import write_figures
from daam_bench.analysis.importance import read_density
from daam_bench.analysis.tables import write_tables
from daam_bench.config import PROTOCOLS, VariantConfig
from daam_bench.errors import ConfigError
from daam_bench.heads.own import fingerprint_of_file
from daam_bench.records import COST_FIELDS, read_records
from daam_bench.training import cost, entropy, order, run
from daam_bench.training.bench import MEMORY
from daam_bench.training.run import run_job
from daam_bench.training.source import ResidentSource, StreamingSource

__all__ = ["cache"]  # a fixture
ROW_BYTES = LAYERS * FEATURES * 4
SHUFFLE_BYTES = 20 * ROW_BYTES


def job(**changes):
    return spec(shuffle_mebibytes=SHUFFLE_BYTES / 2**20, **changes)


def facts_of(record):
    """Return everything of a record that must not depend on where values lie, but the loss in validation."""
    facts = record.model_dump(exclude={*COST_FIELDS, "environment"})
    return facts | {"epochs": [epoch | {"validation_loss": None} for epoch in facts["epochs"]]}


@pytest.fixture
def sources(monkeypatch):
    """Return the sources of the jobs that a test runs; runs of rows are short there."""
    monkeypatch.setattr(order, "_RUN_BYTES", 3 * ROW_BYTES)
    found, plain = [], run.open_bench

    def opened(*arguments):
        bench = plain(*arguments)
        found.append(bench.source)
        return bench

    monkeypatch.setattr(run, "open_bench", opened)
    return found


def stream(monkeypatch, memory_bytes=2 * SHUFFLE_BYTES):
    monkeypatch.setenv(MEMORY, str(memory_bytes / 2**30))


@pytest.mark.parametrize("schedule", ["constant", "plateau"])
def test_a_job_that_streams_gives_the_records_of_one_in_memory(
    cache, tmp_path, monkeypatch, sources, schedule
):
    wanted = job(epochs=4)
    wanted = wanted.model_copy(update={"protocol": wanted.protocol.model_copy(update={"schedule": schedule})})
    resident = run_job(wanted, cache, tmp_path / "resident", Progress(disable=True))
    stream(monkeypatch)
    streamed = run_job(wanted, cache, tmp_path / "streamed", Progress(disable=True))
    assert [type(source) for source in sources] == [ResidentSource, StreamingSource]
    assert [facts_of(record) for record in streamed] == [facts_of(record) for record in resident]
    # Rows that come in other buffers are predicted in other batches, whose products are rounded otherwise.
    losses = [[e.validation_loss for r in records for e in r.epochs] for records in (streamed, resident)]
    assert losses[0] == pytest.approx(losses[1], rel=1e-6)
    assert any(record.selected_epoch < 4 for record in resident)
    for record in resident:
        for part in ("validation", "training"):
            maps = [read_density(tmp_path / name, record, part) for name in ("resident", "streamed")]
            np.testing.assert_allclose(*maps, rtol=1e-5)


def test_a_job_reads_its_cache_about_once_an_epoch(cache, tmp_path, monkeypatch, sources):
    """Also with what it looks at after training: the last scores, densities, entropies, operations."""
    stream(monkeypatch)
    monkeypatch.setattr(entropy, "SAMPLES", 3)
    monkeypatch.setattr(run, "memory_bytes", lambda device: 2**30)  # for models
    records = run_job(job(epochs=25, batch_size=31), cache, tmp_path, Progress(disable=True))
    assert len(records) == 4
    assert all(record.entropies and record.flops_forward for record in records)
    assert sources[0].bytes_read <= 1.05 * 25 * SAMPLES * ROW_BYTES
    assert sources[0].bytes_read >= 25 * SAMPLES * ROW_BYTES


def test_few_replicas_train_together_where_memory_is_small(cache, tmp_path, monkeypatch, sources):
    stream(monkeypatch)
    together = []
    plain = run.train_epochs
    monkeypatch.setattr(run, "train_epochs", lambda r, *rest: together.append(len(r)) or plain(r, *rest))
    run_job(job(epochs=1), cache, tmp_path / "a", Progress(disable=True))
    monkeypatch.setattr(run, "memory_bytes", lambda device: 2**30)
    run_job(job(epochs=1), cache, tmp_path / "b", Progress(disable=True))
    assert together[-1] == 4
    assert max(together[:-1]) < 4


def test_a_stream_that_does_not_fit_is_refused_before_training(cache, tmp_path, monkeypatch, sources):
    stream(monkeypatch, 2 * SHUFFLE_BYTES - 1024)
    with pytest.raises(ConfigError, match="shuffle_mebibytes"):
        run_job(job(), cache, tmp_path, Progress(disable=True))


@pytest.mark.parametrize("variant", ["majority", "best_single_layer"])
def test_a_baseline_s_record_has_its_protocol(cache, tmp_path, variant):
    wanted = spec().model_copy(update={"variant": variant, "seeds": [0]})
    for record in run_job(wanted, cache, tmp_path, Progress(disable=True)):
        assert record.protocol == PROTOCOLS["corrected"] | {"name": "corrected", "weight_decay": 0.0}
        assert record.protocol == record.spec["protocol"]


class KilledError(Exception):
    """What the test kills a job with."""


@pytest.mark.parametrize("kill", [1, 2])
def test_what_a_killed_job_had_used_is_not_forgotten(cache, tmp_path, monkeypatch, kill):
    class Meter:
        def __init__(self, device):
            pass

        def joules(self):
            return 7.0

    monkeypatch.setattr(cost, "EnergyMeter", Meter)
    plain, saved = run.save_checkpoint, []

    def killing(*arguments):
        plain(*arguments)
        saved.append(arguments)
        if len(saved) == kill:
            arguments[2].loading_seconds = 11.0  # as if it had waited that long
            plain(*arguments)
            raise KilledError

    one = spec(epochs=3).model_copy(update={"seeds": [0]})
    with monkeypatch.context() as patched, pytest.raises(KilledError):
        patched.setattr(run, "save_checkpoint", killing)
        run_job(one, cache, tmp_path, Progress(disable=True), only_fold=0)
    (record,) = run_job(one, cache, tmp_path, Progress(disable=True), only_fold=0)
    # Three epochs, and what comes after the last one.
    assert record.energy_joules == 7 * 4
    assert record.loading_seconds == 11.0


OWN = """
import torch
from torch import nn


class Own(nn.Module):
    def __init__(self, layers, features, protocol):
        super().__init__()
        self.gate = nn.Parameter(torch.zeros(layers, 1))
        {attributes}

    def forward(self, x):
        return x * torch.sigmoid(self.gate)

    {methods}
"""
DENSITY = "def density(self, x):\n        return torch.sigmoid(self.gate).expand_as(x)"


def own(folder, attributes, methods, has_density):
    file = folder / "own.py"
    file.write_text(OWN.format(attributes=attributes, methods=methods))
    entry = VariantConfig(module=f"{file}:Own", has_density=has_density)
    changes = {"variant": "own", "own": entry, "own_sha256": fingerprint_of_file(file)}
    return spec(epochs=1).model_copy(update=changes)


@pytest.mark.parametrize(
    ("attributes", "methods"),
    [
        ("self.heads = nn.ModuleList([nn.Linear(3, 3)])", DENSITY),
        ("self.heads = 4", DENSITY),
        ("self.attention_weights = nn.Parameter(torch.zeros(3))", DENSITY),
        ("self.attention_weights = nn.Linear(11, 11)", ""),
        ("self.density = 0.5", ""),
        ("self.density = nn.Parameter(torch.zeros(3))", ""),
    ],
)
def test_an_own_module_with_our_names_for_other_things_stops_before_training(
    cache, tmp_path, monkeypatch, attributes, methods
):
    monkeypatch.setattr(run, "train_epochs", None)
    wanted = own(tmp_path, attributes, methods, has_density=bool(methods))
    with pytest.raises(ConfigError, match="heads|attention_weights|density"):
        run_job(wanted, cache, tmp_path / "run", Progress(disable=True))


def test_an_own_module_with_a_density_is_measured(cache, tmp_path):
    wanted = own(tmp_path, "", DENSITY, has_density=True)
    records = run_job(wanted, cache, tmp_path / "run", Progress(disable=True))
    assert [{entry.kind for entry in record.entropies} for record in records] == [{"density"}] * 4
    assert len(list((tmp_path / "run").glob("*.density.npz"))) == 4


@pytest.mark.parametrize(
    ("methods", "has_density", "message"),
    [
        ("def attention_weights(self, x):\n        return x.softmax(-1)", False, r"attention_weights\(x\)"),
        ("def attention_weights(self):\n        return 1", False, "attention_weights"),
        ("def density(self, x):\n        return x.mean(-1)", True, r"density\(x\)"),
    ],
)
def test_an_own_module_that_cannot_be_measured_stops_before_training(
    cache, tmp_path, monkeypatch, methods, has_density, message
):
    monkeypatch.setattr(run, "train_epochs", None)
    with pytest.raises(ConfigError, match=message):
        run_job(own(tmp_path, "", methods, has_density), cache, tmp_path / "run", Progress(disable=True))


def test_the_peak_begins_anew():
    if not cost._CLEAR.exists():
        pytest.skip("the kernel does not tell")
    device = torch.device("cpu")
    cost.begin_peak_memory(device)
    before = cost.peak_memory_bytes(device)
    block = np.ones(2**25)  # 256 MiB
    assert cost.peak_memory_bytes(device) - before > 0.9 * block.nbytes
    del block
    cost.begin_peak_memory(device)
    assert cost.peak_memory_bytes(device) - before < 2**27


@pytest.mark.parametrize("variant", ["mha", "daam_v1", "gqdaam"])
def test_a_replica_that_diverges_is_a_row_that_says_so(cache, tmp_path, variant):
    wanted = job(learning_rate=1e20).model_copy(update={"variant": variant})
    folder = tmp_path / variant
    run_job(wanted, cache, folder, Progress(disable=True))
    records = read_records(folder)
    assert [math.isnan(record.epochs[-1].train_loss) for record in records] == [True] * len(records)
    assert all(record.note.startswith("diverged: no finite training loss in epoch ") for record in records)
    write_tables([folder], tmp_path / "tables")
    write_figures([folder], tmp_path / "figures")
    assert variant in (tmp_path / "tables/accuracy_summary.csv").read_text()
