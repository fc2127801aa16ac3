"""Locks that a killed run leaves behind."""

from pathlib import Path

import psutil

from daam_bench.errors import DaamBenchError


def clear_stale_lock(folder: Path) -> None:
    """Remove Snakemake's lock of a folder if no Snakemake runs in it.

    Jobs of a killed Snakemake may still run: each holds a lock on its own target, which the next run's job
    waits for.

    Raises:
        DaamBenchError: if a Snakemake is running in the folder.
    """
    for process in psutil.process_iter(["pid", "cmdline", "cwd"]):
        words = [Path(word).name for word in process.info["cmdline"] or []]
        if "snakemake" in words[:3] and process.info["cwd"] == str(folder.resolve()):
            raise DaamBenchError(
                "another snakemake is running here",
                where=folder,
                found=f"process {process.info['pid']}",
                remedy="Wait until it ends, or stop it.",
            )
    for lock in (folder / ".snakemake" / "locks").glob("*.lock"):
        lock.unlink()
