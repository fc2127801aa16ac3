"""Locks: to wait for one that another process holds, and to clear what a killed run leaves behind."""

import logging
import os
import platform
from pathlib import Path

import psutil
from filelock import AcquireReturnProxy, FileLock, Timeout

from daam_bench.errors import DaamBenchError

_HOST = Path(".snakemake/daam_bench_host")


def wait_for(lock: FileLock, place: object) -> AcquireReturnProxy[FileLock]:
    """Take a lock, to be left as a context; where another process holds it, say so and wait."""
    try:
        return lock.acquire(timeout=0)
    except Timeout:
        logging.warning("another process writes %s; waiting for it", place)
        return lock.acquire()


def note_host(folder: Path) -> None:
    """Remember the machine that Snakemake runs on: no other machine can see whether it lives."""
    path = folder / _HOST
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(platform.node(), encoding="utf-8")


def clear_stale_lock(folder: Path) -> None:
    """Remove Snakemake's lock of a folder if no Snakemake runs in it.

    Jobs of a killed Snakemake may still run: each holds a lock on its own target, which the next run's job
    waits for.

    Raises:
        DaamBenchError: if a Snakemake is running in the folder, or may be: on another machine, or of
            another user.
    """
    locks = list((folder / ".snakemake" / "locks").glob("*.lock"))
    if not locks:
        return
    for process in psutil.process_iter(["pid", "cmdline", "cwd"]):
        words = [Path(word).name for word in process.info["cmdline"] or []]
        if "snakemake" in words[:3] and process.info["cwd"] == str(folder.resolve()):
            found = f"process {process.info['pid']}"
            raise DaamBenchError(
                "another snakemake is running here",
                where=folder,
                found=found,
                remedy="Wait until it ends, or stop it.",
            )
    _refuse_what_cannot_be_seen(folder, locks)
    for lock in locks:
        lock.unlink()


def _refuse_what_cannot_be_seen(folder: Path, locks: list[Path]) -> None:
    host = (folder / _HOST).read_text(encoding="utf-8") if (folder / _HOST).exists() else platform.node()
    owners = {lock.stat().st_uid for lock in locks}
    if host != platform.node():
        found = f"locked on {host}"
    elif owners != {os.getuid()} and os.getuid() != 0:
        found = f"locked by user {', '.join(map(str, sorted(owners)))}"
    else:
        return
    raise DaamBenchError(
        "another snakemake may be running here",
        where=folder,
        found=found,
        remedy="If it has ended: snakemake --unlock.",
    )
