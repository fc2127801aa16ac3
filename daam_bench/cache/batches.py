"""Encode samples in batches of similar length, a few at once; preparing and writing overlap with it."""

import logging
import os
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_EXCEPTION, Executor, Future, ThreadPoolExecutor, wait
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt
import pandas as pd
import torch

from daam_bench.allocator import zeros_apart
from daam_bench.encoders.base import Encoder, Prepared
from daam_bench.errors import EncoderError

_Begun = TypeVar("_Begun")

# Smaller batches cost more calls; larger ones take more memory, on a CPU even more than malloc keeps
# (`allocator`). Lengths are sorted: few positions are padding.
POSITIONS_ON_CPU, _POSITIONS_ON_GPU = 768, 32768
_STREAMS_ON_CPU = 4
_MOST_PREPARED = 8  # windows at once
_SECONDS_BETWEEN_LOOKS = 0.5
_COMPARED_SAMPLES = 16
# Of stored values, and of their sums.
_TORCH_DTYPES = {"float16": (torch.float16, torch.float32), "float32": (torch.float32, torch.float64)}
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
        done: called from time to time with the numbers of samples and of positions since the last call.
        dtype: precision of the values; a sample with one that it cannot hold is quarantined.

    Raises:
        EncoderError: if one sample alone does not fit into the GPU's memory.
    """
    budget = Budget.of_device()
    # An empty run is one empty window.
    windows = [(run, i) for run in runs for i in range(0, len(run) or 1, encoder.window)]
    # A GPU is faster than one thread decodes; on a CPU more threads would take turns with those that encode.
    on_gpu = torch.cuda.is_available()
    most = min(_MOST_PREPARED, os.cpu_count() or 1) if on_gpu else 1
    with encoding_streams() as streams, ThreadPoolExecutor(most, thread_name_prefix="prepare") as pool:
        preparing = pool if on_gpu else streams
        prepared = _ahead(
            (
                preparing.submit(encoder.prepare, run.iloc[i : i + encoder.window], folder)
                for run, i in windows
            ),
            most,
        )

        def begin() -> Iterator[_Window]:
            for (run, start), preparation in zip(windows, prepared, strict=True):
                if start == 0:
                    result = _empty(encoder, run, dtype)
                ids = run["sample_id"].iloc[start : start + encoder.window].tolist()
                yield _begin(encoder, preparation.result(), ids, start, result, streams, budget)

        # While the last batches of a window are computed, or its chunk is written, no stream waits.
        for window in _ahead(begin(), 1):
            _finish(window, done)
            if window.start + encoder.window >= len(window.result.block):
                yield window.result


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
    block = zeros_apart((len(run), encoder.layers, encoder.features), dtype)
    block.fill(np.nan)
    return Encoded(block, np.full(len(run), -1, dtype=np.int64), {})


@dataclass(frozen=True)
class _Batch:
    """What went through the encoder: numbers of samples and of their positions, and the unusable rows."""

    samples: int
    positions: int
    unusable: list[int]


@dataclass(frozen=True)
class _Window:
    """Samples that are prepared and encoded together; they fill `result` from row `start` on."""

    sample_ids: list[str]
    start: int
    result: Encoded
    problems: dict[int, str]
    batches: list[Future[_Batch]]


def _begin(
    encoder: Encoder,
    prepared: Prepared,
    sample_ids: list[str],
    start: int,
    result: Encoded,
    streams: Executor,
    budget: Budget,
) -> _Window:
    """Hand the batches of a window to the streams."""
    good = [row for row in range(len(prepared.inputs)) if row not in prepared.problems]
    batches = batches_by_length([prepared.positions[row] for row in good], budget.positions)
    block, lengths = result.block, np.array(prepared.lengths)
    dtype, wider = _TORCH_DTYPES[block.dtype.name]

    def encode(rows: list[int]) -> _Batch:
        values = _encode_halved(encoder, prepared, rows, budget).to(dtype)
        # No such sum of finite values overflows; looking at each of them takes many times as long.
        usable = torch.isfinite(values.sum(dim=(1, 2), dtype=wider)).tolist()
        kept = [row for row, is_usable in zip(rows, usable, strict=True) if is_usable]
        unusable = [row for row, is_usable in zip(rows, usable, strict=True) if not is_usable]
        # Here and not by the thread that waits: values that wait for it would lie between blocks of memory
        # that later batches ask for anew.
        block[[start + row for row in kept]] = (values[usable] if unusable else values).numpy()
        result.lengths[[start + row for row in kept]] = lengths[kept]
        return _Batch(len(rows), int(lengths[rows].sum()), unusable)

    futures = [streams.submit(encode, [good[i] for i in batch]) for batch in batches]
    return _Window(sample_ids, start, result, prepared.problems, futures)


def _finish(window: _Window, done: Callable[[int, int], None]) -> None:
    """Wait for a window and note which of its samples have no result."""
    result, problems, pending = window.result, dict(window.problems), set(window.batches)
    reason = f"the encoder's output is not finite in {result.block.dtype}"
    while pending:
        # Not one by one: each time a stream would have to give way.
        finished, pending = wait(pending, _SECONDS_BETWEEN_LOOKS, FIRST_EXCEPTION)
        batches = [future.result() for future in finished]
        problems |= {row: reason for batch in batches for row in batch.unusable}
        done(sum(batch.samples for batch in batches), sum(batch.positions for batch in batches))
    done(len(window.problems), 0)
    result.quarantined.update({window.sample_ids[row]: problems[row] for row in sorted(problems)})


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
    rows = np.argsort(np.negative(lengths), kind="stable").tolist()
    start = 0
    while start < len(rows):
        size = max(1, positions // max(1, lengths[rows[start]]))
        yield rows[start : start + size]
        start += size


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
