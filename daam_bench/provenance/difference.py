"""Two folders of results beside each other: which replicas differ, by how much, and why."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from daam_bench.cache.identity import CacheIdentity
from daam_bench.cache.manifest import MANIFEST, read_manifest
from daam_bench.errors import DaamBenchError, RecordError
from daam_bench.provenance.trace import facts_of, flatten
from daam_bench.records import FINISHED, RunRecord, read_records

Place = tuple[str, str, str, str, int, int]


@dataclass(frozen=True)
class Difference:
    """One replica that is not the same on both sides; scores are shares, None where it is on one side only.

    Attributes:
        study: folder below `studies` of a derived run; empty for an ordinary one.
        why: one line for each setting, version or input that differs.
    """

    dataset: str
    encoder: str
    study: str
    variant: str
    fold: int
    seed: int
    score_a: float | None
    score_b: float | None
    why: list[str]

    @property
    def points(self) -> float | None:
        """B minus A in points of percent."""
        return None if self.score_a is None or self.score_b is None else 100 * (self.score_b - self.score_a)


@dataclass(frozen=True)
class Comparison:
    """All replicas that differ, and how many there are on both sides."""

    both: int
    differences: list[Difference]

    @property
    def differing(self) -> int:
        """How many of those on both sides differ."""
        return sum(None not in (d.score_a, d.score_b) for d in self.differences)


def compare_results(first: Path, second: Path) -> Comparison:
    """Return the replicas, those of studies too, whose scores or origins differ between two folders.

    Raises:
        RecordError: if a folder has no finished records, or a damaged one.
    """
    a, b = _records_of(first), _records_of(second)
    caches: dict[tuple[str, str], list[str]] = {}
    differences = []
    for place in sorted(a | b):
        mine, other = a.get(place), b.get(place)
        if mine is None or other is None:
            where = second if other is None else first
            scores = (mine.score if mine else None, other.score if other else None)
            differences.append(Difference(*place, *scores, [f"not in {where}"]))
            continue
        why = reasons(mine, other)
        if mine.cache_identity != other.cache_identity:
            cache = place[:2]
            if cache not in caches:
                caches[cache] = _cache_reasons(first, second, *cache)
            why += caches[cache]
        if mine.score != other.score and not why:
            why = [
                "nothing that is recorded differs: the computation is not repeatable on this hardware, or a "
                "record was edited"
            ]
        if mine.score != other.score or mine.key != other.key:
            differences.append(Difference(*place, mine.score, other.score, why))
    return Comparison(len(a.keys() & b.keys()), differences)


def _records_of(results: Path) -> dict[Place, RunRecord]:
    ordinary = [("", file) for file in (results / "runs").glob(f"*/*/*/{FINISHED}")]
    derived = [(file.parts[-3], file) for file in (results / "studies").glob(f"*/*/*/*/{FINISHED}")]
    found = {
        (r.dataset, r.encoder, study, r.variant, r.fold, r.seed): r
        for study, finished in sorted(ordinary + derived)
        for r in read_records(finished.parent)
    }
    if not found:
        raise RecordError("no finished records", where=results / "runs", remedy="Name a folder of results.")
    return found


def reasons(mine: RunRecord, other: RunRecord) -> list[str]:
    """Return one line for each setting, version or piece of hardware in which two records differ."""
    a, b = flatten(facts_of(mine)), flatten(facts_of(other))
    a.pop("cache_identity"), b.pop("cache_identity")
    return [
        f"{name}: {_shown(a.get(name))} -> {_shown(b.get(name))}"
        for name in dict.fromkeys([*a, *b])
        if a.get(name) != b.get(name)
    ]


def _cache_reasons(first: Path, second: Path, dataset: str, encoder: str) -> list[str]:
    try:
        identities = [
            CacheIdentity.model_validate(
                read_manifest(results / "embeddings" / dataset / encoder / MANIFEST)["identity"]
            )
            for results in (first, second)
        ]
    except DaamBenchError:
        return ["cache: another one (the manifests are not both here to say how it differs)"]
    return [f"cache: {line}" for line in identities[0].differences(identities[1])]


def _shown(value: Any) -> str:
    return "absent" if value is None else str(value)
