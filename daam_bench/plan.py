"""From the configuration to the jobs: every name is checked here, before anything runs."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from difflib import get_close_matches
from pathlib import Path

from daam_bench.adapters.presets import ENCODER_VARIANTS
from daam_bench.assets import ASSETS
from daam_bench.config import (
    Config,
    DatasetConfig,
    EncoderConfig,
    Experiment,
    TrainingConfig,
    TuningConfig,
    protocol_of,
    training_of,
    tuning_of,
)
from daam_bench.datasets.registry import dataset_kind
from daam_bench.encoders.shapes import known_shape
from daam_bench.errors import ConfigError, DataError, unknown_name
from daam_bench.heads.divisors import density_heads
from daam_bench.heads.own import own_variant
from daam_bench.heads.presets import VARIANTS, Variant
from daam_bench.studies.jobs import Base, StudyJob, sizes_left_out, study_jobs

RESOURCES = Path("resources")
_HUB_ID = re.compile(r"[\w.-]+/[\w.-]+")


@dataclass(frozen=True)
class Job:
    """One Snakemake training job: all folds and seeds of a variant on one cache."""

    dataset: str
    encoder: str
    variant: str
    seeds: tuple[int, ...]
    training: TrainingConfig


@dataclass(frozen=True)
class TuningJob(Job):
    """One Snakemake job of encoder LoRA: all folds and seeds of an encoder variant, on raw samples."""

    tuning: TuningConfig


@dataclass(frozen=True)
class Plan:
    """Everything that a configuration asks for.

    Attributes:
        datasets, encoders: those that experiments use, by name.
        caches: (dataset, encoder) of each cache.
        jobs: one a variant and cache.
        assets: names of the pinned assets that are needed.
        studies: one a derived run (`studies.jobs`).
        variants: table entries of the variants that jobs train, by name.
        tunings: one an encoder variant and cache.
        notes: what studies ask for and no job does, a line each.
        missing: one error for each file or folder that is not there and that no asset provides.
    """

    datasets: dict[str, DatasetConfig]
    encoders: dict[str, EncoderConfig]
    caches: list[tuple[str, str]]
    jobs: list[Job]
    assets: list[str]
    missing: list[DataError] = field(default_factory=list)
    studies: list[StudyJob] = field(default_factory=list)
    variants: dict[str, Variant] = field(default_factory=dict)
    tunings: list[TuningJob] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def variants_of(self, dataset: str, encoder: str) -> list[str]:
        """Return the variants trained on one cache, in the order of the presets."""
        return [job.variant for job in self.jobs if (job.dataset, job.encoder) == (dataset, encoder)]

    def encoder_variants_of(self, dataset: str, encoder: str) -> list[str]:
        """Return the encoder variants tuned on one dataset with one encoder, in the order of their table."""
        return [job.variant for job in self.tunings if (job.dataset, job.encoder) == (dataset, encoder)]

    def require_files(self) -> None:
        """Check that everything is there that a run needs.

        Raises:
            DataError: the first of `missing`.
        """
        if self.missing:
            raise self.missing[0]


def make_plan(config: Config) -> Plan:
    """Check all names and paths of a configuration and return its jobs.

    Raises:
        ConfigError: if a dataset, encoder, kind, asset or variant is unknown, or modalities do not match.
    """
    jobs = [job for experiment in config.experiments for job in _jobs(config, experiment)]
    tunings = [job for experiment in config.experiments for job in _tunings(config, experiment)]
    caches = [(e.dataset, e.encoder) for e in config.experiments]
    datasets = {name: config.datasets[name] for name, _ in caches}
    encoders = {name: config.encoders[name] for _, name in caches}
    assets: set[str] = set()
    missing = []
    paths = {f"datasets.{name}": d.path for name, d in datasets.items() if d.revision is None}
    paths |= {f"encoders.{name}": e.model for name, e in encoders.items() if e.revision is None}
    for place, path in paths.items():
        try:
            assets.update(_asset_of(place, path))
        except DataError as error:
            missing.append(error)
        except OSError as error:  # such as a name that is too long
            missing.append(DataError(f"path cannot be looked at ({error.strerror})", where=place))
    for name, dataset in datasets.items():
        try:
            _check_files(f"datasets.{name}.path", dataset)
        except DataError as error:
            missing.append(error)
        except OSError:
            continue  # said above
    used = {job.variant for job in jobs}
    _keep_names_apart(config)
    own = {name: own_variant(name, variant) for name, variant in config.variants.items()}
    variants = {name: entry for name, entry in {**VARIANTS, **own}.items() if name in used}
    _check_heads(jobs, encoders, variants)
    bases = _bases(config, [*jobs, *tunings])
    studies, notes = study_jobs(config, bases), sizes_left_out(config, bases)
    return Plan(datasets, encoders, caches, jobs, sorted(assets), missing, studies, variants, tunings, notes)


def _jobs(config: Config, experiment: Experiment) -> list[Job]:
    where = f"experiments ({experiment.dataset} x {experiment.encoder})"
    if experiment.dataset not in config.datasets:
        raise unknown_name("dataset", experiment.dataset, config.datasets, where)
    if experiment.encoder not in config.encoders:
        raise unknown_name("encoder", experiment.encoder, config.encoders, where)
    dataset = config.datasets[experiment.dataset]
    place = f"datasets.{experiment.dataset}"
    modality = dataset_kind(dataset.kind, f"{place}.kind").modality_of(dataset, place)
    encoder = config.encoders[experiment.encoder]
    if modality != encoder.modality:
        raise ConfigError(
            "modality does not match",
            where=where,
            expected=f"an encoder of {modality}",
            found=f"{experiment.encoder!r} of {encoder.modality}",
        )
    known = [*VARIANTS, *config.variants]
    wanted = known if experiment.variants == "all" else experiment.variants
    for variant in wanted:
        if variant not in known:
            raise unknown_name("variant", variant, known, f"{where}.variants")
    training = training_of(config, experiment)
    return [
        Job(experiment.dataset, experiment.encoder, variant, tuple(experiment.seeds), training)
        for variant in known
        if variant in wanted
    ]


def _tunings(config: Config, experiment: Experiment) -> list[TuningJob]:
    where = f"experiments ({experiment.dataset} x {experiment.encoder}).encoder_variants"
    wanted = list(ENCODER_VARIANTS) if experiment.encoder_variants == "all" else experiment.encoder_variants
    for variant in wanted:
        if variant not in ENCODER_VARIANTS:
            raise unknown_name("encoder variant", variant, ENCODER_VARIANTS, where)
    training, tuning = training_of(config, experiment), tuning_of(config, experiment)
    place = (experiment.dataset, experiment.encoder)
    return [
        TuningJob(*place, variant, tuple(experiment.seeds), training, tuning)
        for variant in ENCODER_VARIANTS
        if variant in wanted
    ]


def _keep_names_apart(config: Config) -> None:
    """Refuse names of which results, or figures, of two would lie in one place.

    They are those of an own module and an encoder variant, and of caches such as a x b_c and a_b x c.
    """
    caches: dict[str, tuple[str, str]] = {}
    for experiment in config.experiments:
        place = (experiment.dataset, experiment.encoder)
        other = caches.setdefault("_".join(place), place)
        if other != place:
            raise ConfigError(
                "figures of two caches would have the same names",
                where=f"experiments ({' x '.join(place)})",
                found=" x ".join(other),
                remedy="Rename a dataset or an encoder.",
            )
    for name in config.variants:
        if name in ENCODER_VARIANTS:
            raise ConfigError(
                "the name is taken by an encoder variant",
                where=f"variants.{name}",
                remedy="Take another name.",
            )


def _bases(config: Config, jobs: list[Job]) -> list[Base]:
    """Return what studies start from, one an experiment that has jobs."""
    bases = []
    for experiment in config.experiments:
        own = [j for j in jobs if (j.dataset, j.encoder) == (experiment.dataset, experiment.encoder)]
        if own:
            variants, protocol = [j.variant for j in own], protocol_of(config, experiment)
            shape = known_shape(config.encoders[experiment.encoder])
            layers = shape[0] if shape else None
            tuned = tuning_of(config, experiment).applied_to(own[0].training)
            bases.append(Base(experiment, variants, own[0].training, protocol, tuned, layers))
    return bases


def _check_heads(
    jobs: list[Job], encoders: Mapping[str, EncoderConfig], variants: Mapping[str, Variant]
) -> None:
    """Check that the heads of a density can share the layers, where their number is known."""
    for job in jobs:
        shape, entry = known_shape(encoders[job.encoder]), variants.get(job.variant)
        if shape and entry and entry.has_density and not entry.own and "heads" not in entry.options:
            try:
                density_heads(shape[0], job.training.density_heads)
            except ConfigError as error:
                place = f"training.density_heads ({job.dataset} x {job.encoder}, {job.variant})"
                raise ConfigError(str(error), where=place) from None


def _check_files(where: str, dataset: DatasetConfig) -> None:
    """Check that a dataset's folder has the files of its kind; one that is yet to be fetched is left out."""
    folder = Path(dataset.path)
    for file in dataset_kind(dataset.kind).files if folder.exists() else ():
        if not (folder / file).exists():
            near = get_close_matches(file, [path.name for path in folder.iterdir()], n=1)
            raise DataError(
                "a file of the dataset is missing",
                where=where,
                expected=folder / file,
                found=f"the similar {near[0]}" if near else None,
                remedy=f"Put it there, or delete {folder} and {folder}.json to fetch it again."
                if _asset_of(where, dataset.path)
                else "Put it there, or correct the path in the configuration.",
            )


def _asset_of(where: str, path: str) -> list[str]:
    """Return the asset that a path belongs to, or nothing if the path exists by itself."""
    parts = Path(path).parts
    if len(parts) > 1 and parts[0] == str(RESOURCES):
        if parts[1] in ASSETS:
            return [parts[1]]
        if not Path(path).exists():
            raise unknown_name("asset", parts[1], ASSETS, f"{where} ({path})")
    if Path(path).exists():
        return []
    beside = [str(p) for p in Path(path).parent.glob("*")] + [str(RESOURCES / name) for name in ASSETS]
    near = get_close_matches(path, beside, n=1)
    if not near and _HUB_ID.fullmatch(path) and not Path(path).parent.exists():
        raise DataError(
            "path does not exist, and an id of the Hugging Face hub needs a pinned revision",
            where=where,
            found=path,
            remedy=f"Set {where}.revision to a commit, or correct the path.",
        )
    raise DataError(
        "path does not exist",
        where=where,
        expected=f"a file or folder, or {RESOURCES}/ with one of {', '.join(sorted(ASSETS))}",
        found=path,
        remedy=(f"Did you mean {near[0]!r}? " if near else "")
        + "Correct the path in the configuration; it is relative to the folder that snakemake runs in.",
    )
