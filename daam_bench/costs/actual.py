"""What runs of the present configuration really took; what is of another one is left out, with the reason."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from daam_bench.cache.manifest import MANIFEST, read_manifest, store_of
from daam_bench.cache.places import is_remote
from daam_bench.config import Config
from daam_bench.costs.current import difference, first_change
from daam_bench.costs.jobs import PlannedJob
from daam_bench.errors import CacheError, RecordError
from daam_bench.plan import Plan
from daam_bench.records import RunRecord, read_record


@dataclass(frozen=True)
class Actual:
    """Measured costs of one cache and of the jobs on it; None or missing where nothing ran yet.

    Attributes:
        cached: whether the cache that the configuration asks for is there.
        gigabytes: that it takes on the disk, in 1e9 bytes.
        computed_samples, extraction_seconds: of its extraction, rows that an older cache had left out.
        replicas: (number of replicas, their seconds together) by job.
        left_out: one line for each kind of result that is of another configuration.
    """

    cached: bool = False
    gigabytes: float | None = None
    computed_samples: int | None = None
    extraction_seconds: float | None = None
    replicas: dict[str, tuple[int, float]] = field(default_factory=dict)
    left_out: list[str] = field(default_factory=list)


def measured_costs(
    config: Config, plan: Plan, place: tuple[str, str], results: Path, jobs: list[PlannedJob]
) -> Actual:
    """Return what was measured of one cache and of the records of its jobs."""
    folder = results / "embeddings" / Path(*place)
    try:
        facts = read_manifest(folder / MANIFEST)
    except CacheError:
        trained = any(_records_of(results, job) for job in jobs)
        return Actual(left_out=["records whose cache is not here"] if trained else [])
    other = difference(config, plan, place, results, facts)
    if other:
        return Actual(left_out=[f"the cache, and what was trained on it: {other}"])
    measured = facts.get("measurements", {})
    replicas, left_out = _replicas(results, jobs, facts["digest"])
    return Actual(
        cached=True,
        gigabytes=_stored_bytes(folder / MANIFEST, facts) / 1e9,
        computed_samples=measured.get("computed_samples"),
        extraction_seconds=measured.get("seconds"),
        replicas=replicas,
        left_out=[f"{count} records: {why}" for why, count in left_out.items()],
    )


def _stored_bytes(manifest: Path, facts: Mapping[str, Any]) -> float:
    """Return what a store takes on the disk; of a remote one, the size of its values."""
    store = store_of(manifest, dict(facts))
    if is_remote(store):
        samples, layers, features = facts["shape"]
        return float(samples * layers * features * (2 if facts["dtype"] == "float16" else 4))
    return float(sum(file.stat().st_size for file in [store, *store.rglob("*")] if file.is_file()))


def _replicas(
    results: Path, jobs: list[PlannedJob], cache: str
) -> tuple[dict[str, tuple[int, float]], dict[str, int]]:
    """Return (replicas, seconds) by folder of a job, and how many records were left out, by reason."""
    replicas: dict[str, tuple[int, float]] = {}
    left_out: dict[str, int] = {}
    for job in jobs:
        seconds = []
        for path in _records_of(results, job):
            try:
                record = read_record(path)
            except RecordError:
                continue
            other = _other(record, job, cache)
            if other:
                left_out[other] = left_out.get(other, 0) + 1
            else:
                seconds.append(record.wall_seconds)
        if seconds:
            replicas[job.folder] = len(seconds), sum(seconds)
    return replicas, left_out


def _records_of(results: Path, job: PlannedJob) -> list[Path]:
    return sorted((results / job.folder).glob("fold*_seed*.json"))


def _other(record: RunRecord, job: PlannedJob, cache: str) -> str:
    """Return why a record is not of a job; empty if it is."""
    if not record.spec:
        return "written before records had their settings"
    spec = {name: value for name, value in record.spec.items() if name != "layers"}
    if changed := first_change(spec, job.spec):
        return changed
    if record.cache_identity != cache:
        return "trained on another cache"
    return "" if record.seed in job.seeds else "of a seed that is not in the plan"
