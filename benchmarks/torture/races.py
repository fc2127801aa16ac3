"""Two writers at once on the same results; clocks that jump."""

import os
import random
import re
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from benchmarks.torture.children import command_line, run_child, warm
from benchmarks.torture.tally import Budget, Tally
from benchmarks.torture.work import TUNING, VARIANTS, Work, repairs, trainings
from benchmarks.torture.world import FORMATS, CountingEpochs, StandIn, World, differences, state_of
from daam_bench.errors import CacheError


@dataclass(frozen=True)
class _Race:
    """Writers that start at once.

    Attributes:
        works: of each writer; the first says what lies there before.
        finish: what is done when all have ended.
        refuses: whether who comes second may be refused: one line, and its status.
        slow: whether it is run once where others are run three times.
    """

    works: list[Work]
    finish: Callable[[Path], None] | None = None
    refuses: bool = False
    slow: bool = False


def race(world: World, count: int, seed: int, budget: Budget) -> Tally:
    """Let several processes write the same results at once, `count` times.

    Who comes second waits, or is refused: all together compute no more than they do one after the other.
    """
    tally, random_ = Tally(), random.Random(seed)
    races = _races(world)
    # Each once, before any is repeated.
    names = [*races, *[name for name in races if not races[name].slow] * 2]
    expected: dict[str, tuple[dict[str, bytes], tuple[int, int]]] = {}
    for number in range(count):
        if not budget.left():
            break
        name = names[number % len(names)]
        run = races[name]
        if name not in expected:
            try:
                expected[name] = _one_by_one(world, run)
            except RuntimeError as error:
                tally.note(f"{name}, one after the other", str(error)[-600:])
                continue
        folder = run.works[0].begin(world.folder / "race")
        pauses = [0.0, *(random_.uniform(0, 0.15) for _ in run.works[1:])]
        problem = _together(folder, run, pauses)
        computed = _computed()
        if problem is None and run.finish is not None:
            problem = run_child(lambda folder=folder, run=run: run.finish(folder)).problem()
        problem = problem or differences(state_of(folder), expected[name][0])
        problem = problem or _too_much(computed, expected[name][1])
        tally.note(f"{name}, pauses {[round(pause, 4) for pause in pauses]}", problem)
        tally.count("races", name)
    return tally


def _races(world: World) -> dict[str, _Race]:
    """Return the races by name."""
    trained, cache = trainings(world), world.finished_cache("zarr")
    train, tune = trained[f"training of {VARIANTS[0]}"], trained[TUNING]

    def extract(kind: str) -> Work:
        return Work(lambda folder: world.extract(folder, kind))

    def parts(*numbers: int) -> _Race:
        works = [Work(lambda folder, n=n: _part(world, folder, n)) for n in numbers]
        return _Race(works, lambda folder: _finish(world, folder))

    def command(name: str, output: str, *options: str) -> Work:
        return Work(lambda folder: command_line("cache", name, cache, folder / output, *options))

    return {
        **{f"two extractions to {kind}": _Race([extract(kind)] * 2) for kind in FORMATS},
        "two parts of one cache": parts(1, 2),
        "a part twice": parts(1, 1, 2),
        "an extraction under a jumping clock": _Race([_under_jumps(extract("zarr"))]),
        **{f"two at a {name}": _Race([work] * 2) for name, work in repairs(world).items()},
        "two conversions": _Race([command("convert", "copy", "--to", "hdf5")] * 2, refuses=True),
        "two exports": _Race([command("export", "layers.parquet")] * 2),
        "two trainings": _Race([train] * 2, slow=True),
        "a training under a jumping clock": _Race([_under_jumps(train)], slow=True),
        "two tunings of an encoder": _Race([tune] * 2, slow=True),
    }


def _one_by_one(world: World, run: _Race) -> tuple[dict[str, bytes], tuple[int, int]]:
    """Return what writers leave that come one after the other, and how many rows and epochs they compute."""
    folder = run.works[0].begin(world.folder / "alone")
    _computed()
    for number, work in enumerate(run.works):
        ended = warm(lambda work=work: work.run(folder))
        if ended.code and not (number and run.refuses and ended.code == CacheError.exit_code):
            raise RuntimeError(ended.text)
    computed = _computed()
    if run.finish is not None and (problem := run_child(lambda: run.finish(folder)).problem()):
        raise RuntimeError(problem)
    return state_of(folder), computed


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


def _together(folder: Path, run: _Race, pauses: list[float]) -> str | None:
    """Start all at once, each after its pause; return what went wrong."""

    def all_() -> None:
        children = []
        for work, pause in zip(run.works, pauses, strict=True):
            child = os.fork()
            if child == 0:
                code = 70
                try:
                    time.sleep(pause)
                    work.run(folder)
                    code = 0
                except SystemExit as leaving:
                    code = leaving.code if isinstance(leaving.code, int) else 70
                finally:
                    os._exit(code)
            children.append(child)
        codes = [os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children]
        refused = codes.count(CacheError.exit_code) if run.refuses else 0
        if codes.count(0) + refused < len(codes) or 0 not in codes:
            raise RuntimeError(f"ended with {codes}")
        print(f"refused: {refused}")

    ended = run_child(all_)
    said = re.findall(r"^error: .*\w{4}", ended.text, re.MULTILINE)
    if ended.code == 0 and f"refused: {len(said)}" not in ended.text:
        return f"not one line for each that was refused: {ended.text[-600:]}"
    return ended.problem()


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


def _under_jumps(work: Work) -> Work:
    """Return a job during which every look at the clock is a day off, to and fro."""

    def run(folder: Path) -> None:
        true, looks = time.time, iter(range(10**9))
        time.time = lambda: true() + (86400 if next(looks) % 2 else -86400)
        work.run(folder)

    return Work(run, work.prepare)
