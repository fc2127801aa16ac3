"""What probes found, kept beside the results: each with the settings that it holds for."""

import hashlib
import json
import math
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from daam_bench.config import Config, DatasetConfig
from daam_bench.costs.jobs import PlannedJob
from daam_bench.costs.prediction import StepCost
from daam_bench.plan import Plan
from daam_bench.records import write_atomically

PROBE = "probe.json"
# Settings of a dataset that change which samples there are, or what they are for, but not what one costs.
_OF_THE_WHOLE = {"folds", "accept_leakage", "metric", "loss", "samples_per_group", "sampling_seed"}
# Settings of training that change the time of a step.
_OF_A_STEP = ("batch_size", "decoder_channels", "density_heads", "precision", "loss")
_NOT_OF_A_STEP = ("name", "short_clips", "weight_decay", "select")

Facts = Mapping[str, Any]


class Probes:
    """Costs by what they are of; a probe of other settings is not found, and not lost."""

    def __init__(self, results: Path) -> None:
        self._path = results / PROBE
        try:
            found = json.loads(self._path.read_bytes())
            self._found = {str(key): dict(entry) for key, entry in found["probes"].items()}
        except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
            self._found = {}

    def rate(self, facts: Facts) -> float | None:
        """Return the samples that an encoder takes in a second; None if it was not probed."""
        found = self._found.get(_key(facts), {}).get("samples_per_second")
        return float(found) if isinstance(found, int | float) and 0 < found < math.inf else None

    def step(self, facts: Facts) -> StepCost | None:
        """Return what a step of a variant costs; None if it was not probed."""
        try:
            return StepCost(**self._found[_key(facts)]["seconds"])
        except (KeyError, TypeError):
            return None

    def problem(self, facts: Facts) -> str:
        """Return why a probe could not be made; empty if it was, or was not tried."""
        return str(self._found.get(_key(facts), {}).get("problem", ""))

    def keep(self, facts: Facts, found: float | StepCost | str) -> None:
        """Keep a rate, the cost of a step, or why there is none."""
        entry: dict[str, Any] = {"problem": found}
        if isinstance(found, StepCost):
            entry = {"seconds": asdict(found)}
        elif not isinstance(found, str):
            entry = {"samples_per_second": found}
        self._found[_key(facts)] = {"of": dict(facts), **entry}

    def write(self) -> None:
        """Write all that is known."""
        write_atomically(self._path, (json.dumps({"probes": self._found}, indent=1) + "\n").encode())


def _key(facts: Facts) -> str:
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()[:16]


def facts_of_rate(config: Config, plan: Plan, place: tuple[str, str]) -> dict[str, Any]:
    """Return what the rate of an extraction depends on, this machine left out."""
    dataset, encoder = plan.datasets[place[0]], plan.encoders[place[1]]
    return {
        "encoder": encoder.model_dump(mode="json"),
        "dataset": DatasetConfig.model_dump(dataset, mode="json", exclude=_OF_THE_WHOLE),
        "short_clips": config.protocol.short_clips if encoder.modality == "speech" else "masked",
    }


def facts_of_step(
    job: PlannedJob, shape: tuple[int, int], classes: int, ordinary: Mapping[str, Any]
) -> dict[str, Any]:
    """Return what a step of training a variant depends on, this machine left out.

    Args:
        job: the variant, its settings and the number of its layers.
        shape: (layers, features) of the cache.
        classes: number of classes.
        ordinary: protocol of the ordinary runs; a derived run is taken to cost as much a step as under it.
    """
    training = job.training.model_dump(mode="json")
    return {
        "variant": job.variant,
        "own_sha256": job.spec["own_sha256"],
        "shape": [job.layers_of(shape[0]), shape[1]],
        "classes": classes,
        "training": {name: training[name] for name in _OF_A_STEP},
        "protocol": {name: value for name, value in ordinary.items() if name not in _NOT_OF_A_STEP},
    }
