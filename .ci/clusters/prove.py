"""Runs the workflow on a real Slurm, breaks it on purpose, and compares with a run in one process.

Called by .ci/slurm, which starts the daemons: prove.py <folder of the daemons>.
"""

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from time import monotonic

import psutil
import yaml
from dask.distributed import Client
from dask_jobqueue import SLURMCluster

ROOT = Path(__file__).parents[2]
BIN = Path(sys.executable).parent
# Small chunks: there is something to lose. More samples where a moment in the middle is to be hit.
SMOKE = {"cache": {"chunk_mebibytes": 0.1}}
LONGER = SMOKE | {"datasets": {"vader": {"samples_per_group": 400}}}
# As docs/clusters.md says, but asking often; one thread, as in the run compared with.
ON_SLURM = (
    *("--workflow-profile", str(ROOT / "profiles/slurm"), "--latency-wait", "10"),
    *("--slurm-init-seconds-before-status-checks", "1", "--seconds-between-status-checks", "1"),
    *("--set-threads", "extract_part=1"),
)
CHUNKS = 146
PATIENCE = 900


@dataclass(frozen=True)
class SlurmJob:
    """One line of squeue: number, state, memory and limit as Slurm writes them, rule of the workflow."""

    number: str
    state: str
    memory: str
    limit: str
    rule: str


def slurm_jobs(rule: str) -> list[SlurmJob]:
    output = called("squeue", "--noheader", "--states=all", "--sort=i", "--format=%i|%T|%m|%l|%k")
    jobs = [SlurmJob(*line.strip().split("|", 4)) for line in output.splitlines()]
    return [job for job in jobs if rule in job.rule]


def called(*command: str) -> str:
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def wait_for(
    what: str, condition: Callable[[], object], process: subprocess.Popen[str] | None = None
) -> None:
    deadline = monotonic() + PATIENCE
    while not condition():
        if process is not None and process.poll() is not None:
            raise SystemExit(f"the run ended before: {what}")
        if monotonic() > deadline:
            raise SystemExit(f"waited {PATIENCE} s for: {what}")
        time.sleep(0.005)


class Place:
    """A working folder with the configuration, the fetched files and results of its own."""

    def __init__(self, folder: Path, overlay: dict[str, object]) -> None:
        self.folder, self.log = folder, folder / "snakemake.log"
        folder.mkdir()
        for name in ("config.yaml", "config", "profiles", "resources"):
            (folder / name).symlink_to(ROOT / name)
        (folder / "overlay.yaml").write_text(yaml.safe_dump(overlay), encoding="utf-8")

    @contextmanager
    def running(self, target: str, *options: str, **environment: str) -> Iterator[subprocess.Popen[str]]:
        """Run snakemake meanwhile; it must end well."""
        command = [str(BIN / "snakemake"), "--snakefile", str(ROOT / "Snakefile"), *options]
        command += ["--configfile", "config/smoke.yaml", "overlay.yaml", "--", target]
        with self.log.open("w", encoding="utf-8") as log:
            process = subprocess.Popen(
                command, cwd=self.folder, stdout=log, stderr=log, text=True, env=os.environ | environment
            )
            try:
                yield process
                code = process.wait(PATIENCE)
            finally:
                process.terminate()
        if code:
            raise SystemExit(f"snakemake failed\n{self.log.read_text()[-4000:]}")

    def run(self, target: str, *options: str, **environment: str) -> None:
        with self.running(target, *options, **environment):
            pass

    @property
    def cache(self) -> Path:
        return self.folder / "results/embeddings/vader/minilm-l6"

    @property
    def manifest(self) -> dict[str, object]:
        return dict(json.loads((self.cache / "manifest.json").read_bytes()))

    @property
    def computed(self) -> int:
        """Samples that the last attempt of each part computed."""
        return int(self.manifest["measurements"]["last_run_computed_samples"])  # type: ignore[index]

    def committed(self, parts: int = 1) -> list[int]:
        """Return how many chunks of each part are committed."""
        lines = [
            line for path in self.cache.glob("*.ledger.jsonl") for line in path.read_bytes().splitlines()
        ]
        numbers = [int(found[1]) for line in lines if (found := re.search(rb'"chunk":(\d+)', line))]
        bounds = [CHUNKS * part // parts for part in range(parts + 1)]
        return [sum(low <= number < high for number in numbers) for low, high in pairwise(bounds)]


def contents(folder: Path) -> dict[str, bytes]:
    return {str(f.relative_to(folder)): f.read_bytes() for f in folder.rglob("*") if f.is_file()}


def compare_caches(place: Place, reference: Place) -> str:
    """Compare every file of the store, and the manifest without the measured times."""
    stores = [next(one.cache.glob("*.zarr")) for one in (place, reference)]
    files = [contents(store) for store in stores]
    assert files[0] == files[1], "the stores differ"
    facts = [one.manifest for one in (place, reference)]
    for manifest in facts:
        # The checksum is over the measured times too.
        del manifest["measurements"], manifest["checksum"]
    assert facts[0] == facts[1], "the manifests differ"
    return (
        f"{len(files[0])} files, {sum(map(len, files[0].values())):,} bytes equal; {facts[0]['digest']:.12}"
    )


def processes_of(job: SlurmJob) -> list[psutil.Process]:
    """Return the processes that Slurm started for a job, its own guard of them included."""
    found = []
    for process in psutil.process_iter():
        try:
            inside = process.environ().get("SLURM_JOB_ID") == job.number
            guard = (process.cmdline() or [""])[0].startswith(f"slurmstepd: [{job.number}.")
        except psutil.Error:
            continue
        if inside or guard:
            found.append(process)
    return found


def prove_smoke(folder: Path) -> list[tuple[str, str]]:
    local, slurm = Place(folder / "smoke-local", SMOKE), Place(folder / "smoke-slurm", SMOKE)
    known, before = len(slurm_jobs("extract_part")), len(slurm_jobs(""))
    local.run("tables", "--cores", "1")
    slurm.run("tables", *ON_SLURM, "--set-scatter", "extraction=4")
    parts = slurm_jobs("extract_part")[known:]
    assert len(parts) == 4, parts
    for job in [*parts, *slurm_jobs("train_variant")]:
        assert "gpu:1" in called("scontrol", "show", "job", job.number), job
    found = [contents(place.folder / "results/tables") for place in (slurm, local)]
    # But for costs, which clocks gave.
    tables = [{name: data for name, data in one.items() if not name.startswith("cost.")} for one in found]
    assert tables[0] == tables[1], "the tables differ"
    jobs = len(slurm_jobs("")) - before
    return [
        ("smoke run through the profile", f"{jobs} Slurm jobs; {len(tables[0])} tables equal byte for byte"),
        ("extraction dealt to 4 jobs", compare_caches(slurm, local)),
    ]


def prove_time_limit(folder: Path, reference: Place) -> list[tuple[str, str]]:
    """Hang a job, as on a stalled disk: Slurm ends it at its limit, and snakemake sends it again."""
    place, known = Place(folder / "time-limit", LONGER), len(slurm_jobs("extract_part"))
    with place.running("cache", *ON_SLURM) as process:
        wait_for("some chunks", lambda: place.committed()[0] >= 3, process)
        job = slurm_jobs("extract_part")[known]
        for one in processes_of(job):
            if "slurmstepd" not in " ".join(one.cmdline()):
                one.send_signal(signal.SIGSTOP)
        committed = place.committed()[0]
        called("scontrol", "update", f"JobId={job.number}", "TimeLimit=1")
    first, second = slurm_jobs("extract_part")[known:]
    assert first.state == "TIMEOUT", first
    assert second.state == "COMPLETED", second
    assert mebibytes(second) == 2 * mebibytes(first), (first, second)
    return [
        ("killed by its time limit", f"job {first.number} TIMEOUT; job {second.number} asked for "
         f"{second.memory} after {first.memory}, limit {second.limit}"),
        ("  it went on", kept(place, reference, committed)),
        ("  same cache", compare_caches(place, reference)),
    ]  # fmt: skip


def mebibytes(job: SlurmJob) -> float:
    value, unit = float(job.memory.rstrip("MG")), job.memory[-1]
    return value * 1024 if unit == "G" else value


def kept(place: Place, reference: Place, committed: int) -> str:
    """Say how much the last attempts had to compute; fail if what was committed was computed again.

    Args:
        place: where the cache is.
        reference: a cache that was computed at once.
        committed: least number of chunks that the lost attempts had committed.
    """
    samples, rows = reference.computed, rows_per_chunk(place)
    assert len(place.manifest["chunk_sha256"]) == CHUNKS, place  # type: ignore[arg-type]
    assert 0 < place.computed <= samples - committed * rows, (place.computed, samples, committed, rows)
    return f"{committed} chunks or more were committed; then {place.computed} of {samples} samples computed"


def rows_per_chunk(place: Place) -> int:
    metadata = json.loads((next(place.cache.glob("*.zarr")) / "embeddings/zarr.json").read_bytes())
    return int(metadata["chunk_grid"]["configuration"]["chunk_shape"][0])


def prove_node_failure(folder: Path, reference: Place, daemons: Path) -> list[tuple[str, str]]:
    """Pull the plug of the node: its daemon and all processes of its jobs are gone at once."""
    place, known = Place(folder / "node-failure", LONGER), len(slurm_jobs("extract_part"))
    with place.running("cache", *ON_SLURM, "--set-scatter", "extraction=2") as process:
        wait_for("some chunks", lambda: min(place.committed(2)) >= 3, process)
        jobs = [job for job in slurm_jobs("extract_part")[known:] if job.state == "RUNNING"]
        os.kill(int((daemons / "slurmd.pid").read_text(encoding="ascii")), signal.SIGKILL)
        for one in [one for job in jobs for one in processes_of(job)]:
            one.kill()
        committed, node = place.committed()[0], called("hostname", "-s").strip()
        called("scontrol", "update", f"NodeName={node}", "State=DOWN", "Reason=unplugged")
        wait_for("Slurm to notice", lambda: not [j for j in slurm_jobs("") if j.state == "RUNNING"], process)
        called("slurmd")
        called("scontrol", "update", f"NodeName={node}", "State=RESUME")
        for job in jobs:  # or else Slurm waits two minutes before it starts them again; it may have begun
            subprocess.run(("scontrol", "update", f"JobId={job.number}", "StartTime=now"), check=False)
    assert jobs, "no job ran on the node"
    restarts = [called("scontrol", "show", "job", job.number).count("Restarts=1") for job in jobs]
    states = [job.state for job in slurm_jobs("extract_part")[known:]]
    assert states.count("COMPLETED") == 2, states
    return [
        ("node lost", f"{len(jobs)} jobs ran on it; {sum(restarts)} queued again by Slurm; "
         f"in the end {', '.join(states)}"),
        ("  they went on", kept(place, reference, committed)),
        ("  same cache", compare_caches(place, reference)),
    ]  # fmt: skip


def prove_dask(folder: Path, reference: Place) -> list[tuple[str, str]]:
    """Workers are Slurm jobs of dask-jobqueue; one is lost in the middle."""
    place = Place(folder / "dask", LONGER)
    options = {"host": "127.0.0.1", "dashboard_address": ":0"}
    cluster = SLURMCluster(
        cores=1,
        processes=1,
        memory="4GB",
        walltime="01:00:00",
        python=sys.executable,
        log_directory=str(folder / "dask-logs"),
        scheduler_options=options,
    )
    with cluster, Client(cluster) as client:
        cluster.scale(jobs=2)
        client.wait_for_workers(2, timeout=PATIENCE)
        address = cluster.scheduler_address
        with place.running("cache", "--cores", "1", DAAM_BENCH_SCHEDULER=address) as process:
            wait_for("some chunks", lambda: min(place.committed(2)) >= 3, process)
            worker = next(job for job in slurm_jobs("") if job.rule == "(null)" and job.state == "RUNNING")
            for one in processes_of(worker):
                one.kill()
            # Either part may be the one that was lost.
            committed = min(place.committed(2))
    return [
        ("dask workers as Slurm jobs", f"2 workers, one (job {worker.number}) killed"),
        ("  its part went on", kept(place, reference, committed)),
        ("  same cache", compare_caches(place, reference)),
    ]


def prove_dask_by_hand(folder: Path, reference: Place) -> list[tuple[str, str]]:
    """Scheduler and workers are started by their own commands, and found by a scheduler file."""
    place, file = Place(folder / "dask-by-hand", LONGER), folder / "scheduler.json"
    there = ("--scheduler-file", str(file))
    started = [
        ("scheduler", "--host", "127.0.0.1", "--port", "0", "--dashboard-address", ":0", *there),
        *[("worker", "--nthreads", "1", "--local-directory", str(folder), *there)] * 2,
    ]
    processes = [
        subprocess.Popen([str(BIN / "dask"), *words], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        for words in started
    ]
    try:
        place.run("cache", "--cores", "1", DAAM_BENCH_SCHEDULER=str(file))
    finally:
        for process in processes[::-1]:
            process.terminate()
            process.wait(PATIENCE)
    return [("dask scheduler, 2 dask workers", compare_caches(place, reference))]


def main() -> None:
    daemons = Path(sys.argv[1])
    folder, start = daemons / "proof", monotonic()
    folder.mkdir()
    (ROOT / "resources").mkdir(exist_ok=True)
    Place(folder / "assets", SMOKE).run("assets", "--cores", "1")
    reference = Place(folder / "reference", LONGER)
    reference.run("cache", "--cores", "1")
    rows = prove_dask_by_hand(folder, reference)
    rows += prove_dask(folder, reference)
    rows += prove_node_failure(folder, reference, daemons)
    rows += prove_time_limit(folder, reference)
    rows += prove_smoke(folder)
    width = max(len(name) for name, _ in rows)
    print(f"\nProven in {monotonic() - start:.0f} s on {called('sinfo', '--version').strip()}")
    for name, found in rows:
        print(f"{name:<{width}}  {found}")


if __name__ == "__main__":
    main()
