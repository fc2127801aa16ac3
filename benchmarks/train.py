"""Speed and memory of training, as ratios: make benchmark-train.

DAAMv1 with the paper's decoder on random values of 24 x 1024 a sample. The plain way is an eager float32 loop
over a DataLoader. Every ratio is a median over rounds that run all ways in turn, but for the bytes, which are
counted, and the accuracies, whose spread over seeds is beside them; `rounds` in the file says how many.
"""

import multiprocessing
import os
import statistics
import tempfile
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from time import perf_counter
from typing import Any
from unittest.mock import patch

import numpy as np
import torch
from measure import ROUNDS, interleave, median_ratio, peak_mebibytes, write_results
from replicas import measure_replicas
from rich.progress import Progress
from subject import CLASSES, FEATURES, LAYERS, PROTOCOL, ROW_BYTES, STEPS, model_of, replica_of
from synthetic import write_synthetic_cache
from torch.nn.functional import cross_entropy
from torch.utils.data import DataLoader, TensorDataset
from whole_run import AGAIN, measure_workflow

from daam_bench.allocator import keep_freed_memory
from daam_bench.cache.reader import open_cache
from daam_bench.cache.stream import RowReader
from daam_bench.config import FoldRule, Protocol, TrainingConfig
from daam_bench.heads import build_model
from daam_bench.training import run as training_run
from daam_bench.training.bench import MEMORY, Bench, open_bench
from daam_bench.training.replica import Replica, Split
from daam_bench.training.source import ResidentSource, Source, StreamingSource
from daam_bench.training.spec import TrainingSpec
from daam_bench.training.together import train_together

FEW_ROUNDS = 3  # of what takes minutes
SCRATCH = Path("results")


def plain_epoch(batch: int) -> Callable[[], object]:
    torch.set_num_threads(os.cpu_count() or 1)
    values = torch.randn(STEPS * batch, LAYERS, FEATURES)
    model = model_of()
    loader = DataLoader(TensorDataset(values, torch.arange(len(values)) % CLASSES), batch, shuffle=True)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-4, weight_decay=0.1)

    def run() -> None:
        for part, labels in loader:
            optimizer.zero_grad()
            cross_entropy(model(part), labels).backward()
            optimizer.step()

    return run


def our_epoch(batch: int, values: torch.Tensor, precision: str) -> Callable[[], object]:
    replica = replica_of(len(values) + 2, batch, precision)
    source = ResidentSource(torch.cat([values, values[:2]]), ROW_BYTES, 2**30)
    epoch = iter(range(1, 1000))

    def run() -> None:
        number = next(epoch)
        for buffer in source.epoch(number):
            replica.train_on(buffer, number)

    return run


_PLAIN: list[Callable[[], object]] = []  # of the process that runs it


def _build_plain(batch: int) -> None:
    _PLAIN.append(plain_epoch(batch))


def _run_plain() -> None:
    _PLAIN[0]()


def measure_speed() -> tuple[dict[str, float], dict[str, Any]]:
    """Time steps of training; the plain loop runs in a process of its own, whose malloc is as it comes."""
    keep_freed_memory()
    ratios: dict[str, float] = {}
    raw: dict[str, Any] = {}
    for batch in (8, 32):
        values = torch.randn(STEPS * batch, LAYERS, FEATURES)
        spawn = multiprocessing.get_context("spawn")
        with ProcessPoolExecutor(1, spawn, initializer=_build_plain, initargs=(batch,)) as elsewhere:
            seconds = interleave(
                {
                    "plain": lambda: elsewhere.submit(_run_plain).result(),
                    "ours": our_epoch(batch, values, "bfloat16"),
                    "ours_float32": our_epoch(batch, values, "float32"),
                }
            )
        ratios[f"speedup_over_plain_batch_{batch}"] = median_ratio(seconds["plain"], seconds["ours"])
        ratios[f"speedup_float32_over_plain_batch_{batch}"] = median_ratio(
            seconds["plain"], seconds["ours_float32"]
        )
        raw[f"batch_{batch}"] = {"seconds": seconds, "steps": STEPS}
    return ratios, raw


def synthetic_cache(folder: Path, samples: int) -> Path:
    """Write a cache of which one sample in 17 validates, as of AG News."""
    labels = [row % CLASSES for row in range(samples)]
    return write_synthetic_cache(folder, (samples, LAYERS, FEATURES), labels, splits=splits_of(samples))


def splits_of(samples: int) -> list[str]:
    return ["train" if row % 17 else "validation" for row in range(samples)]


def streaming_source(path: Path, samples: int, buffer_bytes: int) -> StreamingSource:
    reader = RowReader(open_cache(path))
    reader.verify()
    return StreamingSource(reader, np.arange(samples), ROW_BYTES, buffer_bytes, torch.device("cpu"))


def measure_loading(path: Path, samples: int) -> tuple[dict[str, float], dict[str, Any]]:
    """Time waiting and copying of values as a share of an epoch of training with the paper's decoder."""
    values = torch.from_numpy(open_cache(path).load()[:samples])
    resident: Source = ResidentSource(values, ROW_BYTES, 2**24)
    streaming: Source = streaming_source(path, samples, 2**24)
    shares: dict[str, list[float]] = {"resident": [], "streaming": []}
    for _ in range(ROUNDS):
        for name, source in (("resident", resident), ("streaming", streaming)):
            replica = replica_of(samples, 8, "bfloat16")
            waited, loading, start = source.waited, 0.0, perf_counter()
            for buffer in source.epoch(1):
                replica.train_on(buffer, 1)
            total = perf_counter() - start
            for buffer in source.epoch(1):
                rows = np.random.default_rng(0).permutation(buffer.rows)
                before = perf_counter()
                for first in range(0, len(rows), 8):
                    buffer.take(rows[first : first + 8])
                loading += perf_counter() - before
            shares[name].append((loading + source.waited - waited) / total)
    ratios = {f"loading_share_{name}": float(np.median(found)) for name, found in shares.items()}
    return ratios, {"shares": shares, "samples": samples}


def train_job(path: str, budget: int) -> Callable[[], object]:
    """Return a job of two epochs on a cache, under a memory budget in bytes.

    The model is the smallest one, so that values are what memory is needed for. What torch loads at the first
    step is loaded before, and not counted.
    """
    keep_freed_memory()  # as every job does
    os.environ[MEMORY] = str(budget / 2**30)
    training = TrainingConfig(batch_size=32, precision="float32", epochs=2)

    def replica_on(labels: torch.Tensor, split: Split) -> Replica:
        model = build_model("softmax_sum", LAYERS, FEATURES, CLASSES, PROTOCOL)
        return Replica(model, labels, split, training, PROTOCOL, (0, 0))

    rows = np.arange(64)
    warm = replica_on(torch.arange(64) % CLASSES, Split(rows[:-2], None, rows[-2:]))
    train_together([warm], ResidentSource(torch.zeros(64, LAYERS, FEATURES), ROW_BYTES, 2**30))

    def run() -> None:
        bench = open_bench(Path(path), FoldRule(rule="split_column"), budget // 2)
        (fold,) = bench.folds
        split = Split(fold.train, None, fold.validation)
        train_together([replica_on(torch.from_numpy(bench.labels), split)], bench.source)

    return run


def measure_memory(folder: Path, samples: int) -> tuple[dict[str, float], dict[str, Any]]:
    """Train from a float16 cache that just fits its budget, and under it from one 4 times as large."""
    budget = samples * ROW_BYTES
    sizes = {"resident": samples, "streaming": 4 * samples}
    paths = {name: str(synthetic_cache(folder / name, size)) for name, size in sizes.items()}
    peaks: dict[str, list[float]] = {name: [] for name in sizes}
    for _ in range(FEW_ROUNDS):
        for name, path in paths.items():
            peaks[name].append(peak_mebibytes(train_job, path, budget))
    ratios = {"peak_memory_streaming_over_resident": median_ratio(peaks["streaming"], peaks["resident"])}
    facts = {"budget_mebibytes": budget / 2**20, "cache_samples": sizes, "peak_mebibytes": peaks}
    return ratios, facts


def measure_bytes() -> tuple[dict[str, float], dict[str, Any]]:
    """Run a job of 25 seeds for the paper's 35 epochs; as in AG News, one sample in 17 validates.

    Samples are small here, 6 x 128 values: how often they are read does not depend on their size. All that
    the job reads counts: epochs, the scores of the last one, densities, entropies.
    """
    shape, epochs, seeds = (2040, 6, 128), 35, 25
    size = 2 * shape[0] * shape[1] * shape[2]
    spec = TrainingSpec(
        dataset="synthetic",
        encoder="none",
        variant="daam_v1",
        seeds=list(range(seeds)),
        folds=FoldRule(rule="split_column"),
        training=TrainingConfig(
            batch_size=256, precision="float32", epochs=epochs, decoder_channels=1, shuffle_mebibytes=1
        ),
        protocol=Protocol.model_validate("corrected"),
    )
    benches: list[Bench] = []

    def opened(*arguments: Any) -> Bench:
        benches.append(open_bench(*arguments))
        return benches[-1]

    labels = [row % CLASSES for row in range(shape[0])]
    with (
        tempfile.TemporaryDirectory(dir=SCRATCH) as folder,
        patch.dict(os.environ, {MEMORY: str(0.9 * size / 2**30)}),
        patch.object(training_run, "open_bench", opened),
    ):
        splits = splits_of(shape[0])
        store = write_synthetic_cache(Path(folder), shape, labels, chunk_mebibytes=0.25, splits=splits)
        training_run.run_job(spec, store, Path(folder, "runs"), Progress(disable=True))
    source = benches[0].source
    assert isinstance(source, StreamingSource)
    note = "beside it every chunk is read once to be verified; decoder of one channel"
    facts = {"bytes_read": source.bytes_read, "cache_bytes": size, "epochs": epochs, "replicas": seeds}
    return {"bytes_read_over_cache_times_epochs": source.bytes_read / (size * epochs)}, facts | {"note": note}


def measure_precision(seeds: int = 5) -> tuple[dict[str, float], dict[str, Any]]:
    """Train the same seeds in mixed precision and in float32 on a task of the paper's shape.

    One layer tells the class, faintly. The gap of the mean accuracies is given in units of the standard
    deviation of float32 over seeds.
    """
    fitted, samples, epochs = 256, 512, 4
    generator = torch.Generator().manual_seed(0)
    labels = torch.arange(samples) % CLASSES
    values = torch.randn(samples, LAYERS, FEATURES, generator=generator)
    signal = torch.randn(CLASSES, FEATURES, generator=generator)
    values[:, LAYERS // 2] += 0.25 * signal[labels]
    rows = np.arange(samples)
    source = ResidentSource(values, ROW_BYTES, 2**30)
    found: dict[str, list[float]] = {"bfloat16": [], "float32": []}
    for seed in range(seeds):
        for precision, scores in found.items():
            training = TrainingConfig.model_validate(
                {"batch_size": 8, "precision": precision, "epochs": epochs}
            )
            split = Split(rows[:fitted], None, rows[fitted:])
            replica = Replica(model_of(seed=seed), labels, split, training, PROTOCOL, (seed, 0))
            train_together([replica], source)
            scores.append(replica.outcome().epochs[-1].validation_score)
    gap = abs(statistics.mean(found["bfloat16"]) - statistics.mean(found["float32"]))
    spread = statistics.stdev(found["float32"])
    facts = {"accuracies": found, "gap": gap, "spread_of_float32": spread, "epochs": epochs}
    return {"mixed_precision_gap_over_float32_spread": gap / spread}, facts | {"chance": 1 / CLASSES}


def main() -> None:
    SCRATCH.mkdir(exist_ok=True)
    torch.set_num_threads(os.cpu_count() or 1)
    print("speed ...", flush=True)
    ratios, raw = measure_speed()
    samples = 2048
    with tempfile.TemporaryDirectory(dir=SCRATCH) as folder:
        path = synthetic_cache(Path(folder, "loading"), samples)
        steps: dict[str, Callable[[], tuple[dict[str, float], dict[str, Any]]]] = {
            "precision": measure_precision,
            "loading": lambda: measure_loading(path, samples // 4),
            "memory": lambda: measure_memory(Path(folder), 2 * samples),
            "bytes": measure_bytes,
            "workflow": measure_workflow,
        }
        for name, measure in steps.items():
            print(f"{name} ...", flush=True)
            found, raw[name] = measure()
            ratios |= found
    if torch.cuda.is_available():
        found, raw["replicas"] = measure_replicas(torch.device("cuda"))
        ratios |= found
    else:
        raw["not_run"] = "replicas_25_speedup_over_sequential and replicas_25_over_convolutions need a GPU"
    raw["rounds"] = {
        "speed, loading, replicas": ROUNDS,
        "memory": FEW_ROUNDS,
        "a workflow with nothing to do": AGAIN,
        "bytes, first run of the workflow": 1,
    }
    write_results("train", ratios, raw, torch.get_num_threads())


if __name__ == "__main__":
    main()
