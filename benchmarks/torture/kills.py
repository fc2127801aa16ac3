"""SIGKILL at random moments and at random writing calls; runs go on until they are whole."""

import random
import shutil
import statistics
from pathlib import Path

from benchmarks.torture.children import Ended, run_child
from benchmarks.torture.shim import How, arm, calls
from benchmarks.torture.tally import Budget, Tally
from benchmarks.torture.world import (
    EPOCHS,
    FORMATS,
    REPLICAS,
    ROWS_PER_CHUNK,
    SAMPLES,
    CountingSource,
    StandIn,
    World,
    differences,
    state_of,
)
from daam_bench.cache.ledger import Ledger

VARIANTS = ("daam_v2", "mha", "mixture")
_KILLS = (How.KILL_BEFORE, How.KILL_TORN, How.KILL_AFTER)
# While a chunk is written the next is computed: these two may be lost.
_LOST_AT_MOST = 2 * ROWS_PER_CHUNK


class _Job:
    """A job that is killed again and again in its folder, and what an undisturbed run of it leaves."""

    def __init__(self, world: World, name: str, work: object) -> None:
        self.folder, self._work = world.folder / name, work
        whole = world.fresh(f"{name}-whole")
        ends = [run_child(lambda: self._run(world.fresh(f"{name}-whole"))) for _ in range(2)]
        for ended in ends:
            if ended.code:
                raise RuntimeError(ended.text)
        self.expected = state_of(whole)
        self.seconds = statistics.median(ended.seconds for ended in ends)
        counted = run_child(lambda: self._counted(world.fresh(f"{name}-whole")))
        self.calls = int(counted.text.rpartition("calls: ")[2].split()[0])

    def _run(self, folder: Path) -> None:
        self._work(folder)  # type: ignore[operator]

    def _counted(self, folder: Path) -> None:
        arm(folder, 0, How.COUNT)
        self._run(folder)
        print("calls:", calls())

    def attempt(self, random_: random.Random) -> tuple[Ended, bool, str]:
        """Start or go on, with a kill at a random moment; return the end, whether it was killed, and how."""
        if random_.random() < 0.5:
            moment = random_.uniform(0, 1.1 * self.seconds)
            ended = run_child(lambda: self._run(self.folder), kill_after=moment)
            return ended, ended.killed, f"after {moment:.4f} s"
        nth, how = random_.randint(1, self.calls), random_.choice(_KILLS)

        def work() -> None:
            arm(self.folder, nth, how)
            self._run(self.folder)

        ended = run_child(work)
        return ended, ended.code == -9, f"{how.name} at call {nth}"


def _torture(job: _Job, random_: random.Random, tally: Tally, label: str, most: int) -> None:
    """Kill one run until it is whole; every kill of it counts, and fails if the end differs."""
    shutil.rmtree(job.folder, ignore_errors=True)
    job.folder.mkdir()
    story: list[str] = []
    problem = None
    CountingSource.epochs.take()
    for _ in range(200):
        before = _committed(job.folder)
        StandIn.rows.take()
        ended, killed, how = job.attempt(random_)
        if not killed:
            problem = ended.problem() or differences(state_of(job.folder), job.expected)
            break
        story.append(how)
        after = _committed(job.folder)
        lost = StandIn.rows.take() - ROWS_PER_CHUNK * (after - before)
        if after * ROWS_PER_CHUNK < SAMPLES and lost > _LOST_AT_MOST:
            problem = f"{lost} rows lost by one kill"
            break
        if len(story) >= most:
            ended = run_child(lambda: job._run(job.folder))
            problem = ended.problem() or differences(state_of(job.folder), job.expected)
            break
    else:
        problem = "not whole after 200 attempts"
    begun = CountingSource.epochs.take()
    if problem is None and begun > REPLICAS * EPOCHS + len(story):
        problem = f"{begun} epochs begun, {REPLICAS * EPOCHS} needed, with {len(story)} kills"
    for number, how in enumerate(story, 1):
        last = number == len(story)
        tally.note(
            f"{label}, killed {'; '.join(story)}" if last else f"{label} {how}", problem if last else None
        )


def _committed(folder: Path) -> int:
    ledgers = list(folder.glob("*.ledger.jsonl"))
    return len(Ledger(ledgers[0]).read()) if ledgers else 0


def kill_extraction(world: World, count: int, seed: int, budget: Budget) -> Tally:
    """Kill extractions in both formats until `count` kills have landed."""
    tally, random_ = Tally(), random.Random(seed)
    jobs = {
        kind: _Job(world, f"extract-{kind}", lambda folder, kind=kind: world.extract(folder, kind))
        for kind in FORMATS
    }
    number = 0
    while tally.tried < count and budget.left():
        kind = FORMATS[number % len(FORMATS)]
        number += 1
        _torture(jobs[kind], random_, tally, f"seed {seed}, run {number}, {kind}", count - tally.tried)
    tally.facts = {
        "runs": number,
        "seconds_undisturbed": {kind: round(job.seconds, 3) for kind, job in jobs.items()},
        "writing_calls": {kind: job.calls for kind, job in jobs.items()},
    }
    return tally


def kill_training(world: World, count: int, seed: int, budget: Budget) -> Tally:
    """Kill training jobs of three variants until `count` kills have landed; tables must agree, too."""
    tally, random_ = Tally(), random.Random(seed)
    cache = world.finished_cache("zarr")
    jobs = {
        variant: _Job(
            world, f"train-{variant}", lambda folder, variant=variant: world.train(cache, folder, variant)
        )
        for variant in VARIANTS
    }
    number = 0
    while tally.tried < count and budget.left():
        variant = VARIANTS[number % len(VARIANTS)]
        number += 1
        _torture(jobs[variant], random_, tally, f"seed {seed}, run {number}, {variant}", count - tally.tried)
    problem = _tables_differ(world)
    if problem is not None:
        tally.failures.append(f"tables after the last restart: {problem}")
    tally.facts = {
        "runs": number,
        "seconds_undisturbed": {variant: round(job.seconds, 3) for variant, job in jobs.items()},
    }
    return tally


def _tables_differ(world: World) -> str | None:
    """Return how tables of killed and of undisturbed runs differ, or None."""
    made = []
    for ending in ("", "-whole"):
        finished = [v for v in VARIANTS if (world.folder / f"train-{v}" / "finished.json").exists()]
        if not finished:
            return "no job came to its end"
        records = [world.folder / f"train-{variant}{ending}" for variant in finished]
        output = world.fresh(f"tables{ending}")

        def work(records: list[Path] = records, output: Path = output) -> None:
            from daam_bench.analysis.tables import write_tables

            write_tables(records, output)

        ended = run_child(work)
        if ended.code:
            return ended.text[-600:]
        # But for the lists of the folders that tables are made of: these have other names.
        made.append({name: data for name, data in state_of(output).items() if ".sources." not in name})
    return differences(*made)
