"""Two writers at once on the same results; clocks that jump."""

import os
import random
import time
from collections.abc import Callable
from pathlib import Path

from benchmarks.torture.children import command_line, run_child, warm
from benchmarks.torture.tally import Budget, Tally
from benchmarks.torture.work import VARIANTS
from benchmarks.torture.world import FORMATS, CountingEpochs, StandIn, World, differences, state_of

Writer = Callable[[Path], None]


def race(world: World, count: int, seed: int, budget: Budget) -> Tally:
    """Let several processes write the same results at once, `count` times.

    Who comes second waits: all together compute no more than they do one after the other.
    """
    tally, random_ = Tally(), random.Random(seed)
    cache = world.finished_cache("zarr")

    def train(folder: Path) -> None:
        world.train(cache, folder, VARIANTS[0])

    jobs: dict[str, list[Writer]] = {
        **{f"two extractions to {k}": [lambda f, k=k: world.extract(f, k)] * 2 for k in FORMATS},
        "two parts of one cache": [lambda f, n=n: _part(world, f, n) for n in (1, 2)],
        "a part twice": [lambda f, n=n: _part(world, f, n) for n in (1, 1, 2)],
        "an extraction under a jumping clock": [lambda f: _under_jumps(lambda: world.extract(f, "zarr"))],
        "two trainings": [train] * 2,
        "a training under a jumping clock": [lambda f: _under_jumps(lambda: train(f))],
    }
    # Each once, before any is repeated; training is slow and simple: a lock around all of it.
    names = [*jobs, *[name for name in jobs if "training" not in name] * 2]
    expected: dict[str, tuple[dict[str, bytes], tuple[int, int]]] = {}
    for number in range(count):
        if not budget.left():
            break
        name = names[number % len(names)]
        if name not in expected:
            expected[name] = _one_by_one(world, name, jobs[name])
        folder = world.fresh("race")
        pauses = [0.0, *(random_.uniform(0, 0.15) for _ in jobs[name][1:])]
        problem = _together(folder, jobs[name], pauses)
        computed = _computed()
        if problem is None and "part" in name:
            problem = run_child(lambda folder=folder: _finish(world, folder)).problem()
        problem = problem or differences(state_of(folder), expected[name][0])
        problem = problem or _too_much(computed, expected[name][1])
        tally.note(f"{name}, pauses {[round(pause, 4) for pause in pauses]}", problem)
        tally.count("races", name)
    return tally


def _one_by_one(world: World, name: str, works: list[Writer]) -> tuple[dict[str, bytes], tuple[int, int]]:
    """Return what writers leave that come one after the other, and how many rows and epochs they compute."""
    whole = {kind: world.finished_cache(kind) for kind in FORMATS}
    folder = world.fresh("alone")
    _computed()
    for work in works:
        ended = warm(lambda work=work: work(folder))
        if ended.code:
            raise RuntimeError(ended.text)
    left = folder if "training" in name else whole["hdf5" if "hdf5" in name else "zarr"]
    return state_of(left), _computed()


def _computed() -> tuple[int, int]:
    """Return how many rows and epochs were computed since the last call."""
    return StandIn.rows.take(), CountingEpochs.begun.take()


def _too_much(computed: tuple[int, int], expected: tuple[int, int]) -> str | None:
    """Return how much was computed by two at once that one should have waited for, or None."""
    found = [
        f"{have} {what} computed, {need} one after the other"
        for what, have, need in zip(("rows", "epochs"), computed, expected, strict=True)
        if have > need
    ]
    return "; ".join(found) or None


def _together(folder: Path, works: list[Writer], pauses: list[float]) -> str | None:
    """Start all at once, each after its pause; return what went wrong."""

    def both() -> None:
        children = []
        for work, pause in zip(works, pauses, strict=True):
            child = os.fork()
            if child == 0:
                code = 70
                try:
                    time.sleep(pause)
                    work(folder)
                    code = 0
                except SystemExit as leaving:
                    code = leaving.code if isinstance(leaving.code, int) else 70
                finally:
                    os._exit(code)
            children.append(child)
        codes = [os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children]
        if any(codes):
            raise RuntimeError(f"ended with {codes}")

    return run_child(both).problem()


def _part(world: World, folder: Path, number: int) -> None:
    spec = world.extraction_spec("zarr").model_dump_json()
    output = folder / "parts" / f"{number}.json"
    command_line("step", "extract-part", world.samples, output, "--spec", spec, "--part", f"{number}-of-2")


def _finish(world: World, folder: Path) -> None:
    spec = world.extraction_spec("zarr").model_dump_json()
    parts = [folder / "parts" / f"{number}.json" for number in (1, 2)]
    command_line(
        "step", "finish-cache", world.samples, *parts, "--manifest", folder / "manifest.json", "--spec", spec
    )


def _under_jumps(work: Callable[[], None]) -> None:
    """Do work while every look at the clock is a day off, to and fro."""
    true, looks = time.time, iter(range(10**9))
    time.time = lambda: true() + (86400 if next(looks) % 2 else -86400)
    work()
