"""The overlay of a user's own dataset: what it says, what it inherits, and its text."""

import math
import re
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

import yaml

from daam_bench.config import PROTOCOLS, Config, TrainingConfig
from daam_bench.config.merge import load_merged
from daam_bench.errors import ConfigError

# The encoder that a run fetches by itself, for each modality.
ENCODERS = {"text": "minilm-l6", "speech": "whisper-tiny-en", "vision": "dinov2-small-shaped"}


# Steps of training that few samples should come to; the embedded default makes as many.
_STEPS, _MOST_EPOCHS = 150, 100


def make_overlay(
    name: str,
    settings: Mapping[str, Any],
    model: Mapping[str, str] | None,
    training: Mapping[str, Any],
    protocol: Mapping[str, Any],
    notes: list[str],
) -> dict[str, Any]:
    """Return title, notes, dataset, encoder and experiment, ready for `snakemake --configfile`.

    Args:
        name: of the dataset.
        settings: of the dataset.
        model: encoder, from `declare_model`; None for the one that a run fetches.
        training: settings of the experiment's training.
        protocol: switches.
        notes: what a reader of the report must know first.
    """
    modality = settings["modality"]
    model = model or {"model": f"resources/{ENCODERS[modality]}"}
    encoder = re.sub(r"[^a-z0-9_.-]", "-", Path(model["model"]).name.lower()).lstrip("_.-") or "encoder"
    experiment: dict[str, Any] = {"dataset": name, "encoder": encoder}
    if training:
        experiment["training"] = dict(training)
    overlay = {
        "title": f"{name} with {encoder}",
        "notes": notes,
        "datasets": {name: dict(settings)},
        "encoders": {encoder: {"modality": modality, **model}},
        "experiments": [experiment],
    }
    return overlay | ({"protocol": dict(protocol)} if protocol else {})


def declare_model(model: str, revision: str | None) -> dict[str, str]:
    """Return what an encoder's block says of its model: a folder, or a hub id at a commit.

    Raises:
        ConfigError: if there is no such folder, and no commit says that it is a hub id.
    """
    if revision is not None:
        return {"model": model, "revision": revision}
    if not Path(model).is_dir():
        raise ConfigError(
            "no such folder",
            where=f"--model {model}",
            remedy="For a hub id say --model-revision with a commit.",
        )
    return {"model": model}


def base_config(base: Path) -> Config | None:
    """Return the configuration that the overlay will be laid over; None if it is not there."""
    return load_merged(base) if base.is_file() else None


def choose_epochs(training: TrainingConfig, samples: int) -> int | None:
    """Return the epochs after which few samples have been trained on often enough; None if they are."""
    epochs = min(_MOST_EPOCHS, math.ceil(_STEPS / math.ceil(samples / training.batch_size)))
    return epochs if epochs > training.epochs else None


def inherited(config: Config, base: Path, own: Collection[str]) -> str | None:
    """Say which training settings of the base differ from the usual ones; None if none does.

    Args:
        config: the base.
        base: its file.
        own: settings that the overlay has itself.
    """
    usual = TrainingConfig()
    weight_decay, published = config.protocol.weight_decay, PROTOCOLS[config.protocol.name]["weight_decay"]
    keys = [key for key in TrainingConfig.model_fields if key not in own]
    pairs = {key: (getattr(config.training, key), getattr(usual, key)) for key in keys}
    pairs |= {"weight_decay": (weight_decay, published)}
    if "learning_rate" in pairs:
        pairs["learning_rate"] = (config.training.rate, usual.rate)
    changed = [
        f"{key.replace('_', ' ')} {found:g} instead of {expected:g}"
        if isinstance(found, int | float) and isinstance(expected, int | float)
        else f"{key.replace('_', ' ')} {found} instead of {expected}"
        for key, (found, expected) in pairs.items()
        if found != expected
    ]
    return f"Settings of {base}, not chosen for this dataset: {', '.join(changed)}." if changed else None


def as_yaml(overlay: Mapping[str, Any], said: Mapping[str, str], file: Path) -> str:
    """Return the overlay as the text of a file.

    Args:
        overlay: from `make_overlay`.
        said: what was chosen, by heading; it stands above as comments.
        file: where it will lie.
    """
    head = [f"snakemake --configfile {file}", *(f"{key}: {value}" for key, value in said.items())]
    tail = [
        "Laid over config.yaml: its training settings and studies hold unless set here, for example:",
        "training: {epochs: 35, decoder_channels: 512}   the paper's size",
        "studies: []                                     no layer ablation",
        "and in the experiment variants: [mha, daam_v1], seeds: [0], for a first look",
    ]
    text = yaml.safe_dump(dict(overlay), sort_keys=False, allow_unicode=True, width=110)
    comments = ["".join(f"# {_one_line(line)}\n" for line in lines) for lines in (head, tail)]
    return f"{comments[0]}\n{text}\n{comments[1]}"


def _one_line(text: str) -> str:
    return "".join(c if c.isprintable() else " " for c in text)
