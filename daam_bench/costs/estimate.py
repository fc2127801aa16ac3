"""The plan with its costs: one row a cache, predicted by the last probe, beside what was measured."""

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from daam_bench.config import Config
from daam_bench.costs.actual import measured_costs
from daam_bench.costs.sizes import DatasetSize, dataset_size, encoder_shape, folds_of
from daam_bench.errors import DaamBenchError
from daam_bench.plan import Job, Plan
from daam_bench.records import write_atomically
from daam_bench.training.names import BASELINES

PROBE = "probe.json"


@dataclass(frozen=True)
class CacheCost:
    """Costs of one cache and everything that is trained on it; None where it is not known.

    Attributes:
        cells: replicas of variants and baselines, variant x fold x seed.
        gigabytes: of the cache, in 1e9 bytes.
        extraction_minutes, training_minutes: predicted by the last probe, jobs one after another; starting
            jobs and scoring baselines are not in them.
        measured_extraction_minutes, measured_training_minutes: of what ran, variants only.
        measured_replicas: number of replicas that the measured training minutes are of.
        predicted_for_measured_minutes: prediction for exactly those replicas.
        unknown: what is not known, and why.
    """

    dataset: str
    encoder: str
    samples: int | None
    layers: int | None
    features: int | None
    folds: int | None
    variants: int
    cells: int | None
    gigabytes: float | None
    extraction_minutes: float | None
    training_minutes: float | None
    measured_extraction_minutes: float | None
    measured_training_minutes: float | None
    measured_replicas: int
    predicted_for_measured_minutes: float | None
    unknown: list[str]


def estimate_costs(config: Config, plan: Plan, results: Path) -> list[CacheCost]:
    """Return one row a cache of the plan; needs neither data nor models to be there."""
    probes = _read_probe(results)
    return [_cost(config, plan, place, results, probes) for place in plan.caches]


def _cost(
    config: Config, plan: Plan, place: tuple[str, str], results: Path, probes: dict[str, Any]
) -> CacheCost:
    dataset, encoder = place
    size = dataset_size(dataset, plan.datasets[dataset], results)
    shape = encoder_shape(plan.encoders[encoder])
    folds = folds_of(plan.datasets[dataset].folds, size.groups)
    jobs = [job for job in plan.jobs if (job.dataset, job.encoder) == place]
    replicas = sum(len(job.seeds) for job in jobs)
    probe = probes.get("/".join(place), {})
    seconds = {job.variant: _replica_seconds(job, probe, size.samples, folds) for job in jobs}
    total = [len(job.seeds) * (folds or 0) * (seconds[job.variant] or 0) for job in jobs]
    complete = None not in seconds.values() and folds is not None
    actual = measured_costs(results, dataset, encoder)
    ran = {v: counted for v, counted in actual.replica_seconds.items() if v not in BASELINES}
    compared = [count * value for v, (count, _) in ran.items() if (value := seconds.get(v)) is not None]
    bytes_each = 2 if config.cache.dtype == "float16" else 4
    rate = probe.get("samples_per_second")
    return CacheCost(
        dataset=dataset,
        encoder=encoder,
        samples=size.samples,
        layers=shape[0] if shape else None,
        features=shape[1] if shape else None,
        folds=folds,
        variants=len(jobs),
        cells=None if folds is None else folds * (replicas + len(BASELINES)),
        gigabytes=size.samples * shape[0] * shape[1] * bytes_each / 1e9 if size.samples and shape else None,
        extraction_minutes=size.samples / rate / 60 if size.samples and rate else None,
        training_minutes=sum(total) / 60 if complete else None,
        measured_extraction_minutes=actual.extraction_seconds and actual.extraction_seconds / 60,
        measured_training_minutes=sum(wall for _, wall in ran.values()) / 60 if ran else None,
        measured_replicas=sum(count for count, _ in ran.values()),
        predicted_for_measured_minutes=sum(compared) / 60 if ran and len(compared) == len(ran) else None,
        unknown=[*_unknown(place, size, shape, folds, probe), *_not_predicted(plan, place)],
    )


def _unknown(
    place: tuple[str, str],
    size: DatasetSize,
    shape: tuple[int, int] | None,
    folds: int | None,
    probe: dict[str, Any],
) -> list[str]:
    """Return one line for each thing that is not known, with the reason."""
    dataset, encoder = place
    unknown = [] if size.samples is not None else [f"samples of {dataset}: {size.source}"]
    unknown += [] if shape else [f"size of {encoder}: its config.json is not here yet"]
    unknown += [] if folds else [f"folds of {dataset}: its groups are not known yet"]
    unknown += [f"{what}: {why}" for what, why in probe.get("problems", {}).items()]
    return unknown if probe else [*unknown, "minutes: not probed yet (daam-bench plan --probe)"]


def _not_predicted(plan: Plan, place: tuple[str, str]) -> list[str]:
    tuned = plan.encoder_variants_of(*place)
    return [f"minutes of {', '.join(tuned)}: training through the encoder is not probed"] if tuned else []


def _replica_seconds(job: Job, probe: dict[str, Any], samples: int | None, folds: int | None) -> float | None:
    """Return the predicted seconds of one replica of a variant."""
    from daam_bench.costs.probe import StepCost

    found = probe.get("variants", {}).get(job.variant)
    if found is None or samples is None or folds is None:
        return None
    # A single fold is the dataset's own split; four fifths is the usual share to train on.
    training_share = (folds - 1) / folds if folds > 1 else 0.8
    train = int(samples * training_share)
    inner = int(train * job.training.inner_fraction)
    return StepCost(**found).replica_seconds(job.training, train - inner, samples - train + inner)


def run_probe(config: Config, plan: Plan, results: Path) -> None:
    """Probe every encoder and variant of a plan and keep what was found beside the results."""
    from daam_bench.costs.probe import probe_encoder, probe_variant

    found: dict[str, Any] = {}
    for dataset, encoder in plan.caches:
        size = dataset_size(dataset, plan.datasets[dataset], results)
        settings, shape = plan.encoders[encoder], encoder_shape(plan.encoders[encoder])
        entry: dict[str, Any] = {"variants": {}, "problems": {}}
        clips = config.protocol.short_clips if settings.modality == "speech" else "masked"
        try:
            rate = probe_encoder(encoder, settings, plan.datasets[dataset], clips)
            entry["samples_per_second"] = rate
        except (DaamBenchError, OSError) as error:
            entry["problems"]["extraction minutes"] = str(error)
        for job in plan.jobs:
            if (job.dataset, job.encoder) == (dataset, encoder) and shape and size.classes:
                variant = plan.variants[job.variant]
                cost = probe_variant(variant, shape, size.classes, job.training, config.protocol)
                entry["variants"][job.variant] = asdict(cost)
        if not entry["variants"]:
            entry["problems"]["training minutes"] = "the encoder's size or the classes are not known yet"
        found[f"{dataset}/{encoder}"] = entry
    write_atomically(results / PROBE, (json.dumps(found, indent=1) + "\n").encode())


def _read_probe(results: Path) -> dict[str, Any]:
    try:
        found: dict[str, Any] = json.loads((results / PROBE).read_bytes())
    except (OSError, ValueError):
        return {}
    return found
