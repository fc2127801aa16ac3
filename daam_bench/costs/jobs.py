"""Every job that a plan runs on one cache: baselines, variants, studies, encoder LoRA."""

from dataclasses import dataclass, field
from typing import Any, Literal

from daam_bench.adapters.presets import ENCODER_VARIANTS
from daam_bench.config import Config, Protocol, TrainingConfig
from daam_bench.plan import Plan
from daam_bench.specs import training_spec, tuning_spec
from daam_bench.training.names import BASELINES

Kind = Literal["variants", "baselines", "studies", "encoder LoRA"]
KINDS: tuple[Kind, ...] = ("variants", "baselines", "studies", "encoder LoRA")


@dataclass(frozen=True)
class PlannedJob:
    """All folds and seeds of one variant, one baseline, one derived run or one encoder variant.

    Attributes:
        kind: derived runs are studies, whatever they train.
        variant: its name.
        folder: of its records, below the results.
        seeds: of each fold.
        spec: settings as records have them, without seeds and layers.
        layers: number of layers that it is trained on; None for all.
        predictable: whether it trains a variant on cached layers, as a probe does.
    """

    kind: Kind
    variant: str
    folder: str
    seeds: tuple[int, ...]
    spec: dict[str, Any] = field(repr=False)
    layers: int | None = None
    predictable: bool = False

    @property
    def training(self) -> TrainingConfig:
        """How its replicas are trained."""
        training = TrainingConfig.model_validate(self.spec["training"])
        if self.layers and training.density_heads and self.layers % training.density_heads:
            # As training does: heads that cannot share these layers give way to the usual number.
            return training.model_copy(update={"density_heads": None})
        return training

    def layers_of(self, depth: int) -> int:
        """Return how many layers of a cache of so many it is trained on."""
        return min(self.layers or depth, depth)

    @property
    def protocol(self) -> Protocol:
        """The switches in force."""
        return Protocol.model_validate(self.spec["protocol"])


def planned_jobs(config: Config, plan: Plan, place: tuple[str, str]) -> list[PlannedJob]:
    """Return the jobs of one cache (dataset, encoder), in the order in which people name them."""
    below = f"runs/{'/'.join(place)}"
    jobs = [
        PlannedJob("variants", name, f"{below}/{name}", *_given(config, plan, place, name), predictable=True)
        for name in plan.variants_of(*place)
    ]
    jobs += [
        PlannedJob("baselines", name, f"{below}/{name}", *_given(config, plan, place, name))
        for name in BASELINES
    ]
    for study in plan.studies:
        if (study.dataset, study.encoder) == place:
            _, spec = _given(config, plan, place, study.variant)
            spec |= {"protocol": study.protocol.model_dump(mode="json")}
            layers = study.pick.size if study.pick else None
            folder, cached = f"studies/{study.place}", study.variant not in ENCODER_VARIANTS
            jobs.append(PlannedJob("studies", study.variant, folder, study.seeds, spec, layers, cached))
    jobs += [
        PlannedJob("encoder LoRA", name, f"{below}/{name}", *_given(config, plan, place, name))
        for name in plan.encoder_variants_of(*place)
    ]
    return jobs


def _given(
    config: Config, plan: Plan, place: tuple[str, str], variant: str
) -> tuple[tuple[int, ...], dict[str, Any]]:
    """Return seeds and other settings of an ordinary job."""
    make = tuning_spec if variant in ENCODER_VARIANTS else training_spec
    spec = make(config, plan, *place, variant)
    return tuple(spec.pop("seeds")), spec
