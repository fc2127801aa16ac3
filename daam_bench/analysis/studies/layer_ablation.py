"""Retrained on the layers of highest and of lowest importance: by fold as in the paper, and over k."""

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
from daam_bench.studies.names import Pick

IMPORTANCE = {"top": "high", "bottom": "low", "random": "random", "all": "all"}
CAPTION = (
    "Retrained on some layers only: those of highest and of lowest Importance Factor, and random ones. "
    "Layers are chosen for each fold from its density on training samples, averaged over seeds. Accuracy in "
    f"percent, mean over seeds; +/- is the population standard deviation over seeds. {NOTE}"
)
CURVE_CAPTION = (
    "The same over k, the number of layers kept: mean over folds and seeds with its 95 % interval, "
    "and the difference from the layers of lowest importance in points of percent with its 95 % interval "
    f"(corrected resampled t over folds). Random layers: mean over draws. {NOTE}"
)
KEYS = [*CACHE, "variant", "blocks", "layers_kept", "side"]


def ablation_frame(runs: Sequence[Path], studies: Sequence[Path]) -> pd.DataFrame:
    """Return one row a replica: the ablated ones, then those on all layers (side `all`, `layers_kept` 0)."""
    changed = study_frame(studies, "layers")
    picks = [Pick.parse(name) for name in changed["subject"]]
    changed = changed.assign(
        side=[p.side for p in picks],
        blocks=[p.block for p in picks],
        layers_kept=[p.size for p in picks],
        draw=[p.draw for p in picks],
    )
    base = same_runs(run_frame(runs), changed)
    whole = [base.assign(side="all", blocks=b, layers_kept=0, draw=0) for b in changed["blocks"].unique()]
    return pd.concat([changed, *whole], ignore_index=True)


def layer_ablation(ablation: pd.DataFrame) -> pd.DataFrame:
    """Return one row a variant, choice of layers and fold: the layers and the accuracy over seeds.

    Args:
        ablation: what `ablation_frame` returns.
    """
    rows: list[dict[str, Any]] = []
    keys = [*KEYS, "draw", "fold", "fold_name"]
    for values, part in ablation.groupby(keys, sort=False):
        row = dict(zip(keys, values, strict=True))
        layers = part["layers"].iloc[0]
        scores = part["score_percent"].to_numpy()
        rows.append(
            row
            | {
                "importance": IMPORTANCE[str(row["side"])],
                "layers": "all" if layers is None else ",".join(map(str, layers)),
                "seeds": len(scores),
                "mean_percent": scores.mean(),
                "std_percent": scores.std(),
                "optimistic": part["select"].iloc[0] == OPTIMISTIC,
            }
        )
    return pd.DataFrame(rows)


def ablation_curve(ablation: pd.DataFrame) -> pd.DataFrame:
    """Return one row a variant, side and number of layers, the draws of random layers taken together.

    Columns: mean and 95 % interval in percent; `effect_percent` against the layers of lowest
    importance of the same number (nan for those themselves and for all layers).
    """
    rows: list[dict[str, Any]] = []
    for values, part in ablation.groupby(KEYS, sort=False):
        row = dict(zip(KEYS, values, strict=True))
        # Draws of one fold and seed are one unit.
        scores = part.groupby(["fold", "seed"])["score_percent"].mean().to_numpy()
        low, high = score_interval(part)
        same = (ablation[[*KEYS[:-1]]] == part[[*KEYS[:-1]]].iloc[0]).all(axis=1)
        lowest = ablation[same & (ablation["side"] == "bottom")]
        rows.append(
            row
            | {
                "mean_percent": scores.mean(),
                "mean_low_percent": low,
                "mean_high_percent": high,
                "optimistic": part["select"].iloc[0] == OPTIMISTIC,
            }
            | (paired_effect(part, lowest) if row["side"] in ("top", "random") else {})
        )
    return pd.DataFrame(rows)


def readable_layer_ablation(frame: pd.DataFrame) -> pd.DataFrame:
    """Return the table as a person reads it, in the paper's layout: one row a choice, one column a fold."""
    marks = [MARK if flag else "" for flag in frame["optimistic"]]
    numbers = zip(frame["layers"], frame["mean_percent"], frame["std_percent"], marks, strict=True)
    cells = [f"{mean:.1f} ± {spread:.1f}{mark} ({layers})" for layers, mean, spread, mark in numbers]
    draws = zip(frame["importance"], frame["draw"], strict=True)
    long = with_titles(frame).assign(
        Importance=[f"{name} {draw}" if draw else name for name, draw in draws],
        Kept=_kept(frame),
        fold=frame["fold_name"],
        cell=cells,
    )
    keys = ["Dataset", "Encoder", "Variant", "Importance", "Kept"]
    wide = long.pivot_table(index=keys, columns="fold", values="cell", aggfunc="first", sort=False)
    return wide.reset_index().rename_axis(columns=None).fillna("")


def readable_ablation_curve(frame: pd.DataFrame) -> pd.DataFrame:
    """Return the table as a person reads it."""
    shown = with_titles(frame)
    shown["Importance"] = frame["side"].map(IMPORTANCE)
    shown["Kept"] = _kept(frame)
    marks = [MARK if flag else "" for flag in frame["optimistic"]]
    shown["Accuracy (%)"] = [f"{m:.1f}{mark}" for m, mark in zip(frame["mean_percent"], marks, strict=True)]
    ranges = zip(frame["mean_low_percent"], frame["mean_high_percent"], strict=True)
    shown["95 % interval"] = ["one run" if pd.isna(a) else f"{a:.1f} to {b:.1f}" for a, b in ranges]
    shown["Against low (points)"] = effect_cells(frame)
    # The ordinary run stands beside single layers and beside blocks.
    return shown.drop_duplicates(ignore_index=True)


def _kept(frame: pd.DataFrame) -> list[str]:
    rows = zip(frame["layers_kept"], frame["blocks"], strict=True)
    return ["all" if not k else f"block of {k}" if block and k > 1 else str(k) for k, block in rows]
