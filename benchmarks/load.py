"""A cache of AG News size under a fixed limit of memory: make load.

Writes a synthetic cache of 40 x 5120 values a sample in float16 (Llama-2-13B's shape; all 127,600 samples
are 52 GB), then verifies it, takes its statistics, trains two variants for one epoch and writes the tables.
Each step is a fresh process that the kernel holds to a limit of private memory (RLIMIT_DATA): one that
loads the cache fails. Pages of mapped files, which the kernel takes back at need, are no private memory.

The decoder has 8 channels here, the paper's has 512: what is tested is the way of 40 x 5120 values from the
disk into a model, not the arithmetic of the convolutions, which is in proportion to the channels.
"""

import argparse
import json
import os
import shutil
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from measure import Facts, limited
from rich.progress import Progress
from synthetic import Values, write_synthetic_cache

from daam_bench.analysis.tables import write_tables
from daam_bench.cache.inspect import describe_cache
from daam_bench.cache.reader import open_cache
from daam_bench.cache.verify import verify_cache
from daam_bench.config import FoldRule, Protocol, TrainingConfig
from daam_bench.environment import describe_environment
from daam_bench.training.bench import MEMORY
from daam_bench.training.run import TrainingSpec, run_job

AG_NEWS, TEST, LAYERS, FEATURES, CLASSES = 127_600, 7_600, 40, 5120, 4
ROW_BYTES = LAYERS * FEATURES * 2
CHUNK_MEBIBYTES = 32
CHANNELS, BATCH = 8, 32
SHUFFLE_MEBIBYTES = 256
VARIANTS = ("majority", "daam_v1", "daam_v2")
FLOOR, MARGIN, LIMIT = 10.0, 15.0, 4.0  # GiB: least cache, disk left to others, private memory of a step
GIB = 2**30


def write_cache(folder: Path, samples: int) -> Facts:
    """Write the cache; layer 20 tells the class, so that there is something to learn."""
    # As AG News: the last 7,600 of 127,600 are the test split.
    training = samples - max(CLASSES, samples * TEST // AG_NEWS)
    signal = np.random.default_rng(1).normal(size=(CLASSES, FEATURES)).astype("float16")

    def change(noise: Values, rows: Any, index: int) -> Values:
        # Other features in every chunk, without drawing 25 billion numbers.
        block = np.roll(noise, index, axis=2)
        block[:, LAYERS // 2] += signal[rows % CLASSES]
        return block

    store = write_synthetic_cache(
        folder,
        (samples, LAYERS, FEATURES),
        [row % CLASSES for row in range(samples)],
        chunk_mebibytes=CHUNK_MEBIBYTES,
        splits=["train"] * training + ["validation"] * (samples - training),
        attributes={
            "class_names": ["world", "sports", "business", "technology"],
            "dataset_title": "synthetic",
        },
        change=change,
    )
    return {"store": str(store), "chunks": open_cache(store).layout.chunks}


def verify(store: Path) -> Facts:
    found = verify_cache(store)
    assert found.ok, found
    return {"bad_chunks": len(found.bad_chunks)}


def statistics(store: Path) -> Facts:
    layers = describe_cache(store)["layer_statistics"]
    return {"layers": len(layers), "standard_deviation_of_layer_21": layers[20]["standard_deviation"]}


def train(store: Path, variant: str, folder: Path) -> Facts:
    torch.set_num_threads(len(os.sched_getaffinity(0)))
    spec = TrainingSpec(
        dataset="synthetic",
        encoder="llama-2-13b-shaped",
        variant=variant,
        seeds=[0],
        folds=FoldRule(rule="split_column"),
        training=TrainingConfig(
            epochs=1,
            batch_size=BATCH,
            learning_rate=1e-3,
            decoder_channels=CHANNELS,
            shuffle_mebibytes=SHUFFLE_MEBIBYTES,
        ),
        protocol=Protocol.model_validate("paper"),
    )
    run_job(spec, store, folder / variant, Progress(disable=True))
    record = json.loads(next((folder / variant).glob("fold*_seed*.json")).read_bytes())
    return {"score": record["score"], "samples": record["train_samples"] + record["validation_samples"]}


def tables(folder: Path) -> Facts:
    write_tables([folder / variant for variant in VARIANTS], folder / "tables")
    return {"tables": len(list((folder / "tables").glob("*.csv")))}


def measure(folder: Path, samples: int, limit: int) -> dict[str, Facts]:
    size = samples * ROW_BYTES
    found: dict[str, Facts] = {}

    def do(name: str, read: int, step: Callable[..., Facts], *arguments: Any) -> Facts:
        facts = limited(limit, step, *arguments)
        if read:
            facts["gigabytes_per_second"] = read / facts["seconds"] / 1e9
            facts["samples_per_second"] = read / ROW_BYTES / facts["seconds"]
        found[name] = facts
        rate = f"{facts['gigabytes_per_second']:8.3f} GB/s" if read else " " * 13
        private, resident_too = facts["peak_private_mebibytes"], facts["peak_resident_mebibytes"]
        memory = f"{private:8.0f} MiB private {resident_too:8.0f} MiB resident"
        print(f"{name:<12} {facts['seconds']:9.1f} s {rate} {memory}", flush=True)
        return facts

    store = Path(do("write", size, write_cache, folder, samples)["store"])
    do("verify", size, verify, store)
    do("statistics", size, statistics, store)
    for variant in VARIANTS:
        # One epoch, then the validation split and the mean density: most of it is read once.
        do(variant, 0 if variant == "majority" else size, train, store, variant, folder)
    do("tables", 0, tables, folder)
    return found


def samples_for(gibibytes: float | None, folder: Path) -> int:
    """Return how many samples fit: all of AG News, or what the disk allows, or what is asked for."""
    free = shutil.disk_usage(folder).free / GIB
    size = min(AG_NEWS * ROW_BYTES / GIB, free - MARGIN) if gibibytes is None else gibibytes
    if gibibytes is None and size < FLOOR:
        raise SystemExit(f"{folder}: {free:.0f} GiB free; {FLOOR + MARGIN:.0f} are needed, or name --gib")
    if size > free - 1:
        raise SystemExit(f"{folder}: {free:.0f} GiB free, {size:.0f} asked for")
    return min(AG_NEWS, int(size * GIB) // ROW_BYTES)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--gib", type=float, help="size of the cache (default: what the disk allows)")
    parser.add_argument("--limit", type=float, default=LIMIT, help="GiB of private memory of a step")
    parser.add_argument("--folder", type=Path, default=Path("results"), help="for the cache meanwhile")
    given = parser.parse_args()
    given.folder.mkdir(parents=True, exist_ok=True)
    samples = samples_for(given.gib, given.folder)
    size = samples * ROW_BYTES
    # Training keeps what fits into this; here only the two parts of a stream do.
    os.environ[MEMORY] = str(2 * SHUFFLE_MEBIBYTES / 1024)
    print(
        f"{samples:,} of AG News' {AG_NEWS:,} samples x {LAYERS} x {FEATURES}, float16: {size / 1e9:.1f} GB"
    )
    print(f"every step is held to {given.limit:g} GiB of private memory")
    with tempfile.TemporaryDirectory(dir=given.folder, prefix="load-") as folder:
        steps = measure(Path(folder), samples, int(given.limit * GIB))
    highest = max(facts["peak_private_mebibytes"] for facts in steps.values())
    result = {
        "cache_bytes": size,
        "samples": samples,
        "samples_of_ag_news": AG_NEWS,
        "limit_gibibytes": given.limit,
        "peak_private_memory_over_cache": highest * 2**20 / size,
        "decoder_channels": CHANNELS,
        "steps": steps,
        "date": time.strftime("%Y-%m-%d"),
        "environment": describe_environment("cpu", len(os.sched_getaffinity(0))),
    }
    path = Path("results/benchmarks/load.json")
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    print(f"highest private memory {highest:.0f} MiB, the cache {size / 2**20:.0f} MiB; written to {path}")


if __name__ == "__main__":
    main()
