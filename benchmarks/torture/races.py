"""Two writers at once on the same results; clocks that jump."""

import os
import random
import time
from collections.abc import Callable
from pathlib import Path

from benchmarks.torture.children import command_line, run_child
from benchmarks.torture.tally import Budget, Tally
from benchmarks.torture.work import VARIANTS
from benchmarks.torture.world import FORMATS, World, differences, state_of

Writer = Callable[[Path], None]


def race(world: World, count: int, seed: int, budget: Budget) -> Tally:
    """Let several processes write the same results at once, `count` times."""
    tally, random_ = Tally(), random.Random(seed)
    cache = world.finished_cache("zarr")
    jobs: dict[str, list[Writer]] = {
        **{f"two extractions to {k}": [lambda f, k=k: world.extract(f, k)] * 2 for k in FORMATS},
        "two parts of one cache": [lambda f, n=n: _part(world, f, n) for n in (1, 2)],
        "a part twice": [lambda f, n=n: _part(world, f, n) for n in (1, 1, 2)],
        "two trainings": [lambda f: world.train(cache, f, VARIANTS[0])] * 2,
        "an extraction under a jumping clock": [lambda f: _under_jumps(lambda: world.extract(f, "zarr"))],
    }
    # Training is slow and simple: a lock around all of it.
    names = [name for name in jobs for _ in range(1 if name == "two trainings" else 3)]
    expected = {name: _alone(world, name, works) for name, works in jobs.items()}
    for number in range(count):
        if not budget.left():
            break
        name = names[number % len(names)]
        folder = world.fresh("race")
        pauses = [0.0, *(random_.uniform(0, 0.15) for _ in jobs[name][1:])]
        problem = _together(folder, jobs[name], pauses)
        if problem is None and "part" in name:
            problem = run_child(lambda folder=folder: _finish(world, folder)).problem()
        problem = problem or differences(state_of(folder), expected[name])
        tally.note(f"{name}, pauses {[round(pause, 4) for pause in pauses]}", problem)
    return tally


def _alone(world: World, name: str, works: list[Writer]) -> dict[str, bytes]:
    if "hdf5" in name or "train" not in name:
        return state_of(world.finished_cache("hdf5" if "hdf5" in name else "zarr"))
    folder = world.fresh("alone")
    ended = run_child(lambda: works[0](folder))
    if ended.code:
        raise RuntimeError(ended.text)
    return state_of(folder)


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
