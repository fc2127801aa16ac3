"""Every variant under whole protocols."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from daam_bench.analysis.aggregate import CACHE, score_interval
from daam_bench.analysis.marks import MARK, NOTE, OPTIMISTIC
from daam_bench.analysis.studies.frames import (
    effect_cells,
    paired_effect,
    run_frame,
    same_runs,
    study_frame,
    with_titles,
)

CAPTION = (
    "Every variant under each protocol: accuracy in percent, mean and population standard deviation over "
    "folds and seeds; in brackets the difference from the ordinary runs in points of percent with its 95 % "
    "interval (corrected resampled t over folds). The protocol of the ordinary runs is as configured, the "
    f"others are as published. {NOTE}"
)


def protocols(runs: Sequence[Path], studies: Sequence[Path]) -> pd.DataFrame:
    """Return one row a variant and protocol.

    Columns: mean, population standard deviation and 95 % interval in percent; `effect_percent`
    against the ordinary runs on the same folds and seeds (nan on their own rows); `optimistic` where
    `select` is best_validation.
    """
    changed = study_frame(studies, "protocol")
    base = same_runs(run_frame(runs), changed)
    own = base.assign(subject=[p["name"] for p in base["protocol"]])
    rows: list[dict[str, Any]] = []
    for keys, mine in base.groupby([*CACHE, "variant"], sort=False):
        everything = pd.concat([same_runs(own, mine), same_runs(changed, mine)])
        for protocol, part in everything.groupby("subject", sort=False):
            scores = part["score_percent"].to_numpy()
            low, high = score_interval(part)
            row = dict(zip([*CACHE, "variant"], keys, strict=True)) | {
                "protocol": protocol,
                "select": part["select"].iloc[0],
                "optimistic": part["select"].iloc[0] == OPTIMISTIC,
                "folds": part["fold"].nunique(),
                "seeds": part["seed"].nunique(),
                "mean_percent": scores.mean(),
                "std_percent": scores.std(),
                "mean_low_percent": low,
                "mean_high_percent": high,
            }
            ordinary = protocol == mine["protocol"].iloc[0]["name"]
            rows.append(row | ({} if ordinary else paired_effect(part, mine)))
    return pd.DataFrame(rows)


def readable_protocols(frame: pd.DataFrame) -> pd.DataFrame:
    """Return one row a variant, one column a protocol."""
    effects = [f" [{effect}]" if effect else "" for effect in effect_cells(frame)]
    marks = [MARK if optimistic else "" for optimistic in frame["optimistic"]]
    numbers = zip(frame["mean_percent"], frame["std_percent"], marks, effects, strict=True)
    cells = [f"{mean:.1f} ± {spread:.1f}{mark}{effect}" for mean, spread, mark, effect in numbers]
    long = with_titles(frame).assign(protocol=frame["protocol"], cell=cells)
    keys = ["Dataset", "Encoder", "Variant"]
    wide = long.pivot_table(index=keys, columns="protocol", values="cell", aggfunc="first", sort=False)
    return wide.reset_index().rename_axis(columns=None).fillna("")
