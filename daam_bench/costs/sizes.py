"""Sizes known before anything runs: samples, groups and classes of datasets, depth and width of encoders."""

import json
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from daam_bench.config import DatasetConfig, EncoderConfig, FoldRule
from daam_bench.costs.samples import choose_if_here, listed_samples
from daam_bench.datasets.base import DatasetKind
from daam_bench.datasets.registry import dataset_kind
from daam_bench.errors import DaamBenchError

# Layers and features of models that a configuration names before they are fetched, by the end of their path.
_KNOWN_SHAPES = {
    "wavlm-large": (24, 1024),
    "Llama-2-13b-hf": (40, 5120),
    "beit-large": (24, 1024),
    "minilm-l6": (6, 384),
    "whisper-tiny-en": (4, 384),
    "dinov2-small-shaped": (12, 384),
}
_DEPTHS, _WIDTHS = ("encoder_layers", "num_hidden_layers"), ("d_model", "hidden_size")


@dataclass(frozen=True)
class DatasetSize:
    """What is known of a dataset; None where it is not known yet.

    Attributes:
        samples, groups, classes: numbers.
        source: where they come from, or why they are not known.
        splits: numbers of samples of the dataset's own training and validation splits.
    """

    samples: int | None
    groups: int | None
    classes: int | None
    source: str
    splits: tuple[int, int] | None = None


def dataset_size(name: str, config: DatasetConfig, results: Path) -> DatasetSize:
    """Return a dataset's size from its kind's published counts, or from its files as they are now.

    Clips are counted in the table of samples, if it was made of these files with these settings.
    """
    kind = dataset_kind(config.kind, f"datasets.{name}.kind")
    if config.clip_seconds is None and (kind.counts or kind.class_counts):
        return _published(kind, config)
    try:
        chosen = choose_if_here(name, config)
    except (DaamBenchError, OSError) as error:
        return DatasetSize(None, len(kind.groups) or None, len(kind.classes) or None, str(error))
    counted: pd.DataFrame | None = chosen
    if config.clip_seconds is not None:
        counted, _ = listed_samples(name, config, results, chosen)
    groups, classes = chosen["group"].nunique(), len(chosen.attrs["class_names"])
    if counted is None:
        return DatasetSize(None, groups, classes, "clips are counted when the dataset is listed")
    splits = [int((counted["split"] == split).sum()) for split in ("train", "validation")]
    own = (splits[0], splits[1]) if all(splits) else None
    return DatasetSize(len(counted), groups, classes, config.path, own)


def _published(kind: DatasetKind, config: DatasetConfig) -> DatasetSize:
    classes, source = len(kind.classes), "published counts"
    if kind.counts:
        sizes = pd.Series(dict(kind.counts))
        return DatasetSize(_capped(sizes, config), len(sizes), classes, source)
    splits = pd.Series({split: sum(counts.values()) for split, counts in kind.class_counts.items()})
    groups = len(kind.groups) or 1
    if config.samples_per_group is not None and kind.groups:
        return DatasetSize(None, groups, classes, source)
    capped = {str(name): _capped(splits.loc[[name]], config) for name in splits.index}
    own = (capped["train"], capped["validation"]) if {"train", "validation"} <= set(capped) else None
    return DatasetSize(sum(capped.values()), groups, classes, source, own)


def _capped(sizes: "pd.Series[int]", config: DatasetConfig) -> int:
    most = config.samples_per_group
    return int((sizes if most is None else sizes.clip(upper=most)).sum())


def folds_of(rule: FoldRule, groups: int | None) -> int | None:
    """Return the number of folds of a rule; None if it depends on groups that are not known."""
    if rule.rule == "split_column":
        return 1
    return groups if rule.rule == "leave_one_group_out" else rule.count


def encoder_shape(config: EncoderConfig) -> tuple[int, int] | None:
    """Return (layers, features) of an encoder from its config.json or the table of known models."""
    file = Path(config.model) / "config.json"
    if not file.is_file() and config.revision is not None:
        from huggingface_hub import try_to_load_from_cache

        cached = try_to_load_from_cache(config.model, "config.json", revision=config.revision)
        file = Path(cached) if isinstance(cached, str) else file
    if file.is_file():
        try:
            facts = json.loads(file.read_text(encoding="utf-8"))
        except ValueError:
            return None
        depth, width = (next((facts[n] for n in names if n in facts), None) for names in (_DEPTHS, _WIDTHS))
        return (int(depth), int(width)) if depth and width else None
    return _KNOWN_SHAPES.get(Path(config.model).name)
