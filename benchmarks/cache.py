"""Speed and memory of extraction and of reading, as ratios: make benchmark-cache.

Extraction runs MiniLM-L6 on VADER's texts (mixed lengths); reading a synthetic cache of 24 x 1024 values a
sample in float16. Every ratio is a median over rounds that run all ways in turn.

- An extraction is timed from its open job on: its model is loaded and hashed, its samples are described.
- Bare forwards run the very batches of the extraction as it runs them: side by side, one to a thread.
- The naive way takes samples in random order, in batches of 16 that are padded to the longest of each, keeps
  all hidden states and pools them afterwards.
- Peak memory is what extraction adds in a fresh process whose model and table of samples are loaded.
  8 times as many samples are more than VADER has: its texts begin again, under other ids.
- Reading runs in a process whose private memory the kernel holds to half of the cache's size: nothing can
  keep the cache but the page cache, which the kernel takes back at need. Shuffled batches are read row by row
  in a random order of all. Training does not do that: it reads ahead into buffers that all replicas share,
  and takes batches from them in float32; the entropy of labels is that of its batches. Chunks are verified
  before the timed epochs.
"""

import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
import zarr
from measure import ROUNDS, Facts, interleave, limited, median_ratio, peak_mebibytes, write_results
from rich.progress import Progress
from synthetic import write_synthetic_cache

from daam_bench.allocator import keep_freed_memory
from daam_bench.cache.batches import POSITIONS_ON_CPU, batches_by_length, encoding_streams
from daam_bench.cache.extraction import ExtractionSpec, describe, fill
from daam_bench.cache.reader import EmbeddingCache, open_cache
from daam_bench.cache.stream import RowReader
from daam_bench.cache.writer import CacheWriter
from daam_bench.config import CacheConfig, DatasetConfig, EncoderConfig
from daam_bench.datasets.listing import list_samples
from daam_bench.encoders.base import load_encoder
from daam_bench.encoders.onednn import OneDnn
from daam_bench.encoders.pooling import MaskedMean
from daam_bench.training.batches import WholeBatches
from daam_bench.training.order import order_in_buffer
from daam_bench.training.source import StreamingSource

RESOURCES = Path("resources")
SCRATCH = Path("results")
CACHES = SCRATCH / "benchmarks" / "caches"
FEW_SAMPLES = 2560  # for what differs much
CLOSE_ROUNDS = 9  # for what differs by less than rounds do
MEMORY_SAMPLES = 8192  # and 8 times as many
NAIVE_BATCH, TRAINING_BATCH = 16, 32
READ_SAMPLES, LAYERS, FEATURES = 36_000, 24, 1024
BUFFER_BYTES = 2**25  # of a cache of 1.6 GiB; training's default is 2**28
NAIVE_READS = 100

SPEC = ExtractionSpec(
    dataset="vader",
    encoder_name="minilm-l6",
    encoder=EncoderConfig(modality="text", model=str(RESOURCES / "minilm-l6"), max_length=256),
    cache=CacheConfig(dtype="float16"),
)


def vader(count: int | None = None) -> pd.DataFrame:
    """Return VADER's texts in random order: all, or as many; more than there are begin again."""
    samples = list_samples("vader", DatasetConfig(kind="vader", path=str(RESOURCES / "vader")))
    shuffled = samples.sample(frac=1, random_state=0)
    times = -(-(count or len(samples)) // len(samples))
    kept = pd.concat([shuffled] * times, ignore_index=True)[:count]
    kept["sample_id"] += "#" + (kept.index // len(samples)).astype(str)
    kept.attrs = samples.attrs
    return kept


def extraction(encoder: Any, samples: pd.DataFrame, spec: ExtractionSpec = SPEC) -> Callable[[], int]:
    """Return what fills a new cache in `CACHES` from an open job, and returns its bytes on disk."""
    layout, identity = describe(spec, encoder, samples)

    def extract() -> int:
        folder = Path(tempfile.mkdtemp(dir=CACHES))
        with CacheWriter(folder, spec.cache.format, layout, identity) as writer:
            fill(writer, encoder, samples, spec, Progress(disable=True))
            writer.finish()
            return sum(file.stat().st_size for file in writer.path.rglob("*") if file.is_file())

    return extract


def remove_caches() -> None:
    """Remove what extractions have left; that is no part of one."""
    for folder in CACHES.iterdir():
        shutil.rmtree(folder)


def batches_of(encoder: Any, inputs: list[Any], rows_per_chunk: int) -> list[list[Any]]:
    """Return the batches of an extraction."""
    found = []
    for first in range(0, len(inputs), rows_per_chunk):
        chunk = inputs[first : first + rows_per_chunk]
        for start in range(0, len(chunk), encoder.window):
            window = chunk[start : start + encoder.window]
            dealt = batches_by_length([len(ids) for ids in window], POSITIONS_ON_CPU)
            found += [[window[row] for row in batch] for batch in dealt]
    return found


def bare_forwards(encoder: Any, batches: list[list[Any]], side_by_side: bool) -> None:
    """Forward batches and keep nothing: one to a thread as in an extraction, or each on all threads."""

    def forward(batch: list[Any]) -> None:
        with torch.inference_mode(), OneDnn():  # both are of the thread that sets them
            padded, _ = encoder.batch(batch)
            encoder.model(**padded)

    if side_by_side:
        with encoding_streams() as streams:
            list(streams.map(forward, batches))
    else:
        for batch in batches:
            forward(batch)


@torch.inference_mode()
def naive(encoder: Any, inputs: list[Any], size: int) -> int:
    """Forward random batches, keep all hidden states, pool them afterwards; return the bytes kept."""
    order = np.random.default_rng(0).permutation(len(inputs))
    kept = []
    for start in range(0, len(order), size):
        padded, mask = encoder.batch([inputs[row] for row in order[start : start + size]])
        kept.append((encoder.model(**padded, output_hidden_states=True).hidden_states[1:], mask))
    pooled = [torch.stack([*map(MaskedMean(mask), states)], dim=1) for states, mask in kept]
    assert sum(map(len, pooled)) == len(inputs)
    return sum(state.numel() * state.element_size() for states, _ in kept for state in states)


def measure_extraction() -> tuple[dict[str, float], dict[str, Any]]:
    encoder: Any = load_encoder("minilm-l6", SPEC.encoder)
    samples, few = vader(), vader(FEW_SAMPLES)
    inputs, few_inputs = (encoder.prepare(some, Path()).inputs for some in (samples, few))
    extract, extract_few = extraction(encoder, samples), extraction(encoder, few)
    rows_per_chunk = describe(SPEC, encoder, samples)[0].rows_per_chunk
    batches = batches_of(encoder, inputs, rows_per_chunk)
    few_batches = batches_of(encoder, few_inputs, rows_per_chunk)
    # What differs by a few percent takes all samples, and rounds of its own.
    close = interleave(
        {"bare": lambda: bare_forwards(encoder, batches, side_by_side=True), "extraction": extract},
        remove_caches,
        CLOSE_ROUNDS,
    )
    seconds = interleave(
        {
            "extraction": extract_few,
            "bare_one_after_another": lambda: bare_forwards(encoder, few_batches, side_by_side=False),
            "naive": lambda: naive(encoder, few_inputs, NAIVE_BATCH),
            "one_by_one": lambda: naive(encoder, few_inputs, 1),
        },
        remove_caches,
    )
    stored = extract_few()
    unpooled = naive(encoder, few_inputs, NAIVE_BATCH)

    def over_extraction(way: str) -> float:
        return median_ratio(seconds[way], seconds["extraction"])

    ratios = {
        "extraction_over_bare_forward": median_ratio(close["bare"], close["extraction"]),
        "extraction_over_bare_forward_one_after_another": over_extraction("bare_one_after_another"),
        "speedup_over_naive_extraction": over_extraction("naive"),
        "speedup_over_one_by_one": over_extraction("one_by_one"),
        "bytes_saved_over_unpooled": unpooled / stored,
    }
    raw = {
        "seconds": seconds,
        "seconds_close": close,
        "samples": FEW_SAMPLES,
        "samples_close": len(samples),
        "bytes_stored": stored,
        "bytes_unpooled": unpooled,
    }
    return ratios, raw


def extraction_of(count: int) -> Callable[[], object]:
    encoder = load_encoder("minilm-l6", SPEC.encoder)
    samples = vader(count)
    # Small chunks: with one chunk or less, memory would still grow towards that of one.
    small = SPEC.model_copy(update={"cache": CacheConfig(dtype="float16", chunk_mebibytes=1)})
    return extraction(encoder, samples, small)


def pooling_of(all_layers: bool) -> Callable[[], object]:
    encoder: Any = load_encoder("minilm-l6", SPEC.encoder)
    if not all_layers:
        encoder.pooler.blocks = encoder.pooler.blocks[-1:]
    inputs = encoder.prepare(vader(8), Path()).inputs
    encoder.encode(inputs)
    long = [(ids * 256)[:256] for ids in inputs]
    return lambda: encoder.encode(long)


def measure_memory() -> tuple[dict[str, float], dict[str, Any]]:
    ways = {
        "samples_1x": lambda: peak_mebibytes(extraction_of, MEMORY_SAMPLES),
        "samples_8x": lambda: peak_mebibytes(extraction_of, 8 * MEMORY_SAMPLES),
        "one_layer": lambda: peak_mebibytes(pooling_of, False),
        "all_layers": lambda: peak_mebibytes(pooling_of, True),
    }
    peaks: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(ROUNDS):
        for name, way in ways.items():
            peaks[name].append(way())
    ratios = {
        "peak_memory_8x_samples_over_1x": median_ratio(peaks["samples_8x"], peaks["samples_1x"]),
        "peak_memory_all_layers_over_one": median_ratio(peaks["all_layers"], peaks["one_layer"]),
    }
    note = "beyond the loaded model and the table of samples; the first is measured after they are loaded"
    return ratios, {"peak_mebibytes_beyond_model": peaks, "note": note}


def synthetic_cache(folder: Path) -> EmbeddingCache:
    """Write a cache whose samples are sorted by label, the worst case for a shuffle."""
    labels = [row * 10 // READ_SAMPLES for row in range(READ_SAMPLES)]
    shape = (READ_SAMPLES, LAYERS, FEATURES)
    store = write_synthetic_cache(folder, shape, labels, change=lambda b, _, i: b + np.float16(i % 7))
    return open_cache(store)


def entropy(labels: np.ndarray) -> float:
    shares = np.bincount(labels) / len(labels)
    return float(-(shares[shares > 0] * np.log(shares[shares > 0])).sum())


def measure_reading() -> tuple[dict[str, float], dict[str, Any]]:
    with tempfile.TemporaryDirectory(dir=SCRATCH) as folder:
        cache = synthetic_cache(Path(folder))
        size = cache.layout.samples * LAYERS * FEATURES * 2
        found = limited(size // 2, read_cache, cache.path)
    note = (
        "chunks were verified once, before the timed epochs; the naive reads are of single samples; the "
        "process was held to private memory (RLIMIT_DATA) of half of the cache, the page cache was not"
    )
    facts = {"bytes": size, "limit_of_private_memory": size // 2, "naive_reads": NAIVE_READS, "note": note}
    return found.pop("ratios"), found | facts


def read_cache(path: Path) -> Facts:
    """Read a cache in all ways; return ratios and seconds."""
    keep_freed_memory()  # as every job does
    cache = open_cache(path)
    reader, rows = RowReader(cache), np.arange(READ_SAMPLES)
    reader.verify()
    places = [cache.place_of(index) for index in range(cache.layout.chunks)]
    target = np.empty((cache.layout.rows_per_chunk, LAYERS, FEATURES), dtype="float16")

    def block_copy() -> None:
        for index, place in enumerate(places):
            assert place is not None
            part = cache.layout.rows_of(index)
            shape = (part.stop - part.start, LAYERS, FEATURES)
            np.copyto(target[: shape[0]], np.memmap(place[0], "float16", "r", place[1], shape))

    row_bytes = LAYERS * FEATURES * 2
    source = StreamingSource(reader, rows, row_bytes, BUFFER_BYTES, torch.device("cpu"))

    def batches(epoch: int) -> Iterator[np.ndarray]:
        """Take every batch of an epoch as training does; yield its rows."""
        whole = WholeBatches(TRAINING_BATCH, None)
        for buffer in source.epoch(epoch):
            for part, values in whole.cut(order_in_buffer(buffer.rows, (0,), epoch, buffer.number), buffer):
                if values is None:
                    buffer.take(part)
                yield part

    def shuffled() -> None:
        order = np.random.default_rng(0).permutation(rows)
        for start in range(0, len(order), TRAINING_BATCH):
            reader.read(order[start : start + TRAINING_BATCH])

    def streamed() -> None:
        for _ in batches(1):
            pass

    array: Any = zarr.open_group(cache.path, mode="r")["embeddings"]
    picked = np.random.default_rng(1).integers(0, READ_SAMPLES, NAIVE_READS)
    seconds = interleave(
        {
            "block_copy": block_copy,
            "shuffled": shuffled,
            "streamed": streamed,
            "naive_zarr": lambda: [array[row] for row in picked],
        }
    )
    labels = np.asarray(cache.layout.labels)
    ours = [entropy(labels[part]) for part in batches(2)]
    order = np.random.default_rng(3).permutation(rows)
    full = [entropy(labels[part]) for part in np.split(order, len(order) // TRAINING_BATCH)]
    per_sample = [s / NAIVE_READS * READ_SAMPLES for s in seconds["naive_zarr"]]
    ratios = {
        "shuffled_read_over_block_copy": median_ratio(seconds["block_copy"], seconds["shuffled"]),
        "training_batches_over_block_copy": median_ratio(seconds["block_copy"], seconds["streamed"]),
        "shuffled_read_over_naive_zarr": median_ratio(per_sample, seconds["shuffled"]),
        "batch_label_entropy_over_full_shuffle": float(np.mean(ours) / np.mean(full)),
    }
    return {"ratios": ratios, "seconds_of_ways": seconds}


def main() -> None:
    CACHES.mkdir(parents=True, exist_ok=True)
    ratios: dict[str, float] = {}
    raw: dict[str, Any] = {}
    try:
        for name, measure in (
            ("extraction", measure_extraction),
            ("memory", measure_memory),
            ("reading", measure_reading),
        ):
            print(f"{name} ...", flush=True)
            found, raw[name] = measure()
            ratios |= found
    finally:
        shutil.rmtree(CACHES)
    write_results("cache", ratios, raw, torch.get_num_threads())


if __name__ == "__main__":
    main()
