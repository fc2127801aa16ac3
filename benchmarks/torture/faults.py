"""Disk full, I/O errors, lost permissions and kills at the writing calls of every job."""

import errno
import os
import random
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

from benchmarks.torture.children import Ended, run_child, warm
from benchmarks.torture.shim import How, Watch
from benchmarks.torture.tally import Budget, Tally
from benchmarks.torture.work import TUNING, Work, chosen_layers, extractions, others, repairs, trainings
from benchmarks.torture.world import World, differences, state_of

_KILLS = (How.KILL_BEFORE, How.KILL_TORN, How.KILL_AFTER)
# A full or read-only disk stays so; an I/O error, or a lost permission, may be one alone.
_FAULTS = (
    (How.FAIL_ON, "ENOSPC", errno.ENOSPC),
    (How.FAIL_ONCE, "EIO", errno.EIO),
    (How.FAIL_ONCE, "EACCES", errno.EACCES),
    (How.FAIL_ON, "EROFS", errno.EROFS),
)
_READ_ONLY = ("extraction to zarr", "training of daam_v2", "tables")
_NOBODY = 65534


class Trial(NamedTuple):
    """What the `nth` writing call of a job meets."""

    job: str
    nth: int
    how: How
    label: str
    error: int

    def __str__(self) -> str:
        return f"{self.job}, {self.label} at writing call {self.nth} ({self.how.name})"


def works(world: World) -> dict[str, Work]:
    """Return the jobs that write, by name; one variant trains like any other."""
    trained = trainings(world)
    kept = {name: trained[name] for name in (next(iter(trained)), TUNING)}
    return extractions(world) | repairs(world) | kept | chosen_layers(world) | others(world)


def inject(world: World, scale: float, seed: int, budget: Budget, part: int = 0, parts: int = 1) -> Tally:
    """Let each writing call of every job meet each fault, and one kind of kill; below full size some of them.

    Each fault must end in a message of one line and a status other than zero, or change nothing; the next
    run must end as if nothing had been.

    Args:
        world: whose jobs are disturbed.
        scale: share of each job's calls that is drawn, one at least; at full size each must be reached.
        seed: of the draw.
        budget: of time.
        part: which calls are tried here: those whose number modulo `parts` it is.
        parts: how many processes share the calls.
    """
    tally, watch, jobs = Tally(), Watch(), works(world)
    folder = world.folder / "fault"
    undisturbed = {name: _undisturbed(work, folder, watch) for name, work in jobs.items()}
    numbers = {name: calls for name, (_, calls) in undisturbed.items()}
    trials = [trial for trial in _trials(numbers, scale, seed) if trial.nth % parts == part]
    missed: dict[tuple[str, int], bool] = {}
    for trial in trials:
        if not budget.left():
            break
        problem = _try(jobs[trial.job], trial, folder, undisturbed[trial.job][0], watch)
        tally.note(str(trial), problem)
        call = trial.job, trial.nth
        missed[call] = missed.get(call, True) and watch.calls < trial.nth
    for name in _READ_ONLY if part == 0 else ():
        problem = _read_only(jobs[name], folder, undisturbed[name][0])
        tally.note(f"{name} into a read-only folder", problem)
    never = [f"{job}: writing call {nth} was not reached" for (job, nth), so in missed.items() if so]
    if scale >= 1:
        tally.failures += never
    tally.facts = {
        "writing_calls": numbers,
        "wanted": len(trials),
        "at_full_size": sum(numbers.values()) * (len(_FAULTS) + 1) // parts,
        "calls_not_reached": len(never),
    }
    return tally


def _try(work: Work, trial: Trial, folder: Path, expected: Mapping[str, bytes], watch: Watch) -> str | None:
    """Disturb a job, then run it again; return what is wrong, or None; `watch` shows the disturbed run."""

    def faulty() -> None:
        watch.arm(folder, trial.nth, trial.how, trial.error)
        work.run(folder)

    work.begin(folder)
    watch.clear()
    ended = run_child(faulty)
    problem = _wrong_end(ended, trial.how) or _wrong_success(ended, folder, expected)
    again = run_child(lambda: work.run(folder))
    return problem or again.problem() or differences(state_of(folder), expected)


def _trials(numbers: Mapping[str, int], scale: float, seed: int) -> Iterator[Trial]:
    """Yield everything that calls can meet; below full size one thing of some calls, drawn at random."""
    for job, calls in numbers.items():
        if scale >= 1:
            yield from (trial for nth in range(1, calls + 1) for trial in _at(job, nth, seed))
            continue
        random_ = random.Random(f"{seed} {job}")
        for nth in random_.sample(range(1, calls + 1), max(1, round(scale * calls))):
            yield random_.choice([*_at(job, nth, seed)])


def _at(job: str, nth: int, seed: int) -> Iterator[Trial]:
    """Yield everything that one call meets."""
    for how, label, error in _FAULTS:
        yield Trial(job, nth, how, label, error)
    yield Trial(job, nth, _KILLS[(seed + nth) % len(_KILLS)], "kill", 0)


def _undisturbed(work: Work, folder: Path, watch: Watch) -> tuple[dict[str, bytes], int]:
    """Run a job without a fault; return what it leaves, and its number of writing calls."""

    def counted() -> None:
        watch.arm(folder)
        work.run(folder)

    work.begin(folder)
    watch.clear()
    ended = warm(counted)
    if ended.code:
        raise RuntimeError(ended.text)
    return state_of(folder), watch.calls


def _wrong_end(ended: Ended, how: How) -> str | None:
    """Return what is wrong with how a faulty run ended, or None."""
    if how in _KILLS:
        return None if ended.code in (-9, 0) else f"exit {ended.code}: {ended.text[-600:]}"
    if "Traceback" in ended.text:
        return f"a traceback: {ended.text[-900:]}"
    if ended.code == 0:
        return None  # what failed was not needed: `_wrong_success` looks whether that is so
    said = [line for line in ended.text.splitlines() if line.startswith("error: ")]
    if ended.code < 0 or ended.code == 70 or len(said) != 1 or not re.search(r"\w{4}", said[0]):
        return f"exit {ended.code} without one clear line: {ended.text[-600:]}"
    return None


def _wrong_success(ended: Ended, folder: Path, expected: Mapping[str, bytes]) -> str | None:
    """Return what is wrong with what a faulty run that says that all is well has left, or None."""
    found = None if ended.code else differences(state_of(folder), expected)
    return found and f"exit 0, but it {found}"


def _read_only(work: Work, folder: Path, expected: Mapping[str, bytes]) -> str | None:
    """Run a job in a folder that may not be written, as a user who is not above that; then with rights again.

    Return what is wrong, or None.
    """

    def run() -> None:
        if os.getuid() == 0:
            os.setgroups([])
            os.setgid(_NOBODY)
            os.setuid(_NOBODY)
        work.run(folder)

    work.begin(folder)
    for above in (folder.parent.parent, folder.parent):  # it may read what the job reads
        above.chmod(0o755)
    folder.chmod(0o555)
    ended = run_child(run)
    folder.chmod(0o755)
    said = [line for line in ended.text.splitlines() if line.startswith("error: ")]
    if ended.code in (0, 70) or "Traceback" in ended.text or len(said) != 1 or str(folder) not in said[0]:
        return f"exit {ended.code}: {ended.text[-600:]}"
    again = run_child(lambda: work.run(folder))
    return again.problem() or differences(state_of(folder), expected)
