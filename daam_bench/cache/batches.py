"""Encode samples in batches of similar length, a few at once; preparing overlaps with computing."""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import torch

from daam_bench.encoders.base import Encoder, Prepared

# Larger batches gain nothing on a CPU, and their buffers are more than malloc keeps (`allocator`). Lengths
# are sorted: few positions are padding.
POSITIONS_ON_CPU, _POSITIONS_ON_GPU = 512, 32768
_STREAMS_ON_CPU = 4
_COMPARED_SAMPLES = 16


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

    The batches of a run depend on that run alone, so its values do not depend on what ran before it.

    Args:
        encoder: a frozen encoder.
        runs: tables of samples, such as those of one chunk each; they may be empty.
        folder: what the column `file` is relative to.
        done: called after each batch with its numbers of samples and of positions.
        dtype: precision of the values; a sample with one that it cannot hold is quarantined.
    """
    windows = [run.iloc[i : i + encoder.window] for run in runs for i in range(0, len(run), encoder.window)]
    with _streams() as streams, ThreadPoolExecutor(1, thread_name_prefix="prepare") as pool:
        ahead = pool.submit(encoder.prepare, windows[0], folder) if windows else None
        taken = 0
        for run in runs:
            result = _empty(encoder, run, dtype)
            for start in range(0, len(run), encoder.window):
                assert ahead is not None  # there is one more window
                prepared = ahead.result()
                taken += 1
                ahead = pool.submit(encoder.prepare, windows[taken], folder) if taken < len(windows) else None
                _encode_window(encoder, prepared, run["sample_id"], start, result, streams, done)
            yield result


@contextmanager
def _streams() -> Iterator[Executor]:
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


def _encode_window(
    encoder: Encoder,
    prepared: Prepared,
    sample_ids: pd.Series,
    start: int,
    result: Encoded,
    streams: Executor,
    done: Callable[[int, int], None],
) -> None:
    """Encode the samples of a run from row `start` on, and put what comes out into its place in `result`."""
    problems = dict(prepared.problems)
    good = [row for row in range(len(prepared.inputs)) if row not in problems]
    budget = _POSITIONS_ON_GPU if torch.cuda.is_available() else POSITIONS_ON_CPU
    lengths = np.array(prepared.lengths)
    batches = [
        np.array([good[i] for i in batch])
        for batch in batches_by_length([prepared.positions[row] for row in good], budget)
    ]

    def encode(rows: npt.NDArray[np.int64]) -> tuple[npt.NDArray[np.floating], npt.NDArray[np.bool_]]:
        values = encoder.encode([prepared.inputs[row] for row in rows])
        stored = values.to(getattr(torch, result.block.dtype.name))
        return stored.numpy(), torch.isfinite(stored).all(dim=(1, 2)).numpy()

    for rows, (values, usable) in zip(batches, streams.map(encode, batches), strict=True):
        result.block[start + rows[usable]] = values[usable]
        result.lengths[start + rows[usable]] = lengths[rows[usable]]
        for row in rows[~usable].tolist():
            problems[row] = f"the encoder's output is not finite in {values.dtype}"
        done(len(rows), int(lengths[rows].sum()))
    done(len(prepared.problems), 0)
    result.quarantined.update({sample_ids.iloc[start + row]: problems[row] for row in sorted(problems)})


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

    None if fewer than two samples can be used.
    """
    count = min(len(samples), encoder.window)
    prepared = encoder.prepare(samples.iloc[np.linspace(0, len(samples) - 1, count).astype(int)], folder)
    good = [row for row in range(len(prepared.inputs)) if row not in prepared.problems]
    if len(good) < 2:
        return None
    ordered = sorted(good, key=lambda row: prepared.lengths[row])
    spread = np.linspace(0, len(ordered) - 1, min(_COMPARED_SAMPLES, len(ordered))).astype(int)
    chosen: list[Any] = [prepared.inputs[ordered[i]] for i in spread]
    together = encoder.encode(chosen).numpy()
    alone = np.concatenate([encoder.encode([sample]).numpy() for sample in chosen])
    scale = np.sqrt(np.mean(alone**2, axis=(0, 2), keepdims=True))
    return float(np.max(np.abs(together - alone) / scale))
