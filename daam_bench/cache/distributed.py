"""Extraction on a dask `distributed` cluster: each task fills its own chunks of one Zarr cache.

A task is a function of this module with a few strings and numbers; arrays never travel. Workers read and
write the same folders as the caller, on a shared file system. dask pickles what it sends, so whoever can
reach its scheduler can run code on its workers: see docs/clusters.md.
"""

import contextlib
import logging
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import pandas as pd
from filelock import FileLock
from pyarrow.parquet import read_metadata
from rich.progress import Progress

from daam_bench.cache.extraction import ExtractionSpec, Job, compute_part, open_job, write_part
from daam_bench.cache.rates import sum_measurements
from daam_bench.errors import (
    CacheError,
    DaamBenchError,
    DataError,
    EncoderError,
    MachineError,
    RecordError,
)

if TYPE_CHECKING:
    from dask.distributed import Client

CONNECT_SECONDS = 30
_TASKS_A_WORKER = 8
# The folder and the number of threads are those of a process: a worker with threads takes turns.
_ONE_AT_A_TIME = threading.Lock()


def extract_on(
    scheduler: str,
    spec: ExtractionSpec,
    samples: Path,
    output: Path,
    part: tuple[int, int],
    progress: Progress,
) -> None:
    """Do the work of `extract_part` as tasks of a dask cluster, several for each worker.

    The cache is byte for byte that of one process with as many threads. A task whose worker dies is given to
    another one, which goes on after the last committed chunk; workers that come later take their share of
    the tasks that are left.

    Args:
        scheduler: address of a running scheduler, or the path of its scheduler file.
        spec: what to compute; the format must be zarr if there are several workers.
        samples: Parquet table from `datasets.listing.list_samples`.
        output: as of `extract_part`.
        part: (number of this part, number of parts), counted from 1; it is dealt on to the workers.
        progress: shows finished tasks.

    Raises:
        CacheError: if the scheduler cannot be reached, has no workers, or a task failed for good.
        EncoderError, DataError, MachineError, RecordError: as `extract_part`.
    """
    folder = output.parent.parent
    folder.mkdir(parents=True, exist_ok=True)
    # Another caller waits here, and then finds the work done.
    with FileLock(folder / f".dask.{part[0]}-of-{part[1]}.lock"), _client(scheduler) as client:
        workers = _workers(client, scheduler)
        # HDF5 has one writer; a chunk has one sample at least.
        most = 1 if spec.cache.format != "zarr" else max(1, read_metadata(samples).num_rows // part[1])
        tasks = _deal(part, min(_TASKS_A_WORKER * workers, most))
        # Tasks of one run share the opened encoder; what another one opened may be stale.
        arguments = (uuid4().hex, spec.model_dump_json(), str(Path.cwd()), str(samples), str(folder))
        futures = [client.submit(_fill, *arguments, task, pure=False) for task in tasks]
        bar = progress.add_task(f"{spec.dataset} x {spec.encoder_name} on {scheduler}", total=len(tasks))
        found = _gather(client, scheduler, futures, lambda: progress.advance(bar))
    measured = sum_measurements([facts["measurements"] for facts in found])
    write_part(output, {"store": found[0]["store"], "part": list(part), "measurements": measured})


def _gather(
    client: "Client", scheduler: str, futures: list[Any], advance: Callable[[], None]
) -> list[dict[str, Any]]:
    from dask.distributed import CancelledError, as_completed

    try:
        for future in as_completed(futures, loop=client.loop):  # type: ignore[no-untyped-call]
            if future.exception() is not None:
                raise _reason(future.exception(), scheduler)
            advance()
        found: list[dict[str, Any]] = client.gather(futures)  # type: ignore[no-untyped-call]
    except CancelledError as error:  # the scheduler is gone
        raise _reason(error, scheduler) from None
    return found


def _deal(part: tuple[int, int], tasks: int) -> list[tuple[int, int]]:
    """Return the parts of a part, one for each task: together they have the same chunks."""
    number, parts = part
    return [((number - 1) * tasks + k, parts * tasks) for k in range(1, tasks + 1)]


def _workers(client: "Client", scheduler: str) -> int:
    """Wait for the first worker; return how many there are."""
    from dask.distributed import TimeoutError as NoWorkers

    try:
        client.wait_for_workers(1, timeout=CONNECT_SECONDS)
    except NoWorkers:
        raise CacheError("a scheduler without workers", where=scheduler) from None
    return len(client.scheduler_info(n_workers=-1)["workers"])


@contextmanager
def _client(scheduler: str) -> Iterator["Client"]:
    try:
        from dask.distributed import Client
    except ImportError:
        remedy = "pip install 'daam-bench[distributed]'"
        raise CacheError("dask's distributed is not installed", where=scheduler, remedy=remedy) from None
    where = {"address": scheduler} if "://" in scheduler else {"scheduler_file": scheduler}
    try:
        if "://" not in scheduler and not Path(scheduler).is_file():
            raise OSError("no such file")  # dask would wait for it for ever
        client = Client(**where, timeout=CONNECT_SECONDS, set_as_default=False)  # type: ignore[no-untyped-call]
    except (OSError, ValueError) as error:
        raise CacheError(
            f"no dask scheduler answers ({error})",
            where=scheduler,
            expected="an address like tcp://host:8786, or the path of a scheduler file",
            remedy="`dask scheduler` starts one.",
        ) from None
    with client:
        yield client


def _fill(
    run: str, spec: str, working: str, samples: str, folder: str, part: tuple[int, int]
) -> dict[str, Any]:
    """Do one task, on a worker; an error of ours travels as text: it cannot be pickled."""
    # Relative paths mean what they mean to the caller.
    with _ONE_AT_A_TIME, contextlib.chdir(working):
        logging.info("part %d of %d into %s", *part, folder)
        try:
            return compute_part(_open(run, spec, samples), Path(folder), part, Progress(disable=True))
        except DaamBenchError as error:
            raise TaskError(type(error).__name__, str(error)) from None


@lru_cache(maxsize=1)
def _open(run: str, spec: str, samples: str) -> Job:
    """Open a job; a worker keeps it for its other tasks of the same run, and until it gets one of another."""
    return open_job(ExtractionSpec.model_validate_json(spec), pd.read_parquet(samples))


class TaskError(Exception):
    """A user's mistake that a task found: name of our error, and its message. It can be pickled."""


def _reason(error: BaseException | None, scheduler: str) -> DaamBenchError:
    if isinstance(error, TaskError):
        name, message = error.args
        kinds = {kind.__name__: kind for kind in (DataError, EncoderError, MachineError, RecordError)}
        return kinds.get(name, CacheError)(message)
    remedy = "See the logs of the workers; the next run goes on after the last committed chunk."
    return CacheError(f"a task failed ({error!r})", where=scheduler, remedy=remedy)
