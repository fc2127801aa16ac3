"""Extraction on a dask cluster of real processes on this machine."""

import os
import re
import signal
import threading
import time
from pathlib import Path

import pytest
from dask.distributed import Client, LocalCluster
from rich.progress import Progress

from daam_bench.cache.distributed import TaskError, _deal, _reason, extract_on
from daam_bench.cache.extraction import ExtractionSpec, extract_part, finish_cache
from daam_bench.cache.reader import open_cache
from daam_bench.config import CacheConfig, DatasetConfig, EncoderConfig
from daam_bench.datasets.listing import list_samples
from daam_bench.errors import CacheError, DataError, MachineError, RecordError

QUIET = Progress(disable=True)
SAMPLES_PER_GROUP = 13


HERE = {"processes": True, "host": "127.0.0.1", "dashboard_address": ":0"}


@pytest.fixture(scope="module")
def cluster():
    with LocalCluster(n_workers=2, threads_per_worker=1, **HERE) as running:
        yield running


@pytest.fixture(scope="module")
def empty_cluster():
    with LocalCluster(n_workers=0, **HERE) as running:
        yield running


@pytest.fixture
def job(tmp_path, real_resources):
    """Return a job and its table of samples: 52 samples in 26 chunks."""
    source = DatasetConfig(
        kind="vader", path=str(real_resources / "vader"), samples_per_group=SAMPLES_PER_GROUP
    )
    samples = list_samples("vader", source)
    samples.to_parquet(tmp_path / "samples.parquet")
    spec = ExtractionSpec(
        dataset="vader",
        encoder_name="minilm-l6",
        encoder=EncoderConfig(modality="text", model=str(real_resources / "minilm-l6")),
        cache=CacheConfig(chunk_mebibytes=0.02),
    )
    return spec, samples, tmp_path / "samples.parquet"


def contents(path: Path) -> dict[Path, bytes]:
    return {file.relative_to(path): file.read_bytes() for file in path.rglob("*") if file.is_file()}


def one_process(job, folder):
    spec, samples, table = job
    extract_part(spec, samples, folder / "parts/1.json", (1, 1), QUIET)
    finish_cache(spec, table, [folder / "parts/1.json"], folder / "manifest.json")
    return open_cache(folder)


def finished(job, folder, outputs):
    spec, _, table = job
    finish_cache(spec, table, outputs, folder / "manifest.json")
    return open_cache(folder)


@pytest.mark.parametrize(("part", "workers"), [((1, 1), 3), ((2, 3), 5), ((3, 3), 2)])
@pytest.mark.parametrize("chunks", [1, 7, 31])
def test_parts_of_a_part_tile_it(part, workers, chunks):
    def chunks_of(number, parts):
        return list(range(chunks * (number - 1) // parts, chunks * number // parts))

    dealt = [chunk for task in _deal(part, workers) for chunk in chunks_of(*task)]
    assert dealt == chunks_of(*part)


def test_tasks_make_the_cache_of_one_process(job, cluster, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    output = Path("dealt/parts/1.json")  # a relative path means the same to a worker
    extract_on(cluster.scheduler_address, job[0], Path("samples.parquet"), output, (1, 1), QUIET)
    dealt, whole = finished(job, tmp_path / "dealt", [output]), one_process(job, tmp_path / "whole")
    assert whole.layout.chunks == 26
    assert contents(dealt.path) == contents(whole.path)
    locks = {lock.name.split(".zarr.")[1] for lock in (tmp_path / "dealt").glob("*.zarr.*-of-*.lock")}
    # Several tasks for each of the two workers: one that comes later takes its share.
    assert locks >= {f"{number}-of-16.lock" for number in range(1, 17)}


def kill_workers_at(address: str, ledgers: Path, chunks: int, killed: list[int]) -> None:
    """Kill every worker as soon as a number of chunks is committed."""
    with Client(address, set_as_default=False) as client:
        workers = client.run(os.getpid).values()
        deadline = time.monotonic() + 100
        while time.monotonic() < deadline:
            done = sum(path.read_bytes().count(b"\n") for path in ledgers.glob("*.ledger.jsonl"))
            if done >= chunks:
                killed.append(done)
                for worker in workers:
                    os.kill(worker, signal.SIGKILL)
                return
            time.sleep(0.001)


def test_killed_workers_lose_nothing_that_was_committed(job, cluster, tmp_path):
    folder, killed = tmp_path / "dealt", []
    output = folder / "parts/1.json"
    killer = threading.Thread(
        target=kill_workers_at, args=(cluster.scheduler_address, folder, 4, killed), daemon=True
    )
    killer.start()
    extract_on(cluster.scheduler_address, job[0], job[2], output, (1, 1), QUIET)
    killer.join()
    assert killed, "the workers were killed"
    assert killed[0] < 26, "while there was something left to do"
    dealt, whole = finished(job, folder, [output]), one_process(job, tmp_path / "whole")
    assert contents(dealt.path) == contents(whole.path)
    computed = int(re.search(r'"computed_samples": (\d+)', output.read_text())[1])
    # The last attempts computed what was not committed: two samples a chunk.
    assert 0 < computed <= 52 - 2 * killed[0]


def test_a_mistake_on_a_worker_is_told_as_one_here(job, cluster, tmp_path):
    spec, samples, table = job
    samples.loc[3, ["text", "content_key"]] = "", "none-" + "0" * 64
    samples.to_parquet(table)
    strict = spec.model_copy(update={"cache": CacheConfig(chunk_mebibytes=0.02, on_bad_sample="stop")})
    with pytest.raises(DataError, match="a sample cannot be used"):
        extract_on(cluster.scheduler_address, strict, table, tmp_path / "c/parts/1.json", (1, 1), QUIET)


@pytest.mark.parametrize("address", ["tcp://127.0.0.1:1", "nowhere.json", "http://127.0.0.1:1"])
def test_no_scheduler_is_one_clear_message(job, address, tmp_path, monkeypatch):
    monkeypatch.setattr("daam_bench.cache.distributed.CONNECT_SECONDS", 0.3)
    with pytest.raises(CacheError, match="no dask scheduler answers.*dask scheduler"):
        extract_on(address, job[0], job[2], tmp_path / "c/parts/1.json", (1, 1), QUIET)


def test_a_scheduler_without_workers_is_not_waited_for(job, empty_cluster, tmp_path, monkeypatch):
    monkeypatch.setattr("daam_bench.cache.distributed.CONNECT_SECONDS", 0.5)
    with pytest.raises(CacheError, match="a scheduler without workers"):
        extract_on(empty_cluster.scheduler_address, job[0], job[2], tmp_path / "c/1.json", (1, 1), QUIET)


@pytest.mark.parametrize("kind", [DataError, MachineError, RecordError])
def test_an_error_of_a_worker_keeps_its_kind(kind):
    found = _reason(TaskError(kind.__name__, "why"), "here")
    assert (type(found), str(found)) == (kind, "why")
