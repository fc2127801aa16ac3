"""What runs really took, from the manifests of caches and the records of replicas."""

from dataclasses import dataclass, field
from pathlib import Path

from daam_bench.cache.manifest import MANIFEST, read_manifest
from daam_bench.errors import DaamBenchError
from daam_bench.records import FINISHED, read_records


@dataclass(frozen=True)
class Actual:
    """Measured costs of one cache; None or missing where nothing ran yet.

    Attributes:
        samples_per_second: of extraction, rows that were reused included.
        extraction_seconds: of all parts together.
        gigabytes: size of the values of the cache, in 1e9 bytes.
        replica_seconds: (number of replicas, their seconds together) by variant.
    """

    samples_per_second: float | None = None
    extraction_seconds: float | None = None
    gigabytes: float | None = None
    replica_seconds: dict[str, tuple[int, float]] = field(default_factory=dict)


def measured_costs(results: Path, dataset: str, encoder: str) -> Actual:
    """Return what was measured of one cache and its replicas."""
    rate = seconds = size = None
    try:
        facts = read_manifest(results / "embeddings" / dataset / encoder / MANIFEST)
        measured = facts.get("measurements", {})
        rate, seconds = measured.get("samples_per_second"), measured.get("seconds")
        samples, layers, features = facts["shape"]
        size = samples * layers * features * (2 if facts["dtype"] == "float16" else 4) / 1e9
    except (DaamBenchError, KeyError):
        pass
    replicas = {}
    for finished in sorted((results / "runs" / dataset / encoder).glob(f"*/{FINISHED}")):
        try:
            records = read_records(finished.parent)
        except DaamBenchError:
            continue
        replicas[finished.parent.name] = len(records), sum(record.wall_seconds for record in records)
    return Actual(rate, seconds, size, replicas)
