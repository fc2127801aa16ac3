"""Sizes known before anything runs: samples, groups and classes of datasets, depth and width of encoders."""

from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from daam_bench.cache.manifest import read_manifest
from daam_bench.config import DatasetConfig, EncoderConfig, FoldRule
from daam_bench.costs.samples import choose_if_here, listed_samples
from daam_bench.datasets.base import DatasetKind
from daam_bench.datasets.registry import dataset_kind
from daam_bench.encoders.shapes import known_shape, shape_in
from daam_bench.errors import CacheError, DaamBenchError, EncoderError, MachineError


@dataclass(frozen=True)
class DatasetSize:
    """What is known of a dataset; None where it is not known yet.

    Attributes:
        samples, groups, classes: numbers.
        source: where they come from, or why they are not known.
        splits: numbers of samples of the dataset's own training and validation splits.
        problem: why its files, which are here, cannot be used as the configuration says.
    """

    samples: int | None
    groups: int | None
    classes: int | None
    source: str
    splits: tuple[int, int] | None = None
    problem: str = ""


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
        problem = str(error) if Path(config.path).exists() else ""
        groups, classes = len(kind.groups) or None, len(kind.classes) or None
        return DatasetSize(None, groups, classes, str(error), problem=problem)
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


def encoder_shape(config: EncoderConfig, manifest: Path) -> tuple[tuple[int, int] | None, str]:
    """Return (layers, features) of an encoder, or None and why they are not known; nothing is downloaded.

    Args:
        config: of the encoder.
        manifest: of a cache that may be there; it is asked where config.json has none of the usual names.
    """
    file = Path(config.model) / "config.json"
    if not file.is_file() and config.revision is not None:
        from huggingface_hub import try_to_load_from_cache

        cached = try_to_load_from_cache(config.model, "config.json", revision=config.revision)
        file = Path(cached) if isinstance(cached, str) else file
    shape, why = None, "its config.json is not here yet"
    if file.is_file():
        try:
            shape, why = shape_in(file), ""
        except (OSError, ValueError, RecursionError):
            why = "its config.json cannot be read"
    else:
        shape = known_shape(config)
    shape = shape or _cached_shape(config, manifest)
    if shape is None and not why:
        shape, why = _opened_shape(config)
    return shape, "" if shape else why


def _cached_shape(config: EncoderConfig, manifest: Path) -> tuple[int, int] | None:
    """Return what the cache of an encoder has."""
    try:
        facts = read_manifest(manifest)
        made_by = facts["spec"]["encoder"]
        _, layers, features = facts["shape"]
    except (CacheError, MachineError, KeyError, TypeError, ValueError):
        return None
    same = (made_by.get("model"), made_by.get("revision")) == (config.model, config.revision)
    return (layers, features) if same else None


def _opened_shape(config: EncoderConfig) -> tuple[tuple[int, int] | None, str]:
    """Return what transformers makes of a configuration, which takes seconds to import, or why it cannot."""
    from transformers import AutoConfig

    from daam_bench.encoders.loading import open_pretrained

    try:
        opened = open_pretrained(AutoConfig.from_pretrained, config, local_files_only=True)
    except EncoderError as error:
        return None, error.what
    depth = getattr(opened, "encoder_layers", getattr(opened, "num_hidden_layers", None))
    width = getattr(opened, "hidden_size", None)
    if isinstance(depth, int) and isinstance(width, int):
        return (depth, width), ""
    return None, f"its config.json, of a {opened.model_type}, does not say how deep or how wide it is"
