"""Importance Factor and layer contribution (paper section 3.4; method.md section 3)."""

import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Literal
from zipfile import BadZipFile

import numpy as np
import numpy.typing as npt

from daam_bench.errors import RecordError
from daam_bench.records import RunRecord

Map = npt.NDArray[np.floating]


def read_density(
    folder: Path, record: RunRecord, samples: Literal["validation", "training"] = "validation"
) -> Map:
    """Return the density of one replica, [layer, feature], mean over its fold's samples of a split.

    Raises:
        RecordError: if the file is missing or has no such map.
    """
    path = folder / f"{record.stem}.density.npz"
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as arrays:
            found: Map = arrays["density" if samples == "validation" else "training_density"]
            if found.ndim != 2 or not np.issubdtype(found.dtype, np.floating):
                raise ValueError(f"{found.dtype} of shape {found.shape}")
    except (OSError, ValueError, KeyError, EOFError, AttributeError, BadZipFile, zlib.error) as error:
        first = (str(error).splitlines() or [type(error).__name__])[0]
        raise RecordError(
            f"no density beside the record ({first})",
            where=path,
            remedy="Delete finished.json in that folder and run snakemake again.",
        ) from None
    return found


def has_density(folder: Path, record: RunRecord) -> bool:
    """Say whether a replica left a density."""
    return (folder / f"{record.stem}.density.npz").exists()


def importance_factor(density: Map) -> Map:
    """Return (DA - min) / (max - min) over the whole map [layer, feature], in [0, 1]; 0 if it is constant."""
    low, high = density.min(), density.max()
    # A width below rounding would turn noise into a full scale.
    if high - low <= np.finfo(density.dtype).eps * abs(high):
        return np.zeros_like(density)
    scaled: Map = np.clip((density - low) / (high - low), 0.0, 1.0)
    return scaled


def layer_contribution(density: Map) -> Map:
    """Return the sum of each layer's density over the sum of all, [layer], in percent."""
    total = density.sum(axis=1)
    percent: Map = 100 * total / total.sum()
    return percent


def mean_density(densities: Sequence[Map]) -> Map:
    """Return the mean map over replicas, [layer, feature]."""
    mean: Map = np.mean(np.stack(densities), axis=0)
    return mean
