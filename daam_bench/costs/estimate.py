"""The plan with its costs: one row a cache, predicted by the last probe, beside what was measured."""

from dataclasses import dataclass
from pathlib import Path

from daam_bench.cache.manifest import MANIFEST
from daam_bench.config import Config
from daam_bench.costs.actual import Actual, measured_costs
from daam_bench.costs.jobs import KINDS, PlannedJob, planned_jobs
from daam_bench.costs.prediction import samples_seen
from daam_bench.costs.probed import Probes, facts_of_rate, facts_of_step
from daam_bench.costs.sizes import DatasetSize, dataset_size, encoder_shape, folds_of
from daam_bench.plan import Plan


@dataclass(frozen=True)
class Comparison:
    """One cost of what has run with the settings of the plan, predicted and measured.

    Attributes:
        cost: what it is, with its unit.
        predicted: of exactly what was measured; None if it was not probed.
        measured: what it took.
        ratio: measured / predicted.
        of: how much of the plan was measured, such as `4 of 8 replicas`.
    """

    cost: str
    predicted: float | None
    measured: float
    ratio: float | None
    of: str


@dataclass(frozen=True)
class CacheCost:
    """Costs of one cache and everything that is trained on it; None where it is not known.

    Attributes:
        cells: replicas, variant x fold x seed, of variants, baselines, studies and encoder LoRA.
        cells_of: the same by kind.
        gigabytes: of the cache, in 1e9 bytes.
        extraction_minutes: predicted by the last probe.
        training_minutes: of variants and of studies on cached layers, likewise, for jobs that run one at a
            time; starting jobs, baselines and encoder LoRA are not in them.
        cached: whether the cache that the configuration asks for is there.
        comparisons: of what has run.
        left_out: results that are of another configuration, and so are not compared.
        unknown: what is not known, and why.
        problem: why the dataset's files, which are here, cannot be used as the configuration says.
    """

    dataset: str
    encoder: str
    samples: int | None
    layers: int | None
    features: int | None
    folds: int | None
    variants: int
    cells: int | None
    cells_of: dict[str, int | None]
    gigabytes: float | None
    extraction_minutes: float | None
    training_minutes: float | None
    cached: bool
    comparisons: list[Comparison]
    left_out: list[str]
    unknown: list[str]
    problem: str


@dataclass(frozen=True)
class _Facts:
    """What a row is made from: sizes, jobs, the seconds of one replica of each job that was probed."""

    place: tuple[str, str]
    size: DatasetSize
    shape: tuple[int, int] | None
    why_no_shape: str
    folds: int | None
    jobs: list[PlannedJob]
    rate: float | None
    seconds: dict[str, float]
    gigabytes: float | None


def estimate_costs(config: Config, plan: Plan, results: Path) -> list[CacheCost]:
    """Return one row a cache of the plan; needs neither data nor models to be there."""
    probes = Probes(results)
    return [_cost(config, plan, place, results, probes) for place in plan.caches]


def _cost(config: Config, plan: Plan, place: tuple[str, str], results: Path, probes: Probes) -> CacheCost:
    facts = _facts(config, plan, place, results, probes)
    actual = measured_costs(config, plan, place, results, facts.jobs)
    predictable = [job for job in facts.jobs if job.predictable]
    known = facts.folds is not None and all(job.folder in facts.seconds for job in predictable)
    replica_seconds = [len(job.seeds) * facts.seconds[job.folder] for job in predictable] if known else []
    counts = {kind: sum(len(job.seeds) for job in facts.jobs if job.kind == kind) for kind in KINDS}
    folds, samples = facts.folds, facts.size.samples
    return CacheCost(
        dataset=place[0],
        encoder=place[1],
        samples=samples,
        layers=facts.shape[0] if facts.shape else None,
        features=facts.shape[1] if facts.shape else None,
        folds=folds,
        variants=sum(job.kind == "variants" for job in facts.jobs),
        cells=None if folds is None else folds * sum(counts.values()),
        cells_of={kind: None if folds is None else folds * count for kind, count in counts.items()},
        gigabytes=facts.gigabytes,
        extraction_minutes=samples / facts.rate / 60 if samples and facts.rate else None,
        training_minutes=(folds or 0) * sum(replica_seconds) / 60 if replica_seconds else None,
        cached=actual.cached,
        comparisons=_comparisons(facts, actual),
        left_out=actual.left_out,
        unknown=_unknown(facts, probes.problem(facts_of_rate(config, plan, place))),
        problem=facts.size.problem,
    )


def _facts(config: Config, plan: Plan, place: tuple[str, str], results: Path, probes: Probes) -> _Facts:
    dataset = plan.datasets[place[0]]
    size = dataset_size(place[0], dataset, results)
    shape, why = encoder_shape(plan.encoders[place[1]], results / "embeddings" / Path(*place) / MANIFEST)
    jobs = planned_jobs(config, plan, place)
    protocol, seconds = config.protocol.model_dump(mode="json"), {}
    for job in jobs:
        seen = samples_seen(size, dataset.folds, job.training, job.protocol)
        if job.predictable and seen and shape and size.classes:
            step = probes.step(facts_of_step(job, shape, size.classes, protocol))
            if step is not None:
                seconds[job.folder] = step.replica_seconds(job.training, *seen)
    bytes_each = 2 if config.cache.dtype == "float16" else 4
    gigabytes = size.samples * shape[0] * shape[1] * bytes_each / 1e9 if size.samples and shape else None
    rate = probes.rate(facts_of_rate(config, plan, place))
    folds = folds_of(dataset.folds, size.groups)
    return _Facts(place, size, shape, why, folds, jobs, rate, seconds, gigabytes)


def _comparisons(facts: _Facts, actual: Actual) -> list[Comparison]:
    """Return each cost of which something was measured, beside the prediction for the same."""
    found = []
    samples = facts.size.samples
    if actual.gigabytes is not None:
        found.append(_compared("cache GB", facts.gigabytes, actual.gigabytes, f"{samples:,} samples"))
    if actual.extraction_seconds and actual.computed_samples:
        predicted = actual.computed_samples / facts.rate / 60 if facts.rate else None
        of = f"{actual.computed_samples:,} of {samples:,} samples"
        found.append(_compared("extraction minutes", predicted, actual.extraction_seconds / 60, of))
    for cost, wanted in (("training minutes", True), ("encoder LoRA minutes", False)):
        jobs = [job for job in facts.jobs if job.predictable == wanted and job.kind != "baselines"]
        ran = [(job, *actual.replicas[job.folder]) for job in jobs if job.folder in actual.replicas]
        if ran:
            probed = all(job.folder in facts.seconds for job, _, _ in ran)
            predicted = sum(n * facts.seconds[job.folder] for job, n, _ in ran) / 60 if probed else None
            planned = (facts.folds or 0) * sum(len(job.seeds) for job in jobs)
            of = f"{sum(count for _, count, _ in ran):,} of {planned:,} replicas"
            found.append(_compared(cost, predicted, sum(wall for *_, wall in ran) / 60, of))
    return found


def _compared(cost: str, predicted: float | None, measured: float, of: str) -> Comparison:
    return Comparison(cost, predicted, measured, measured / predicted if predicted else None, of)


def _unknown(facts: _Facts, problem: str) -> list[str]:
    """Return one line for each thing that is not known, with the reason."""
    size = facts.size
    unknown = [] if size.samples is not None else [f"samples: {' '.join(size.source.split())}"]
    unknown += [] if facts.shape else [f"size of {facts.place[1]}: {facts.why_no_shape}"]
    unknown += [] if facts.folds else ["folds: the groups are not known yet"]
    predictable = [job for job in facts.jobs if job.predictable]
    lacking = [job.variant for job in predictable if job.folder not in facts.seconds]
    not_probed = [] if facts.rate or problem else ["extraction"]
    if problem:
        unknown.append(f"minutes of extraction: {problem}")
    if lacking:
        training = "training" if len(lacking) == len(predictable) else f"training {_listed(lacking)}"
        if None in (size.samples, size.classes, facts.shape, facts.folds):
            unknown.append(f"minutes of {training}: what is not known above is needed first")
        else:
            not_probed.append(training)
    if not_probed:
        why = "not probed with these settings: daam-bench plan --probe"
        unknown.append(f"minutes of {' and '.join(not_probed)}: {why}")
    tuned = [job.variant for job in facts.jobs if not job.predictable and job.kind != "baselines"]
    if tuned:
        unknown.append(f"minutes of {_listed(tuned)}: training through the encoder is not probed")
    return unknown


def _listed(names: list[str]) -> str:
    return ", ".join(dict.fromkeys(names))
