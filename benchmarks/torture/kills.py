"""SIGKILL at random moments and at random writing calls; runs go on until they are whole."""

import json
import random
import signal
from pathlib import Path

from benchmarks.torture.children import Ended, run_child, warm
from benchmarks.torture.shim import How, Watch
from benchmarks.torture.tally import Budget, Tally
from benchmarks.torture.work import Work, extractions, repairs, trainings
from benchmarks.torture.world import (
    EPOCHS,
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
_WANTED = ("write", "rename")
# Part of a file's path, and the phase in which such files are written; all others are records.
_PHASES = {
    ".lock": "lock",
    "ledger.jsonl": "ledger",
    "manifest.json": "manifest",
    "parts": "part",
    ".zarr": "store",
    ".h5": "store",
    "checkpoint": "checkpoint",
    "finished.json": "list of records",
}


class _Job:
    """A job that is killed again and again, and what an undisturbed run of it costs and leaves."""

    def __init__(self, world: World, name: str, work: Work) -> None:
        self.name, self.work, self.watch = name, work, Watch()
        self.folder, self.whole = (world.folder / f"{name}{end}".replace(" ", "-") for end in ("", "-whole"))
        work.begin(self.whole)
        StandIn.rows.take()
        CountingEpochs.begun.take()
        ended = self._watched(self.whole)
        if ended.code:
            raise RuntimeError(ended.text)
        self.rows, self.epochs = StandIn.rows.take(), CountingEpochs.begun.take()
        self.expected, self.seconds = state_of(self.whole), ended.seconds
        self.made = [(_phase(path), kind) for kind, path in self.watch.made()]
        # Where kills must land at full size: in writing and in renaming of every phase that has them.
        self.goals = {place for place in self.made if place[1] in _WANTED}

    def _watched(
        self, folder: Path, nth: int = 0, how: How = How.COUNT, kill_after: float | None = None
    ) -> Ended:
        def armed() -> None:
            self.watch.arm(folder, nth, how)
            self.work.run(folder)

        self.watch.clear()
        return run_child(armed, kill_after)

    def attempt(self, random_: random.Random, first: bool) -> tuple[Ended, bool, str]:
        """Start or go on, with a kill; return the end, whether it was killed, and how.

        A first attempt makes the calls of an undisturbed run: it is killed in one of a kind and phase in
        which no kill has landed yet. All others are killed at a random moment or a random call.
        """
        aimed = first and self.goals
        if not aimed and random_.random() < 0.5:
            moment = random_.uniform(0, 1.1 * self.seconds)
            ended = self._watched(self.folder, kill_after=moment)
            return ended, ended.killed, f"after {moment:.4f} s"
        goal = random_.choice(sorted(self.goals)) if aimed else None
        numbers = [n for n, place in enumerate(self.made, 1) if goal in (None, place)]
        nth, how = random_.choice(numbers), random_.choice(_KILLS)
        ended = self._watched(self.folder, nth, how)
        return ended, ended.code == -signal.SIGKILL, f"{how.name} at call {nth}"

    def landed(self) -> tuple[str, str]:
        """Return in which phase, and in which kind of call, the last kill landed."""
        if not self.watch.calls:
            return "start", "no call"
        kind, path = self.watch.made()[-1]
        place = _phase(path), kind if self.watch.inside else "no call"
        self.goals.discard(place)
        return place

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


def _phase(path: str) -> str:
    """Return the phase of a job that a file below its folder is written in: the kind of file."""
    return next((phase for part, phase in _PHASES.items() if part in path), "record")


def _torture(job: _Job, random_: random.Random, tally: Tally, label: str, most: int) -> None:
    """Kill one run until it is whole; every kill of it counts, and the last fails if the end differs."""
    job.work.begin(job.folder)
    story: list[str] = []
    problem = None
    StandIn.rows.take()
    CountingEpochs.begun.take()
    rows = epochs = 0
    for _ in range(200):
        before = _committed(job.folder), _trained(job.folder)
        ended, killed, how = job.attempt(random_, first=not story)
        computed = StandIn.rows.take(), CountingEpochs.begun.take()
        rows, epochs = rows + computed[0], epochs + computed[1]
        if not killed:
            problem = job.compare(ended)
            break
        phase, kind = job.landed()
        story.append(f"{how}, {phase}: {kind}")
        tally.count("landed", f"{job.name}, {phase}, {kind}")
        problem = _count_lost_rows(job, before[0], computed[0], tally)
        problem = problem or _count_lost_epochs(job, before[1], computed[1], tally)
        if problem is not None:
            break
        if len(story) >= most:
            problem = job.compare(run_child(job.go_on))
            rows, epochs = rows + StandIn.rows.take(), epochs + CountingEpochs.begun.take()
            break
    else:
        problem = "not whole after 200 attempts"
    problem = problem or job.too_much(rows, epochs, len(story))
    for how in story[:-1]:
        tally.note(f"{label} {how}", None)
    if story or problem is not None:
        tally.note(f"{label}, killed {'; '.join(story)}", problem)


def _count_lost_rows(job: _Job, before: int, computed: int, tally: Tally) -> str | None:
    """Count how many rows an extraction lost by a kill; return what is wrong with that, or None."""
    after = _committed(job.folder)
    whole = after >= -(-SAMPLES // ROWS_PER_CHUNK)
    if whole or not job.rows or (job.folder / _OLD).exists():  # nothing to measure it by
        return None
    lost = computed - ROWS_PER_CHUNK * (after - before)
    tally.count("rows_lost", _share_of_chunk(lost))
    return f"{lost} rows lost by one kill" if lost > ROWS_PER_CHUNK else None


def _count_lost_epochs(job: _Job, before: int, begun: int, tally: Tally) -> str | None:
    """Count how many epochs a training job lost by a kill; return what is wrong with that, or None."""
    if not job.epochs:
        return None
    lost = begun - (_trained(job.folder) - before)
    tally.count("epochs_lost", str(lost))
    return None if lost in (0, 1) else f"{lost} epochs lost by one kill"


def _committed(folder: Path) -> int:
    """Return how many chunks the ledgers list."""
    return sum(len(Ledger(ledger).read()) for ledger in folder.glob("*.ledger.jsonl"))


def _trained(folder: Path) -> int:
    """Return how many epochs are kept: by a replica's record, or where it has none by its checkpoint."""
    finished = {file.stem for file in folder.glob("fold*_seed*.json") if "." not in file.stem}
    epochs = EPOCHS * len(finished)
    for file in folder.glob("fold*_seed*.checkpoint.json"):
        if file.name.partition(".")[0] not in finished:
            facts = json.loads(json.loads(file.read_bytes())["facts"])
            # Of a stream the last epoch is scored in the next one's pass.
            epochs += len(facts["epochs"]) + (facts["pending"] is not None)
    return epochs


def _share_of_chunk(rows: int) -> str:
    return "none" if rows <= 0 else "at most a chunk" if rows <= ROWS_PER_CHUNK else "more"


def _kill(works: dict[str, Work], world: World, count: int, seed: int, budget: Budget, full: bool) -> Tally:
    """Kill jobs, one after another and round again, until `count` kills have landed.

    At full size there must be kills in the writing and in the renaming of every phase of every job.
    """
    tally, random_ = Tally(), random.Random(seed)
    names, jobs, runs = list(works), {}, 0
    warm(lambda: works[names[0]].run(works[names[0]].begin(world.folder / "warm")))
    while tally.tried < count and budget.left():
        name = names[runs % len(names)]
        if name not in jobs:
            jobs[name] = _Job(world, name, works[name])
        job = jobs[name]
        runs += 1
        _torture(job, random_, tally, f"seed {seed}, run {runs}, {job.name}", count - tally.tried)
    missed = sorted(f"{job.name}, {phase}, {kind}" for job in jobs.values() for phase, kind in job.goals)
    if full:
        tally.failures += [f"no kill landed in {place}" for place in missed]
    tally.facts |= {
        "runs": runs,
        "not_landed_in": missed,
        "seconds_undisturbed": {name: round(job.seconds, 3) for name, job in jobs.items()},
        "writing_calls": {name: len(job.made) for name, job in jobs.items()},
    }
    return tally


def kill_extraction(world: World, count: int, seed: int, budget: Budget, full: bool) -> Tally:
    """Kill extractions and repairs in both formats."""
    return _kill(extractions(world) | repairs(world), world, count, seed, budget, full)


def kill_training(world: World, count: int, seed: int, budget: Budget, full: bool) -> Tally:
    """Kill training of three variants, from a stream, and encoder LoRA; tables must agree, too."""
    works = trainings(world)
    tally = _kill(works, world, count, seed, budget, full)
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
        # But for the lists of the folders that tables are made of, which have other names, and for clocks.
        found = state_of(output)
        made.append({n: found[n] for n in found if ".sources." not in n and not n.startswith("cost.")})
    return differences(*made)
