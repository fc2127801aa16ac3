"""From YAML to the typed configuration; every problem is named with its key and the nearest valid one."""

from reprlib import Repr
from types import UnionType
from typing import Annotated, Any, get_args, get_origin

from pydantic import BaseModel, ValidationError

from daam_bench.config.plain import require_few
from daam_bench.config.protocol import PROTOCOLS, Protocol, published_rate
from daam_bench.config.training import TrainingConfig
from daam_bench.config.tuning import TuningConfig
from daam_bench.config.whole import Config, Experiment
from daam_bench.errors import ConfigError, unknown_name

# What was found may be long: nothing is written out whole.
_SHORT = Repr()
_SHORT.maxlevel, _SHORT.maxstring = 2, 80


def parse_config(data: object, where: str = "config.yaml") -> Config:
    """Return the typed configuration of plain data.

    Raises:
        ConfigError: naming each key that is unknown, missing or out of range, and the nearest valid key.
    """
    require_few(data, where)
    try:
        return Config.model_validate(data)
    except ValidationError as error:
        raise _explain(error, where) from None


def protocol_of(config: Config, experiment: Experiment, protocol: Protocol | None = None) -> Protocol:
    """Return a protocol, by default the configured one, as it is in force in an experiment.

    D7 follows from the dataset. D10 is that of the cache, which is extracted once, under the configured
    protocol; it concerns speech, and elsewhere has the value of the protocol's name.
    """
    given = config.protocol if protocol is None else protocol
    speech = config.encoders[experiment.encoder].modality == "speech"
    clips = config.protocol.short_clips if speech else PROTOCOLS[given.name]["short_clips"]
    settled = given.for_dataset(config.datasets[experiment.dataset].kind)
    return settled.model_copy(update={"short_clips": clips})


def training_of(config: Config, experiment: Experiment, protocol: Protocol | None = None) -> TrainingConfig:
    """Return the training settings of an experiment: its own over its dataset's over the common ones.

    The learning rate is, where none of them says one, that of a protocol (D4), by default the configured one.
    """
    dataset, encoder = config.datasets[experiment.dataset], config.encoders[experiment.encoder]
    own = {key: value for key in ("loss", "metric") if (value := getattr(dataset, key)) is not None}
    merged = config.training.model_dump() | own | experiment.training
    if merged.get("learning_rate") is None:
        name = (config.protocol if protocol is None else protocol).name
        merged |= {"learning_rate": published_rate(name, dataset.kind, encoder.model)}
    try:
        return TrainingConfig.model_validate(merged)
    except ValidationError as error:
        place = f"experiments ({experiment.dataset} x {experiment.encoder}).training"
        raise _explain(error, place, TrainingConfig) from None


def tuning_of(config: Config, experiment: Experiment) -> TuningConfig:
    """Return the settings of encoder LoRA in an experiment: its own over the common ones."""
    try:
        return TuningConfig.model_validate(config.tuning.model_dump() | experiment.tuning)
    except ValidationError as error:
        place = f"experiments ({experiment.dataset} x {experiment.encoder}).tuning"
        raise _explain(error, place, TuningConfig) from None


def _explain(error: ValidationError, where: str, model: type[BaseModel] = Config) -> ConfigError:
    problems = []
    for item in error.errors():
        place = ".".join(str(part) for part in item["loc"]) or "top level"
        if item["type"] == "extra_forbidden":
            siblings = _keys_at(model, item["loc"][:-1])
            problems.append(str(unknown_name("key", str(item["loc"][-1]), siblings, place)))
        else:
            whole = item["type"] == "value_error" and isinstance(item["input"], dict)  # it says which part
            found = "" if whole or item["type"] == "missing" else f" (found {_shown(item['input'])})"
            problems.append(f"{place}: {item['msg']}{found}")
    return ConfigError("is not valid:\n  " + "\n  ".join(problems), where=where)


def _shown(value: object) -> str:
    try:
        return _SHORT.repr(value)
    except ValueError:  # Python writes no number of thousands of digits
        return "a number of too many digits"


def _keys_at(model: Any, path: tuple[int | str, ...]) -> list[str]:
    """Return the field names that are valid at a place of the configuration."""
    for part in path:
        if isinstance(model, type) and issubclass(model, BaseModel):
            model = model.model_fields[str(part)].annotation
        elif part in (kinds := {k: m for m in _members(model) for k in [m.model_fields["kind"].default]}):
            model = kinds[str(part)]
        else:  # a mapping or list: go on with what it holds
            model = get_args(model)[-1]
    return list(model.model_fields) if isinstance(model, type) and issubclass(model, BaseModel) else []


def _members(model: Any) -> list[type[BaseModel]]:
    """Return the sections of a union that `kind` tells apart; none for anything else."""
    union = get_args(model)[0] if get_origin(model) is Annotated else model
    found = get_args(union) if isinstance(union, UnionType) else ()
    return [member for member in found if isinstance(member, type) and issubclass(member, BaseModel)]
