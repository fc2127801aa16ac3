"""From the studies of a configuration to training jobs. What equals an ordinary run is no job: it is read.

The list of jobs follows from the configuration alone: which layers an ablation keeps is known only when it
runs, how many and by what rule is known here.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from daam_bench.adapters.presets import ENCODER_VARIANTS
from daam_bench.config import (
    Config,
    Experiment,
    LayerAblationStudy,
    Protocol,
    ProtocolStudy,
    Study,
    SwitchStudy,
    TrainingConfig,
    protocol_of,
    training_of,
)
from daam_bench.errors import ConfigError, unknown_name
from daam_bench.heads.presets import find_variant
from daam_bench.studies.names import Pick, StudyName
from daam_bench.studies.switches import SWITCHES


@dataclass(frozen=True)
class StudyJob:
    """One derived training job: all folds and seeds of a variant on one cache under changed settings.

    Attributes:
        name: what is changed; the folder below results/studies/<dataset>/<encoder>/.
        training, protocol: what is in force: the learning rate is the protocol's (D4), D10 that of the cache.
        pick: the layers that are trained on, chosen from the ordinary run of the variant; None for all.
    """

    dataset: str
    encoder: str
    name: StudyName
    variant: str
    seeds: tuple[int, ...]
    training: TrainingConfig
    protocol: Protocol
    pick: Pick | None = None

    @property
    def place(self) -> str:
        """Folder of the job's records below results/studies."""
        return f"{self.dataset}/{self.encoder}/{self.name}/{self.variant}"


@dataclass(frozen=True)
class Base:
    """What the jobs of a study start from: an experiment with its checked variants and settings.

    Attributes:
        tuned: `training` as encoder variants have it, which train for epochs of their own.
        layers: number of layers of the encoder; None if it is not known before it is fetched.
    """

    experiment: Experiment
    variants: Sequence[str]
    training: TrainingConfig
    protocol: Protocol
    tuned: TrainingConfig
    layers: int | None = None


def study_jobs(config: Config, bases: Sequence[Base]) -> list[StudyJob]:
    """Return the jobs of all studies, each once.

    Args:
        config: the whole configuration.
        bases: one an experiment.

    Raises:
        ConfigError: if a study names an experiment, variant, seed or switch that there is not.
    """
    jobs: dict[str, StudyJob] = {}
    for number, study in enumerate(config.studies):
        where = f"studies.{number}"
        for base in _bases_of(study, bases, where):
            for job in _jobs_of(config, study, base, where):
                known = jobs.setdefault(job.place, job)
                if known != job:
                    raise ConfigError(
                        "two studies ask for the same runs with other seeds", where=where, found=job.place
                    )
    return list(jobs.values())


def sizes_left_out(config: Config, bases: Sequence[Base]) -> list[str]:
    """Return a line for each layer ablation that has sizes of which there are no jobs, and why not.

    Args:
        config: the whole configuration.
        bases: one an experiment.
    """
    lines = [
        f"layer ablation of {' x '.join(_pair(base))}: no runs on {' or '.join(map(str, left))} layers, "
        f"as the encoder has {base.layers}"
        for number, study in enumerate(config.studies)
        if study.kind == "layer_ablation"
        for base in _bases_of(study, bases, f"studies.{number}")
        if (left := [size for size in study.sizes if size not in _sizes_of(study, base)])
    ]
    return list(dict.fromkeys(lines))


def _sizes_of(study: LayerAblationStudy, base: Base) -> list[int]:
    """Return the numbers of layers to keep that leave layers out; all of them if the depth is not known."""
    return [size for size in study.sizes if base.layers is None or size < base.layers]


def _bases_of(study: Study, bases: Sequence[Base], where: str) -> list[Base]:
    wanted = (study.dataset, study.encoder)
    found = [base for base in bases if all(w in (None, h) for w, h in zip(wanted, _pair(base), strict=True))]
    if not found:
        pairs = [" x ".join(_pair(base)) for base in bases]
        asked = " x ".join(name or "any" for name in wanted)
        raise unknown_name("experiment", asked, pairs, where)
    return found


def _pair(base: Base) -> tuple[str, str]:
    return base.experiment.dataset, base.experiment.encoder


def _jobs_of(config: Config, study: Study, base: Base, where: str) -> Iterator[StudyJob]:
    seeds = tuple(base.experiment.seeds if study.seeds is None else study.seeds)
    if not set(seeds) <= set(base.experiment.seeds):
        raise ConfigError(
            "a study needs seeds that its experiment has: results are compared seed by seed",
            where=f"{where}.seeds",
            expected=base.experiment.seeds,
            found=list(seeds),
        )
    changes = {
        "protocols": _protocol_changes,
        "switches": _switch_changes,
        "layer_ablation": _layer_changes,
    }[study.kind]
    for variant in _variants_of(config, study, base, where):
        if study.kind == "layer_ablation" and not _has_density(config, variant):
            raise ConfigError("this variant has no density to choose layers by", where=where, found=variant)
        for name, protocol, pick in changes(study, base, variant, where):  # type: ignore[operator]
            settings = (config, base.experiment, protocol)
            training, in_force = training_of(*settings), protocol_of(*settings)
            yield StudyJob(*_pair(base), name, variant, seeds, training, in_force, pick)


def _has_density(config: Config, variant: str) -> bool:
    own = config.variants.get(variant)
    if own is not None:
        return own.has_density
    return variant not in ENCODER_VARIANTS and find_variant(variant).has_density


def _variants_of(config: Config, study: Study, base: Base, where: str) -> list[str]:
    """Return the variants of a study; one for every experiment takes those that each experiment has."""
    if study.variants == "all":
        return list(base.variants)
    for variant in study.variants:
        if variant not in ENCODER_VARIANTS and variant not in config.variants:
            find_variant(variant, f"{where}.variants")
        if study.dataset is not None and variant not in base.variants:
            raise unknown_name("variant of the experiment", variant, base.variants, f"{where}.variants")
    return [variant for variant in base.variants if variant in study.variants]


Change = tuple[StudyName, Protocol, Pick | None]


def _protocol_changes(study: ProtocolStudy, base: Base, _variant: str, _where: str) -> Iterator[Change]:
    for name in study.protocols:
        if name != base.protocol.name:
            yield StudyName("protocol", name), Protocol.model_validate(name), None


def _switch_changes(study: SwitchStudy, base: Base, variant: str, where: str) -> Iterator[Change]:
    wanted = list(SWITCHES) if study.switches == "all" else study.switches
    for field in wanted:
        if field not in SWITCHES:
            raise unknown_name("switch", field, SWITCHES, f"{where}.switches")
        if SWITCHES[field].touches(variant, base.tuned if variant in ENCODER_VARIANTS else base.training):
            for value in SWITCHES[field].others(base.protocol):
                protocol = Protocol.model_validate(base.protocol.model_dump() | {field: value})
                yield StudyName("switch", field, str(value)), protocol, None


def _layer_changes(study: LayerAblationStudy, base: Base, _variant: str, _where: str) -> Iterator[Change]:
    for size in _sizes_of(study, base):
        picks = [Pick("top", size, study.blocks), Pick("bottom", size, study.blocks)]
        draws = range(1, study.random_draws + 1)
        for pick in [*picks, *(Pick("random", size, study.blocks, draw) for draw in draws)]:
            yield StudyName("layers", pick.name), base.protocol, pick
