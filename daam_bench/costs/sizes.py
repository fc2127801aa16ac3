"""Sizes known before anything runs: samples, groups and classes of datasets, depth and width of encoders."""

import json
from dataclasses import dataclass
from pathlib import Path
from pkgutil import resolve_name

import pandas as pd

from daam_bench.config import DatasetConfig, EncoderConfig, FoldRule
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
    """

    samples: int | None
    groups: int | None
    classes: int | None
    source: str


def dataset_size(name: str, config: DatasetConfig, results: Path) -> DatasetSize:
    """Return a dataset's size from its kind's published counts, its files, or its table of samples."""
    kind = dataset_kind(config.kind, f"datasets.{name}.kind")
    if config.clip_seconds is None and (kind.counts or kind.class_counts):
        return _published(kind, config)
    listed = results / "samples" / f"{name}.parquet"
    if listed.exists():
        frame = pd.read_parquet(listed, columns=["label", "group"])
        return DatasetSize(len(frame), frame["group"].nunique(), frame["label"].nunique(), str(listed))
    try:
        frame = read_frame(config)
    except (DaamBenchError, OSError) as error:
        return DatasetSize(None, len(kind.groups) or None, len(kind.classes) or None, str(error))
    labels = frame["label"].astype(str).nunique()
    classes = len(kind.classes) or len(set((config.labels or {}).values())) or labels
    if config.clip_seconds is not None:
        why = "clips are counted when the dataset is listed"
        return DatasetSize(None, frame["group"].nunique(), classes, why)
    if config.labels is not None:
        frame = frame[frame["label"].astype(str).isin(list(config.labels))]
    sizes = frame.groupby(["group", "split"]).size()
    return DatasetSize(int(_capped(sizes, config)), frame["group"].nunique(), classes, config.path)


def read_frame(config: DatasetConfig) -> pd.DataFrame:
    """Return the rows of a dataset as its kind reads them, contents unread.

    Raises:
        DataError: if the files are not there or not readable.
        ConfigError: if the settings do not fit the kind.
    """
    frame: pd.DataFrame = resolve_name(dataset_kind(config.kind).reader)(config)
    return frame


def _published(kind: DatasetKind, config: DatasetConfig) -> DatasetSize:
    if kind.counts:
        sizes = pd.Series(dict(kind.counts))
        return DatasetSize(_capped(sizes, config), len(sizes), len(kind.classes), "published counts")
    splits = pd.Series({split: sum(counts.values()) for split, counts in kind.class_counts.items()})
    groups = len(kind.groups) or 1
    known = config.samples_per_group is None or not kind.groups
    return DatasetSize(
        _capped(splits, config) if known else None, groups, len(kind.classes), "published counts"
    )


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
