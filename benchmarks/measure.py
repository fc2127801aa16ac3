"""Interleaved timing, peak memory of a child process, and the file with the results."""

import json
import multiprocessing
import resource
import statistics
import threading
from collections.abc import Callable, Mapping
from multiprocessing.connection import Connection
from pathlib import Path
from time import perf_counter
from typing import Any

from daam_bench.environment import describe_environment

ROUNDS = 5
Facts = dict[str, Any]


def interleave(
    ways: Mapping[str, Callable[[], object]],
    after: Callable[[], object] = lambda: None,
    rounds: int = ROUNDS,
) -> dict[str, list[float]]:
    """Time each way once a round, after a round that is not counted: what disturbs one disturbs all.

    Every other round goes backwards: none gains by a machine that grows slower or faster.

    Args:
        ways: what is timed.
        after: called after each way, outside of its time.
        rounds: number of those that are counted.
    """
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    for number in range(rounds + 1):
        for name, way in list(ways.items())[:: -1 if number % 2 else 1]:
            start = perf_counter()
            way()
            if number:
                seconds[name].append(perf_counter() - start)
            after()
    return seconds


def median_ratio(numerator: list[float], denominator: list[float]) -> float:
    """Return the median over rounds of the ratio within a round."""
    return statistics.median(a / b for a, b in zip(numerator, denominator, strict=True))


def resident(key: str) -> int:
    """Return resident memory in KiB from Linux: VmRSS now, VmHWM at its highest since the last reset."""
    lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    return int(next(line for line in lines if line.startswith(key)).split()[1])


def _peak(work: Callable[..., Callable[[], object]], arguments: tuple[Any, ...], pipe: Any) -> None:
    run = work(*arguments)
    Path("/proc/self/clear_refs").write_text("5", encoding="ascii")  # loading may have peaked higher
    before = resident("VmRSS")
    run()
    pipe.send((before, resident("VmHWM")))


def peak_mebibytes(work: Callable[..., Callable[[], object]], *arguments: Any) -> float:
    """Return by how much a piece of work raises the peak memory of a fresh process; Linux only.

    `work(*arguments)` loads what is not to be counted, and returns the piece of work.
    """
    context = multiprocessing.get_context("spawn")
    here, there = context.Pipe(duplex=False)
    process = context.Process(target=_peak, args=(work, arguments, there))
    process.start()
    before, after = here.recv()
    process.join()
    return (after - before) / 1024


def _child(step: Callable[..., Facts], arguments: tuple[Any, ...], limit: int, pipe: Connection) -> None:
    resource.setrlimit(resource.RLIMIT_DATA, (limit, limit))
    peak, done = [0], threading.Event()

    def watch() -> None:
        while not done.wait(0.02):
            peak[0] = max(peak[0], resident("RssAnon"))

    watcher = threading.Thread(target=watch, daemon=True)
    watcher.start()
    start = perf_counter()
    facts = step(*arguments)
    seconds = perf_counter() - start
    done.set()
    watcher.join()
    memory = {"peak_private_mebibytes": peak[0] / 1024, "peak_resident_mebibytes": resident("VmHWM") / 1024}
    pipe.send({"seconds": seconds, **memory, **facts})


def limited(limit: int, step: Callable[..., Facts], *arguments: Any) -> Facts:
    """Do a step in a fresh process that the kernel holds to a limit of private memory (RLIMIT_DATA).

    It is forked from one that has imported the libraries and done nothing else. Pages of mapped files, which
    the kernel takes back at need, are no private memory; Linux only.

    Args:
        limit: bytes.
        step: does the work and returns facts.
        arguments: of the step.

    Returns:
        The facts, with seconds and peak memory.
    """
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["daam_bench.analysis.tables", "daam_bench.training.run"])
    here, there = context.Pipe(duplex=False)
    process = context.Process(target=_child, args=(step, arguments, limit, there))
    process.start()
    there.close()
    try:
        facts: Facts = here.recv()
    except EOFError:
        process.join()
        raise SystemExit(f"{step.__name__} failed (exit code {process.exitcode})") from None
    process.join()
    return facts


def write_results(
    name: str, ratios: Mapping[str, float], raw: Mapping[str, Any], threads: int, device: str = "cpu"
) -> None:
    """Print the ratios and write them to `results/benchmarks/<name>.json` with what they came from."""
    width = max(map(len, ratios))
    for key, value in ratios.items():
        print(f"{key:<{width}}  {value:8.3f}")
    facts = {"raw": raw, "environment": describe_environment(device, threads)}
    path = Path("results/benchmarks", f"{name}.json")
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({**ratios, **facts}, indent=1) + "\n", encoding="utf-8")
    print(f"written to {path}")
