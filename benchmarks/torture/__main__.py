"""`python -m benchmarks.torture`: every kind of torture, counted in results/benchmarks/torture.json."""

import argparse
import gc
import hashlib
import json
import logging
import os
import shutil
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks.torture.shim import restart_under_shim

_ROOT = Path(__file__).parents[2]
# Full sizes, and the share of the time that a kind may take.
SIZES = {
    "kills_extraction": 1000,
    "kills_training": 200,
    "damages_zarr": 5000,
    "damages_hdf5": 5000,
    "real_changes": 1000,
    "cosmetic_changes": 1000,
    "bad_inputs": 100_000,
    "write_faults": 0,  # as many as writing calls make
    "writer_races": 100,
}
# Of changes there are as many as there are: at full size so many at least.
_FULL = {"real_changes": 40, "cosmetic_changes": 20}
# Every change is made at any scale but where the smallest is asked for.
_LEAST = {"kills_training": 3, "real_changes": 4, "cosmetic_changes": 4, "writer_races": 12}


def main() -> int:
    """Run the wanted kinds side by side; return 1 if anything failed."""
    given = _arguments()
    restart_under_shim()
    os.environ |= {"HF_HUB_OFFLINE": "1", "TRANSFORMERS_OFFLINE": "1"}
    folder = Path(tempfile.mkdtemp(prefix="torture-", dir=given.folder))
    start = time.monotonic()
    try:
        found = _run(given, folder)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    _write(given, found, time.monotonic() - start)
    return int(any(kind["failed"] for kind in found.values()) or _fell_short(given, found))


def _fell_short(given: argparse.Namespace, found: dict[str, dict[str, Any]]) -> bool:
    """Say which kinds ran out of time, or tried fewer than they should."""
    wanted = {
        kind: min(size_of(kind, given.scale), _FULL[kind]) if kind in _FULL else size_of(kind, given.scale)
        for kind in found
    }
    short = [k for k, report in found.items() if report["tried"] < report.get("wanted", wanted[k])]
    for kind in short:
        print(f"{kind} ran out of time: --minutes gives it more than {given.minutes:g}")
    return bool(short)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.torture", description=__doc__)
    parser.add_argument("--scale", type=float, default=1.0, help="share of the full sizes; 1 is full")
    parser.add_argument("--kinds", nargs="+", choices=SIZES, default=list(SIZES))
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--minutes", type=float, default=120, help="time that each kind may take")
    parser.add_argument("--jobs", type=int, default=os.cpu_count(), help="kinds that run at once")
    parser.add_argument("--folder", type=Path, default=_scratch(), help="where the tortured files lie")
    parser.add_argument("--output", type=Path, default=Path("results/benchmarks/torture.json"))
    return parser.parse_args()


def _scratch() -> Path:
    """Return a folder in memory where there is one: thousands of fsyncs would only wear a disk."""
    memory = Path("/dev/shm")
    return memory if os.access(memory, os.W_OK) else Path(tempfile.gettempdir())


def size_of(kind: str, scale: float) -> int:
    """Return how many of a kind are tried at a scale."""
    return max(_LEAST.get(kind, 10), round(SIZES[kind] * scale))


def _torturers(folder: Path, given: argparse.Namespace) -> dict[str, list[Callable[[], Any]]]:
    """Return what tortures, by kind; of a kind that several processes share, for each of them."""
    from benchmarks.torture import changes, damages, faults, inputs, kills, races
    from benchmarks.torture.tally import Budget
    from benchmarks.torture.world import World

    full = given.scale >= 1

    def sized(kind: str) -> tuple[int, int, Budget]:
        return size_of(kind, given.scale), given.seed, Budget(60 * given.minutes)

    def changed(kind: str, all_changes: Callable[[], Any]) -> Any:
        return changes.try_changes(folder / kind, all_changes(), *sized(kind))

    def world(name: str, *seeds: int) -> World:
        return World(folder / name, seeds or (0, 1))

    def faulted(part: int) -> Any:
        budget = Budget(60 * given.minutes)
        return faults.inject(world(f"wf{part}", 0), given.scale, given.seed, budget, part, parts)

    # Below a tenth, setting up once more would cost more than it saves.
    parts = given.jobs if given.scale >= 0.1 else 1
    return {
        "kills_training": [lambda: kills.kill_training(world("kt"), *sized("kills_training"), full)],
        "write_faults": [partial(faulted, part) for part in range(parts)],
        "kills_extraction": [lambda: kills.kill_extraction(world("ke"), *sized("kills_extraction"), full)],
        "damages_zarr": [lambda: damages.damage(world("dz"), "zarr", *sized("damages_zarr"))],
        "damages_hdf5": [lambda: damages.damage(world("dh"), "hdf5", *sized("damages_hdf5"))],
        "bad_inputs": [lambda: inputs.feed(folder / "bi", *sized("bad_inputs"))],
        "real_changes": [lambda: changed("real_changes", changes.real_changes)],
        "cosmetic_changes": [lambda: changed("cosmetic_changes", changes.cosmetic_changes)],
        "writer_races": [lambda: races.race(world("wr", 0), *sized("writer_races"))],
    }


def _run(given: argparse.Namespace, folder: Path) -> dict[str, dict[str, Any]]:
    """Run each kind in a forked child, a few at once, longest first; return what each found."""
    import snakemake.cli  # noqa: F401  (children inherit what is imported here)

    gc.freeze()  # no child looks for garbage among what it inherits
    logging.disable(logging.CRITICAL)  # what is expected to go wrong
    torturers = {kind: parts for kind, parts in _torturers(folder, given).items() if kind in given.kinds}
    waiting = [(kind, number) for kind, parts in torturers.items() for number in range(len(parts))]
    running: dict[int, tuple[str, int]] = {}
    found: dict[str, list[dict[str, Any]]] = {kind: [] for kind in SIZES if kind in torturers}
    while waiting or running:
        while waiting and len(running) < given.jobs:
            kind, number = waiting.pop(0)
            running[_start(folder / f"{kind}-{number}.json", torturers[kind][number])] = kind, number
        child, status = os.wait()
        kind, number = running.pop(child)
        report = folder / f"{kind}-{number}.json"
        crashed = {"tried": 0, "failed": 1, "failures": [f"the torturer itself ended with {status}"]}
        found[kind].append(json.loads(report.read_bytes()) if report.exists() else crashed)
        if len(found[kind]) == len(torturers[kind]):
            _say(kind, _together(found[kind]))
    return {kind: _together(reports) for kind, reports in found.items()}


def _together(reports: list[dict[str, Any]]) -> dict[str, Any]:
    """Return the report of a kind that was dealt to several processes: numbers of its parts are added."""
    whole = dict(reports[0])
    for report in reports[1:]:
        for name, value in report.items():
            whole[name] = (
                whole[name] + value if isinstance(value, int | float | list) and name in whole else value
            )
    return whole


def _start(report: Path, torturer: Callable[[], Any]) -> int:
    child = os.fork()
    if child == 0:
        code = 1
        try:
            start = time.monotonic()
            tally = torturer()
            report.write_text(json.dumps(tally.summary(time.monotonic() - start)), encoding="utf-8")
            code = 0
        except BaseException:
            import traceback

            traceback.print_exc()
        finally:
            os._exit(code)
    return child


def _say(kind: str, found: dict[str, Any]) -> None:
    print(
        f"{kind:17} {found['tried']:7} tried, {found['failed']} failed, {found.get('seconds', 0):.0f} s",
        flush=True,
    )
    for failure in found["failures"][:20]:
        print(f"  - {failure}", flush=True)


def _write(given: argparse.Namespace, found: dict[str, Any], seconds: float) -> None:
    """Write what was found; kinds that were not asked for keep what an earlier run of this code found."""
    from daam_bench.environment import describe_environment

    earlier = json.loads(given.output.read_bytes()) if given.output.exists() else {}
    same = {"seed": given.seed, "scale": given.scale, "code": code_fingerprint()}
    if all(earlier.get(name) == value for name, value in same.items()):
        found = {kind: found.get(kind, earlier.get(kind)) for kind in SIZES if kind in {**earlier, **found}}
    facts = same | {
        "date": time.strftime("%Y-%m-%d"),
        "seconds": round(sum(report.get("seconds", 0.0) for report in found.values()), 1),
        "estimated_seconds_at_full_size": _estimate(found, given),
        "environment": describe_environment("cpu", 1),
    }
    given.output.parent.mkdir(parents=True, exist_ok=True)
    given.output.write_text(json.dumps({**found, **facts}, indent=1) + "\n", encoding="utf-8")
    full = facts["estimated_seconds_at_full_size"]
    print(f"{seconds:.0f} s; at full size about {full} s; written to {given.output}")


def code_fingerprint() -> str:
    """Return the sha256 of everything that the figures are of: package, workflow, and the torture itself."""
    from daam_bench.fingerprint import source_fingerprint

    digest = hashlib.sha256(source_fingerprint(".").encode())
    files = [path for room in ("benchmarks/torture", "workflow") for path in (_ROOT / room).rglob("*")]
    for file in sorted([*files, _ROOT / "Snakefile"]):
        if file.is_file() and file.suffix != ".pyc":
            digest.update(f"{file.relative_to(_ROOT)}\n".encode() + file.read_bytes())
    return digest.hexdigest()


def _estimate(found: dict[str, Any], given: argparse.Namespace) -> int:
    """Return seconds of all kinds at full size on this machine, from what was tried per second here."""
    known = {"real_changes": 65, "cosmetic_changes": 32}
    total = 0.0
    for kind, report in found.items():
        full = report.get("at_full_size") or known.get(kind, SIZES[kind])
        total += report.get("seconds", 0) * full / max(1, report["tried"])
    return round(total / max(1, given.jobs))


if __name__ == "__main__":
    raise SystemExit(main())
