"""Disk full, I/O errors, lost permissions and kills at every single writing call."""

import os
import re
from collections.abc import Callable, Iterator
from pathlib import Path

from benchmarks.torture.children import Ended, run_child
from benchmarks.torture.kills import VARIANTS
from benchmarks.torture.shim import ERRORS, How, arm, calls
from benchmarks.torture.tally import Budget, Tally
from benchmarks.torture.world import FORMATS, World, differences, state_of

Work = Callable[[Path], None]
_KILLS = (How.KILL_BEFORE, How.KILL_TORN, How.KILL_AFTER)


def works(world: World) -> dict[str, Work]:
    """Return the jobs that write, by name."""
    cache = world.finished_cache("zarr")
    found: dict[str, Work] = {
        f"extraction to {kind}": lambda folder, kind=kind: world.extract(folder, kind) for kind in FORMATS
    }
    found["training"] = lambda folder: world.train(cache, folder, VARIANTS[0])
    return found


def inject(world: World, count: int, seed: int, budget: Budget) -> Tally:
    """Let writing calls fail: the n-th of every job, for n = 1, 2, ...; `count` trials at most.

    Each fault must end in a message of one line and a status other than zero, or change nothing; the next
    run must end as if nothing had been. With fewer trials than calls, calls are skipped evenly.
    """
    tally = Tally()
    jobs = works(world)
    plans = {name: list(_trials(_calls_of(world, work))) for name, work in jobs.items()}
    total = sum(map(len, plans.values()))
    every = max(1, total // max(1, count))
    for name, work in jobs.items():
        folder = world.fresh("fault")
        whole = run_child(lambda work=work, folder=folder: work(folder))
        if whole.code:
            raise RuntimeError(whole.text)
        expected = state_of(folder)
        for nth, how, label, error in plans[name][seed % every :: every]:
            if not budget.left():
                return tally
            folder = world.fresh("fault")

            def faulty(
                work: Work = work, folder: Path = folder, nth: int = nth, how: How = how, error: int = error
            ) -> None:
                arm(folder, nth, how, error)
                work(folder)

            ended = run_child(faulty)
            problem = _wrong_end(ended, how)
            again = run_child(lambda work=work, folder=folder: work(folder))
            problem = problem or again.problem() or differences(state_of(folder), expected)
            tally.note(f"{name}, {label} at writing call {nth} ({how.name})", problem)
    tally.note("read-only folder", _read_only(world))
    tally.facts = {"writing_calls": {name: len(plan) // 7 for name, plan in plans.items()}, "possible": total}
    return tally


def _trials(number: int) -> Iterator[tuple[int, How, str, int]]:
    for nth in range(1, number + 1):
        for index, (label, error) in enumerate(ERRORS.items()):
            # A full or read-only disk stays so; an I/O error may be one alone.
            yield nth, How.FAIL_ONCE if index % 2 else How.FAIL_ON, label, error
        for how in _KILLS:
            yield nth, how, "kill", 0


def _calls_of(world: World, work: Work) -> int:
    folder = world.fresh("fault")

    def counted() -> None:
        arm(folder, 0, How.COUNT)
        work(folder)
        print("calls:", calls())

    return int(run_child(counted).text.rpartition("calls: ")[2].split()[0])


def _wrong_end(ended: Ended, how: How) -> str | None:
    """Return what is wrong with how a faulty run ended, or None."""
    if how in _KILLS:
        return None if ended.code in (-9, 0) else f"exit {ended.code}: {ended.text[-600:]}"
    if "Traceback" in ended.text:
        return f"a traceback: {ended.text[-900:]}"
    if ended.code == 0:
        return None  # what failed was not needed: the state is compared all the same
    said = [line for line in ended.text.splitlines() if line.startswith("error: ")]
    if ended.code < 0 or ended.code == 70 or len(said) != 1 or not re.search(r"\w{4}", said[0]):
        return f"exit {ended.code} without one clear line: {ended.text[-600:]}"
    return None


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
