"""What one job computes, as plain data: the workflow's rules and `daam-bench run` take it from here."""

from typing import Any

from daam_bench.adapters.presets import ENCODER_VARIANTS, EncoderVariant
from daam_bench.config import (
    Config,
    Experiment,
    Protocol,
    TrainingConfig,
    protocol_of,
    training_of,
    tuning_of,
)
from daam_bench.errors import unknown_name
from daam_bench.heads.own import fingerprint_of_file, own_variant
from daam_bench.heads.presets import RESERVED, Variant, find_variant
from daam_bench.plan import Plan
from daam_bench.studies.jobs import StudyJob
from daam_bench.studies.use import BASELINE_SETTINGS, BASELINE_SWITCHES, unused_settings, unused_switches


def extraction_spec(config: Config, plan: Plan, dataset: str, encoder: str) -> dict[str, Any]:
    """Return what `cache.extraction.ExtractionSpec` takes for one cache."""
    return {
        "dataset": dataset,
        "encoder_name": encoder,
        "encoder": plan.encoders[encoder].model_dump(mode="json"),
        "cache": config.cache.model_dump(mode="json"),
        # The one switch of the protocol that concerns extraction, and speech alone (D10).
        "short_clips": config.protocol.short_clips if _is_speech(plan, encoder) else "masked",
    }


def training_spec(config: Config, plan: Plan, dataset: str, encoder: str, variant: str) -> dict[str, Any]:
    """Return what `training.run.TrainingSpec` takes for one variant, or one baseline, on one cache.

    A variant that the experiment does not list is trained as those that it lists. Settings that it has no use
    for are at their defaults: changing one trains only those variants anew that it is a setting of.

    Raises:
        ConfigError: if the configuration has no such experiment.
    """
    experiment = _experiment_of(config, dataset, encoder)
    own = config.variants.get(variant)
    training, protocol = training_of(config, experiment), protocol_of(config, experiment)
    if variant in RESERVED:
        training = TrainingConfig(**{name: getattr(training, name) for name in BASELINE_SETTINGS})
        used = BASELINE_SWITCHES if _is_speech(plan, encoder) else ()
        protocol = Protocol.model_validate({name: getattr(protocol, name) for name in used})
    else:
        training = _of_use(config, variant, training)
        protocol = _switches_of_use(config, experiment, variant, training, protocol)
    return {
        "dataset": dataset,
        "encoder": encoder,
        "variant": variant,
        "seeds": [0] if variant in RESERVED else list(experiment.seeds),
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
        ConfigError: if the configuration has no such experiment.
    """
    experiment = _experiment_of(config, dataset, encoder)
    training = _of_use(config, variant, training_of(config, experiment))
    protocol = _switches_of_use(config, experiment, variant, training, protocol_of(config, experiment))
    return {
        "dataset": dataset,
        "encoder": encoder,
        "variant": variant,
        "seeds": list(experiment.seeds),
        "folds": plan.datasets[dataset].folds.model_dump(mode="json"),
        "training": training.model_dump(mode="json"),
        "protocol": protocol.model_dump(mode="json"),
        "tuning": tuning_of(config, experiment).model_dump(mode="json"),
        "encoder_settings": plan.encoders[encoder].model_dump(mode="json"),
    }


def study_spec(config: Config, plan: Plan, job: StudyJob) -> dict[str, Any]:
    """Return the ordinary job of a variant, or of an encoder variant, with what a derived one changes."""
    ordinary = tuning_spec if job.variant in ENCODER_VARIANTS else training_spec
    experiment = _experiment_of(config, job.dataset, job.encoder)
    training = _of_use(config, job.variant, job.training)
    protocol = _switches_of_use(config, experiment, job.variant, training, job.protocol)
    return ordinary(config, plan, job.dataset, job.encoder, job.variant) | {
        "seeds": list(job.seeds),
        "training": training.model_dump(mode="json"),
        "protocol": protocol.model_dump(mode="json"),
    }


def _of_use(config: Config, variant: str, training: TrainingConfig) -> TrainingConfig:
    """Return the settings, those that a variant has no use for at their defaults."""
    entry: Variant | EncoderVariant
    if variant in ENCODER_VARIANTS:
        entry = ENCODER_VARIANTS[variant]
    else:
        own = config.variants.get(variant)
        entry = find_variant(variant) if own is None else own_variant(variant, own)
    unused = unused_settings(entry, training.loss)
    return training.model_copy(update={name: TrainingConfig.model_fields[name].default for name in unused})


def _switches_of_use(
    config: Config, experiment: Experiment, variant: str, training: TrainingConfig, protocol: Protocol
) -> Protocol:
    """Return the protocol in force, switches that cannot touch a variant as the protocol's name has them."""
    if variant in config.variants:  # a user's own module may ask for any of them
        return protocol
    named = protocol_of(config, experiment, Protocol.model_validate(protocol.name))
    if variant in ENCODER_VARIANTS:
        training = tuning_of(config, experiment).applied_to(training)
    return protocol.model_copy(
        update={field: getattr(named, field) for field in unused_switches(variant, training)}
    )


def _experiment_of(config: Config, dataset: str, encoder: str) -> Experiment:
    experiments = {(e.dataset, e.encoder): e for e in config.experiments}
    if (dataset, encoder) not in experiments:
        known = {" x ".join(pair) for pair in experiments}
        raise unknown_name("experiment", f"{dataset} x {encoder}", known, "experiments")
    return experiments[dataset, encoder]


def _is_speech(plan: Plan, encoder: str) -> bool:
    return plan.encoders[encoder].modality == "speech"
