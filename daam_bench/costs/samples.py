"""Whether a table of samples is the one that the configuration asks for now."""

import os
from pathlib import Path

import pandas as pd

from daam_bench.config import DatasetConfig
from daam_bench.errors import DaamBenchError, DataError

_COMPARED = ("sample_id", "label", "group", "split", "text", "content", "file")


def choose_if_here(name: str, config: DatasetConfig) -> pd.DataFrame:
    """Return the samples that a configuration asks for, as `choose_samples` does; nothing is downloaded.

    Raises:
        DataError: if the dataset is not here, or not readable.
        ConfigError: if the settings do not fit the kind.
    """
    from daam_bench.datasets.listing import choose_samples

    if not Path(config.path).exists() and not (config.revision and is_prepared(config)):
        raise DataError("the dataset is not here yet", where=config.path)
    return choose_samples(name, config)


def is_prepared(config: DatasetConfig) -> bool:
    """Return whether a dataset of the hub lies, at its commit, in the cache that `datasets` keeps."""
    from huggingface_hub import constants

    # As datasets itself finds it, whose import takes seconds.
    cache = Path(os.environ.get("HF_DATASETS_CACHE") or Path(constants.HF_HOME, "datasets"))
    folder = cache / config.path.replace("/", "___")
    return any(folder.glob(f"{config.subset or '*'}/*/{config.revision}/dataset_info.json"))


def listed_samples(
    name: str, config: DatasetConfig, results: Path, chosen: pd.DataFrame | None = None
) -> tuple[pd.DataFrame | None, str]:
    """Return the table of samples below the results if a configuration asks for it, and else why not.

    Texts are compared, images and recordings only by their paths: reading all of them would take long.

    Args:
        name: of the dataset.
        config: its settings.
        results: the table is `samples/<name>.parquet` below.
        chosen: what `choose_if_here` returns, if it was called already.
    """
    try:
        listed = pd.read_parquet(results / "samples" / f"{name}.parquet")
    except (OSError, ValueError):
        return None, "its samples are not listed"
    try:
        chosen = choose_if_here(name, config) if chosen is None else chosen
    except (DaamBenchError, OSError):
        return None, "whether its samples are those of the configuration cannot be told without the data"
    if _are_same(listed, chosen, config.clip_seconds):
        return listed, ""
    counts = f"{len(listed):,}, now {len(chosen):,}" if len(listed) != len(chosen) else "of equal number"
    return None, f"it has other samples ({counts})" if config.clip_seconds is None else "it has other clips"


def _are_same(listed: pd.DataFrame, chosen: pd.DataFrame, clip_seconds: float | None) -> bool:
    columns = [name for name in _COMPARED if name in chosen]
    if not set(columns) <= set(listed.columns) or ("stop_second" in listed) != (clip_seconds is not None):
        return False
    if clip_seconds is not None:
        # Each recording has a first clip, which begins at 0.
        listed = listed[listed["start_second"] == 0]
        if not (listed["stop_second"] == clip_seconds).all():
            return False
        listed = listed.assign(sample_id=[name.removesuffix("#0") for name in listed["sample_id"]])
    return all(list(listed[name]) == list(chosen[name]) for name in columns)
