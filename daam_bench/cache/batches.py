"""Encode samples in batches of similar length, a few at once; preparing and writing overlap with it."""

import logging
import os
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt
import pandas as pd
import torch

from daam_bench.encoders.base import Encoder, Prepared
from daam_bench.errors import EncoderError

_Begun = TypeVar("_Begun")

# Smaller batches cost more calls; larger ones take more memory, on a CPU even more than malloc keeps
# (`allocator`). Lengths are sorted: few positions are padding.
POSITIONS_ON_CPU, _POSITIONS_ON_GPU = 768, 32768
_STREAMS_ON_CPU = 4
_MOST_PREPARED = 8  # windows at once
_COMPARED_SAMPLES = 16
# Larger differences between batched and single samples, in units of a layer's RMS, are warned of.
_USUAL_DIFFERENCE = {"float32": 1e-3, "float16": 2e-2, "bfloat16": 1e-1}


@dataclass
class Budget:
    """Most positions of a batch, padding included; it shrinks where a GPU's memory does not suffice."""

    positions: int

    @classmethod
    def of_device(cls) -> "Budget":
        """Return what suits the device."""
        return cls(_POSITIONS_ON_GPU if torch.cuda.is_available() else POSITIONS_ON_CPU)


@dataclass(frozen=True)
class Encoded:
    """Pooled layers of a run of samples.

    Attributes:
        block: values [row, layer, feature]; a quarantined row is NaN.
        lengths: number of positions each row was pooled over [row]; -1 for a quarantined row.
        quarantined: reason by sample id.
    """

    block: npt.NDArray[np.floating]
    lengths: npt.NDArray[np.int64]
    quarantined: dict[str, str]


def encode_runs(
    encoder: Encoder,
    runs: Sequence[pd.DataFrame],
    folder: Path,
    done: Callable[[int, int], None] = lambda samples, positions: None,
    dtype: str = "float32",
) -> Iterator[Encoded]:
    """Encode runs of samples one after another; while one computes, the next samples are prepared.

    The batches of a run depend on that run alone, so its values do not depend on what ran before it, unless
    a GPU's memory did not suffice: from then on batches are half as large.

    Args:
        encoder: a frozen encoder.
        runs: tables of samples, such as those of one chunk each; they may be empty.
        folder: what the column `file` is relative to.
        done: called after each batch with its numbers of samples and of positions.
        dtype: precision of the values; a sample with one that it cannot hold is quarantined.

    Raises:
        EncoderError: if one sample alone does not fit into the GPU's memory.
    """
    budget = Budget.of_device()
    windows = [run.iloc[i : i + encoder.window] for run in runs for i in range(0, len(run), encoder.window)]
    # A GPU is faster than one thread decodes; on a CPU more threads would take turns with those that encode.
    on_gpu = torch.cuda.is_available()
    most = min(_MOST_PREPARED, os.cpu_count() or 1) if on_gpu else 1
    with encoding_streams() as streams, ThreadPoolExecutor(most, thread_name_prefix="prepare") as pool:
        preparing = pool if on_gpu else streams
        prepared = _ahead((preparing.submit(encoder.prepare, window, folder) for window in windows), most)
        # While the last batches of a window are computed, or its chunk is written, no stream waits.
        begun = _ahead((_begin(encoder, window.result(), dtype, streams, budget) for window in prepared), 1)
        for run in runs:
            result = _empty(encoder, run, dtype)
            for start in range(0, len(run), encoder.window):
                _finish(next(begun), run["sample_id"], start, result, done)
            yield result


def _ahead(begun: Iterator[_Begun], count: int) -> Iterator[_Begun]:
    """Yield what is begun, with `count` more begun behind it; what was begun before an error comes first."""
    kept: deque[_Begun] = deque()
    try:
        for item in begun:
            kept.append(item)
            if len(kept) > count:
                yield kept.popleft()
    except Exception:
        yield from kept
        raise
    yield from kept


@contextmanager
def encoding_streams() -> Iterator[Executor]:
    """Yield threads that encode one batch each; the threads of torch are shared out among them.

    On a CPU two batches side by side are faster than one after the other on two cores: no thread waits for
    another at the end of each operation. The last bits depend on the number of threads of a stream, which is
    one up to seven in all.
    """
    threads = torch.get_num_threads()
    each = threads if torch.cuda.is_available() else max(1, threads // _STREAMS_ON_CPU)
    pool = ThreadPoolExecutor(threads // each, "encode", torch.set_num_threads, (each,))
    try:
        yield pool
    finally:
        pool.shutdown(cancel_futures=True)
        torch.set_num_threads(threads)  # threads that are new from now on take it over


def _empty(encoder: Encoder, run: pd.DataFrame, dtype: str) -> Encoded:
    block = np.full((len(run), encoder.layers, encoder.features), np.nan, dtype=dtype)
    return Encoded(block, np.full(len(run), -1, dtype=np.int64), {})


@dataclass(frozen=True)
class _Window:
    """Samples that are being encoded: their batches as row numbers, and values and usable rows of each."""

    prepared: Prepared
    batches: list[npt.NDArray[np.int64]]
    results: Iterator[tuple[npt.NDArray[np.floating], npt.NDArray[np.bool_]]]


def _begin(encoder: Encoder, prepared: Prepared, dtype: str, streams: Executor, budget: Budget) -> _Window:
    """Hand the batches of a window to the streams."""
    good = [row for row in range(len(prepared.inputs)) if row not in prepared.problems]
    batches = [
        np.array([good[i] for i in batch])
        for batch in batches_by_length([prepared.positions[row] for row in good], budget.positions)
    ]

    def encode(rows: npt.NDArray[np.int64]) -> tuple[npt.NDArray[np.floating], npt.NDArray[np.bool_]]:
        values = _encode_halved(encoder, prepared, rows.tolist(), budget)
        stored = values.to(getattr(torch, dtype))
        # No sum of finite values of these precisions overflows; looking at each takes four times as long.
        sums = stored.sum(dim=(1, 2), dtype=torch.float64)
        return stored.numpy(), torch.isfinite(sums).numpy()

    return _Window(prepared, batches, streams.map(encode, batches))


def _finish(
    window: _Window, sample_ids: pd.Series, start: int, result: Encoded, done: Callable[[int, int], None]
) -> None:
    """Put what comes out of a window into its place in `result`, from row `start` on."""
    problems = dict(window.prepared.problems)
    lengths = np.array(window.prepared.lengths)
    for rows, (values, usable) in zip(window.batches, window.results, strict=True):
        result.block[start + rows] = values
        result.lengths[start + rows] = lengths[rows]
        for row in rows[~usable].tolist():
            result.block[start + row], result.lengths[start + row] = np.nan, -1
            problems[row] = f"the encoder's output is not finite in {values.dtype}"
        done(len(rows), int(lengths[rows].sum()))
    done(len(window.prepared.problems), 0)
    result.quarantined.update({sample_ids.iloc[start + row]: problems[row] for row in sorted(problems)})


def _encode_halved(encoder: Encoder, prepared: Prepared, rows: list[int], budget: Budget) -> torch.Tensor:
    """Encode a batch; where the GPU's memory does not suffice, its halves, and shrink the budget."""
    used = max(prepared.positions[row] for row in rows) * len(rows)
    if used <= budget.positions or len(rows) == 1:  # the budget may have shrunk since the batch was made
        try:
            return encoder.encode([prepared.inputs[row] for row in rows])
        except torch.OutOfMemoryError as error:
            if len(rows) == 1:
                raise EncoderError(
                    f"a single sample of {used} positions does not fit into GPU memory",
                    found=str(error).splitlines()[0],
                    remedy="Use a GPU with more memory, several (device_map), a lower dtype, or shorter "
                    "inputs.",
                ) from None
        # Outside of the handler, whose traceback keeps the tensors of the failed attempt.
        torch.cuda.empty_cache()
        budget.positions = min(budget.positions, max(1, used // 2))
        logging.warning("out of GPU memory: batches of %d positions from now on", budget.positions)
    half = len(rows) // 2
    return torch.cat([_encode_halved(encoder, prepared, part, budget) for part in (rows[:half], rows[half:])])


def batches_by_length(lengths: list[int], positions: int) -> Iterator[list[int]]:
    """Deal row numbers to batches, longest first, so that rows x longest length stays within `positions`.

    A sample longer than `positions` is a batch of its own.
    """
    batch: list[int] = []
    longest = 0
    for row in np.argsort(np.negative(lengths), kind="stable").tolist():
        longest = max(longest, lengths[row])
        if batch and longest * (len(batch) + 1) > positions:
            yield batch
            batch, longest = [], lengths[row]
        batch.append(row)
    if batch:
        yield batch


def batching_difference(encoder: Encoder, samples: pd.DataFrame, folder: Path) -> float | None:
    """Return the largest |batched - single| over a spread of lengths, in units of the layer's RMS.

    The batch has two samples at least, the shortest and the longest, and as many between them as a batch of
    an extraction has room for. None if fewer than two samples can be used.
    """
    count = min(len(samples), encoder.window)
    prepared = encoder.prepare(samples.iloc[np.linspace(0, len(samples) - 1, count).astype(int)], folder)
    good = [row for row in range(len(prepared.inputs)) if row not in prepared.problems]
    if len(good) < 2:
        return None
    ordered = sorted(good, key=lambda row: prepared.lengths[row])
    room = Budget.of_device().positions // max(prepared.positions[row] for row in good)
    spread = np.linspace(0, len(ordered) - 1, min(_COMPARED_SAMPLES, len(ordered), max(2, room))).astype(int)
    chosen: list[Any] = [prepared.inputs[ordered[i]] for i in spread]
    try:
        together = encoder.encode(chosen).numpy()
    except torch.OutOfMemoryError as error:
        logging.warning("batched and single samples are not compared: %s", str(error).splitlines()[0])
        return None
    alone = np.concatenate([encoder.encode([sample]).numpy() for sample in chosen])
    finite = np.isfinite(alone).all(axis=(1, 2)) & np.isfinite(together).all(axis=(1, 2))
    if not finite.any():
        return None
    together, alone = together[finite], alone[finite]
    scale = np.sqrt(np.mean(alone**2, axis=(0, 2), keepdims=True))
    found = float(np.max(np.abs(together - alone) / np.maximum(scale, np.finfo(alone.dtype).tiny)))
    if found > _USUAL_DIFFERENCE.get(encoder.settings().get("dtype", "float32"), 1e-3):
        logging.warning("batched and single samples differ by %.1e of a layer's root mean square", found)
    return found
