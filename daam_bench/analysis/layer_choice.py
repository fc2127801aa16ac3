"""Choose layers from the Importance Factor, fold by fold, from what training may see."""

import logging
from collections.abc import Sequence
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from daam_bench.analysis.importance import importance_factor, mean_density, read_density
from daam_bench.records import read_records
from daam_bench.studies.names import Pick


def layer_importance(density: npt.NDArray[np.floating]) -> npt.NDArray[np.floating]:
    """Return the mean Importance Factor of each layer, [layer], in [0, 1], of a map [layer, feature]."""
    mean: npt.NDArray[np.floating] = importance_factor(density).mean(axis=1)
    return mean


def pick_layers(importance: npt.NDArray[np.floating], pick: Pick, fold: int) -> list[int]:
    """Return the numbers of the layers that a pick keeps, ascending, from 1; all if there are not more.

    Args:
        importance: of each layer, [layer]; of equal ones the first is taken.
        pick: single layers, or a block of neighbours of highest (lowest) mean importance.
        fold: random layers are drawn for each fold, by a generator of (size, draw, fold).
    """
    size = min(pick.size, len(importance))
    # A candidate is a single layer, or a block that begins at a layer.
    width = size if pick.block else 1
    values = np.convolve(importance, np.full(width, 1 / width), mode="valid")
    count = 1 if pick.block else size
    if pick.side == "random":
        generator = np.random.default_rng([pick.size, pick.draw, fold])
        starts = generator.choice(len(values), size=count, replace=False)
    else:
        # Rounding apart, so that equal blocks are equal.
        keys = np.round(values, 12)
        starts = np.argsort(-keys if pick.side == "top" else keys, kind="stable")[:count]
    return sorted(int(start) + step + 1 for start in starts for step in range(width))


def choose_layers(folder: Path, picks: Sequence[str], seeds: Sequence[int]) -> dict[str, Any]:
    """Return the layers of every pick for each fold of a trained density variant.

    The density of a fold is averaged over its TRAINING samples and over seeds: neither labels nor inputs of
    the samples that score the retrained model have a part in the choice. A pick that leaves no layer out,
    of an encoder whose depth was not known when the run was planned, is warned of.

    Args:
        folder: records of the variant.
        picks: names of `studies.names.Pick`.
        seeds: the runs that are averaged.

    Returns:
        `importance` (fold -> value of each layer) and `choices` (pick -> fold -> layers from 1), folds as
        text, ready for JSON.

    Raises:
        RecordError: if a record is missing or damaged.
    """
    records = sorted((r for r in read_records(folder) if r.seed in seeds), key=lambda r: (r.fold, r.seed))
    importance = {
        fold: layer_importance(mean_density([read_density(folder, run, "training") for run in runs]))
        for fold, runs in groupby(records, key=lambda r: r.fold)
    }
    depth = len(importance[records[0].fold])
    for name in picks:
        if Pick.parse(name).size >= depth:
            logging.warning("%s leaves no layer out: the encoder has %d", name, depth)
    return {
        "variant": records[0].variant,
        "samples": "training",
        "seeds": sorted({record.seed for record in records}),
        "importance": {str(fold): values.tolist() for fold, values in importance.items()},
        "choices": {
            name: {str(f): pick_layers(values, Pick.parse(name), f) for f, values in importance.items()}
            for name in picks
        },
    }
