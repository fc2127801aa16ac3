"""What one job computes, as plain data: the workflow's rules and `daam-bench run` take it from here."""

from typing import Any

from daam_bench.config import Config, Protocol, TrainingConfig, training_of, tuning_of
from daam_bench.errors import unknown_name
from daam_bench.heads.own import fingerprint_of_file
from daam_bench.heads.presets import RESERVED
from daam_bench.plan import Plan


def extraction_spec(config: Config, plan: Plan, dataset: str, encoder: str) -> dict[str, Any]:
    """Return what `cache.extraction.ExtractionSpec` takes for one cache."""
    settings = plan.encoders[encoder]
    return {
        "dataset": dataset,
        "encoder_name": encoder,
        "encoder": settings.model_dump(mode="json"),
        "cache": config.cache.model_dump(mode="json"),
        # The one switch of the protocol that concerns extraction, and speech alone (D10).
        "short_clips": config.protocol.short_clips if settings.modality == "speech" else "masked",
    }


def training_spec(config: Config, plan: Plan, dataset: str, encoder: str, variant: str) -> dict[str, Any]:
    """Return what `training.run.TrainingSpec` takes for one variant, or one baseline, on one cache.

    A variant that the experiment does not list is trained as those that it lists.

    Raises:
        ConfigError: if the plan has no such cache.
    """
    known_jobs = [*plan.jobs, *plan.tunings]
    jobs = [job for job in known_jobs if (job.dataset, job.encoder) == (dataset, encoder)]
    if not jobs:
        known = {f"{job.dataset} x {job.encoder}" for job in known_jobs}
        raise unknown_name("experiment", f"{dataset} x {encoder}", known, "experiments")
    job = next((job for job in jobs if job.variant == variant), jobs[0])
    own = config.variants.get(variant)
    # Extraction alone reads D10: its value here must not train anything again.
    given = config.protocol.model_dump(mode="json", exclude={"short_clips"})
    training, protocol = job.training, Protocol.model_validate(given)
    if variant in RESERVED:  # baselines read no switch, and two settings
        training = TrainingConfig(inner_fraction=training.inner_fraction, metric=training.metric)
        protocol = Protocol.model_validate("corrected")
    return {
        "dataset": dataset,
        "encoder": encoder,
        "variant": variant,
        "seeds": [0] if variant in RESERVED else list(job.seeds),
        "folds": plan.datasets[dataset].folds.model_dump(mode="json"),
        "training": training.model_dump(mode="json"),
        "protocol": protocol.model_dump(mode="json"),
        "own": None if own is None else own.model_dump(mode="json"),
        "own_sha256": None if own is None else fingerprint_of_file(own.file),
    }


def tuning_spec(config: Config, plan: Plan, dataset: str, encoder: str, variant: str) -> dict[str, Any]:
    """Return what `tuning.spec.TuningSpec` takes for one encoder variant on one dataset.

    An encoder variant that the experiment does not list is tuned as those that it would list.

    Raises:
        ConfigError: if the plan has no such experiment.
    """
    experiments = {(e.dataset, e.encoder): e for e in config.experiments}
    if (dataset, encoder) not in experiments:
        known = {" x ".join(pair) for pair in experiments}
        raise unknown_name("experiment", f"{dataset} x {encoder}", known, "experiments")
    experiment, settings = experiments[dataset, encoder], plan.encoders[encoder]
    speech = settings.modality == "speech"
    # D10 concerns speech alone: elsewhere its value must not train anything again.
    protocol = config.protocol.model_dump(mode="json", exclude=None if speech else {"short_clips"})
    return {
        "dataset": dataset,
        "encoder": encoder,
        "variant": variant,
        "seeds": list(experiment.seeds),
        "folds": plan.datasets[dataset].folds.model_dump(mode="json"),
        "training": training_of(config, experiment).model_dump(mode="json"),
        "protocol": Protocol.model_validate(protocol).model_dump(mode="json"),
        "tuning": tuning_of(config, experiment).model_dump(mode="json"),
        "encoder_settings": settings.model_dump(mode="json"),
    }
