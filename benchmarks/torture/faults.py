"""Disk full, I/O errors, lost permissions and kills at the writing calls of every job."""

import errno
import math
import os
import re
from collections.abc import Iterator, Mapping
from pathlib import Path

from benchmarks.torture.children import Ended, run_child
from benchmarks.torture.shim import How, arm, calls
from benchmarks.torture.tally import Budget, Tally
from benchmarks.torture.work import Work, extractions, others, repairs, trainings
from benchmarks.torture.world import World, differences, state_of

_KILLS = (How.KILL_BEFORE, How.KILL_TORN, How.KILL_AFTER)
# A full or read-only disk stays so; an I/O error, or a lost permission, may be one alone.
_FAULTS = (
    (How.FAIL_ON, "ENOSPC", errno.ENOSPC),
    (How.FAIL_ONCE, "EIO", errno.EIO),
    (How.FAIL_ONCE, "EACCES", errno.EACCES),
    (How.FAIL_ON, "EROFS", errno.EROFS),
    *((how, "kill", 0) for how in _KILLS),
)


def works(world: World) -> dict[str, Work]:
    """Return the jobs that write, by name; one variant trains like any other."""
    trained = trainings(world)
    kept = {name: trained[name] for name in list(trained)[:: len(trained) - 1]}
    return extractions(world) | repairs(world) | kept | others(world)


def inject(world: World, count: int, seed: int, budget: Budget) -> Tally:
    """Let the n-th writing call of every job fail, for n = 1, 2, ..., each in another way.

    Each fault must end in a message of one line and a status other than zero, or change nothing; the next
    run must end as if nothing had been. With fewer trials than calls, calls are skipped evenly.
    """
    tally = Tally()
    jobs = works(world)
    folder = world.folder / "fault"
    undisturbed = {name: _undisturbed(work, folder) for name, work in jobs.items()}
    numbers = {name: calls for name, (_, calls) in undisturbed.items()}
    share = count / sum(numbers.values())
    for name, work in jobs.items():
        expected, _ = undisturbed[name]
        for nth, how, label, error in _trials(numbers[name], share, seed):
            if not budget.left():
                return tally
            work.begin(folder)

            def faulty(
                work: Work = work, folder: Path = folder, nth: int = nth, how: How = how, error: int = error
            ) -> None:
                arm(folder, nth, how, error)
                work.run(folder)

            ended = run_child(faulty)
            problem = _wrong_end(ended, how) or _wrong_success(ended, folder, expected)
            again = run_child(lambda work=work, folder=folder: work.run(folder))
            problem = problem or again.problem() or differences(state_of(folder), expected)
            tally.note(f"{name}, {label} at writing call {nth} ({how.name})", problem)
    tally.note("read-only folder", _read_only(world))
    tally.facts = {"writing_calls": numbers, "kinds_of_fault": len(_FAULTS)}
    return tally


def _trials(number: int, share: float, seed: int) -> Iterator[tuple[int, How, str, int]]:
    """Yield faults at so many of some calls, evenly, or at all of them as often as it takes.

    Every round over the calls gives each of them another kind of fault.
    """
    wanted = math.ceil(number * share)
    for trial in range(wanted):
        nth = 1 + (trial % number if wanted > number else trial * number // wanted)
        yield nth, *_FAULTS[(seed + trial + trial // number) % len(_FAULTS)]


def _undisturbed(work: Work, folder: Path) -> tuple[dict[str, bytes], int]:
    """Run a job without a fault; return what it leaves, and its number of writing calls."""

    def counted() -> None:
        arm(folder, 0, How.COUNT)
        work.run(folder)
        print("calls:", calls())

    work.begin(folder)
    ended = run_child(counted)
    if ended.code:
        raise RuntimeError(ended.text)
    return state_of(folder), int(ended.text.rpartition("calls: ")[2].split()[0])


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


def _read_only(world: World) -> str | None:
    """Run as a user who may not write, where this process may become one."""
    folder = world.fresh("fault")

    def work() -> None:
        folder.chmod(0o555)
        if os.getuid() == 0:
            os.setgid(65534)
            os.setuid(65534)
        world.extract(folder / "new", "zarr")

    world.folder.chmod(0o755)
    ended = run_child(work)
    folder.chmod(0o755)
    if ended.code in (0, 70) or "Traceback" in ended.text or "error: " not in ended.text:
        return f"exit {ended.code}: {ended.text[-600:]}"
    return None
