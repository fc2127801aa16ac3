"""SIGKILL at random moments and at random writing calls; runs go on until they are whole."""

import random
import signal
from pathlib import Path

from benchmarks.torture.children import Ended, run_child
from benchmarks.torture.shim import How, arm, calls
from benchmarks.torture.tally import Budget, Tally
from benchmarks.torture.work import Work, extractions, repairs, trainings
from benchmarks.torture.world import (
    ROWS_PER_CHUNK,
    SAMPLES,
    CountingEpochs,
    StandIn,
    World,
    differences,
    state_of,
)
from daam_bench.cache.ledger import Ledger

_KILLS = (How.KILL_BEFORE, How.KILL_TORN, How.KILL_AFTER)
_OLD = "cache"  # what a repair finds


class _Job:
    """A job that is killed again and again, and what an undisturbed run of it costs and leaves."""

    def __init__(self, world: World, name: str, work: Work) -> None:
        self.name, self.work = name, work
        self.folder, self.whole = (world.folder / f"{name}{end}".replace(" ", "-") for end in ("", "-whole"))
        work.begin(self.whole)
        StandIn.rows.take()
        CountingEpochs.begun.take()
        ended = run_child(self._undisturbed)
        if ended.code:
            raise RuntimeError(ended.text)
        self.rows, self.epochs = StandIn.rows.take(), CountingEpochs.begun.take()
        self.expected, self.seconds = state_of(self.whole), ended.seconds
        self.calls = int(ended.text.rpartition("calls: ")[2].split()[0])

    def _undisturbed(self) -> None:
        arm(self.whole, 0, How.COUNT)
        self.work.run(self.whole)
        print("calls:", calls())

    def attempt(self, random_: random.Random) -> tuple[Ended, bool, str]:
        """Start or go on, with a kill at a random moment; return the end, whether it was killed, and how."""
        if random_.random() < 0.5:
            moment = random_.uniform(0, 1.1 * self.seconds)
            ended = run_child(self.go_on, kill_after=moment)
            return ended, ended.killed, f"after {moment:.4f} s"
        nth, how = random_.randint(1, self.calls), random_.choice(_KILLS)

        def armed() -> None:
            arm(self.folder, nth, how)
            self.go_on()

        ended = run_child(armed)
        return ended, ended.code == -signal.SIGKILL, f"{how.name} at call {nth}"

    def go_on(self) -> None:
        """Run without a kill."""
        self.work.run(self.folder)

    def compare(self, ended: Ended) -> str | None:
        """Return what is wrong after the last run, or None."""
        return ended.problem() or differences(state_of(self.folder), self.expected)

    def too_much(self, rows: int, epochs: int, kills: int) -> str | None:
        """Return what was computed more often than so many kills explain, or None."""
        if rows > self.rows + ROWS_PER_CHUNK * kills:
            return f"{rows} rows computed, {self.rows} needed, with {kills} kills"
        if epochs > self.epochs + kills:
            return f"{epochs} epochs begun, {self.epochs} needed, with {kills} kills"
        return None


def _torture(job: _Job, random_: random.Random, tally: Tally, label: str, most: int) -> None:
    """Kill one run until it is whole; every kill of it counts, and the last fails if the end differs."""
    job.work.begin(job.folder)
    story: list[str] = []
    problem = None
    StandIn.rows.take()
    CountingEpochs.begun.take()
    rows = 0
    for _ in range(200):
        before = _committed(job.folder)
        ended, killed, how = job.attempt(random_)
        computed = StandIn.rows.take()
        rows += computed
        if not killed:
            problem = job.compare(ended)
            break
        story.append(how)
        tally.count("landed", f"{job.name}, {_phase(job.folder)}")
        problem = _count_lost(job, before, computed, tally)
        if problem is not None:
            break
        if len(story) >= most:
            problem = job.compare(run_child(job.go_on))
            rows += StandIn.rows.take()
            break
    else:
        problem = "not whole after 200 attempts"
    problem = problem or job.too_much(rows, CountingEpochs.begun.take(), len(story))
    for how in story[:-1]:
        tally.note(f"{label} {how}", None)
    if story or problem is not None:
        tally.note(f"{label}, killed {'; '.join(story)}", problem)


def _count_lost(job: _Job, before: int, computed: int, tally: Tally) -> str | None:
    """Count how many rows an extraction lost by a kill; return what is wrong with that, or None."""
    after = _committed(job.folder)
    whole = after >= -(-SAMPLES // ROWS_PER_CHUNK)
    if whole or not job.rows or (job.folder / _OLD).exists():  # nothing to measure it by
        return None
    lost = computed - ROWS_PER_CHUNK * (after - before)
    tally.count("rows_lost", _share_of_chunk(lost))
    return f"{lost} rows lost by one kill" if lost > ROWS_PER_CHUNK else None


def _committed(folder: Path) -> int:
    """Return how many chunks the ledgers list."""
    return sum(len(Ledger(ledger).read()) for ledger in folder.glob("*.ledger.jsonl"))


def _phase(folder: Path) -> str:
    """Return how far a killed run had come, by the files that it leaves."""
    if (folder / "finished.json").exists() or (folder / "manifest.json").exists():
        return "after its last file"
    if (folder / _OLD).exists():
        return "under way"
    begun = _committed(folder) or any(folder.glob("fold*_seed*.json"))
    return "under way" if begun else "before its first chunk or record"


def _share_of_chunk(rows: int) -> str:
    return "none" if rows <= 0 else "at most a chunk" if rows <= ROWS_PER_CHUNK else "more"


def _kill(works: dict[str, Work], world: World, count: int, seed: int, budget: Budget) -> Tally:
    """Kill jobs, one after another and round again, until `count` kills have landed."""
    tally, random_ = Tally(), random.Random(seed)
    names, jobs, runs = list(works), {}, 0
    while tally.tried < count and budget.left():
        name = names[runs % len(names)]
        if name not in jobs:
            jobs[name] = _Job(world, name, works[name])
        job = jobs[name]
        runs += 1
        _torture(job, random_, tally, f"seed {seed}, run {runs}, {job.name}", count - tally.tried)
    tally.facts |= {
        "runs": runs,
        "seconds_undisturbed": {name: round(job.seconds, 3) for name, job in jobs.items()},
        "writing_calls": {name: job.calls for name, job in jobs.items()},
    }
    return tally


def kill_extraction(world: World, count: int, seed: int, budget: Budget) -> Tally:
    """Kill extractions and repairs in both formats."""
    return _kill(extractions(world) | repairs(world), world, count, seed, budget)


def kill_training(world: World, count: int, seed: int, budget: Budget) -> Tally:
    """Kill training of three variants, and from a stream; tables must agree, too."""
    works = trainings(world)
    tally = _kill(works, world, count, seed, budget)
    problem = _tables_differ(world, list(works))
    if problem is not None:
        tally.failures.append(f"tables after the last restart: {problem}")
    return tally


def _tables_differ(world: World, jobs: list[str]) -> str | None:
    """Return how tables of killed and of undisturbed runs differ, or None."""
    # The stream's job is that of another size of what is shuffled: no table mixes the two.
    folders = [world.folder / job.replace(" ", "-") for job in jobs if "stream" not in job]
    finished = [folder for folder in folders if (folder / "finished.json").exists()]
    if not finished:
        return "no job came to its end"
    made = []
    for ending in ("", "-whole"):
        records = [folder.with_name(f"{folder.name}{ending}") for folder in finished]
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
