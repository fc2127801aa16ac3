"""Records of ordinary and of derived runs as frames, and the paired effect of one on the other."""

from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from daam_bench.analysis.aggregate import CACHE, read_all, replica_frame, title_of
from daam_bench.analysis.significance import compare_pairs, paired_units, resampling_ratio
from daam_bench.records import RunRecord
from daam_bench.studies.names import StudyName


def run_frame(folders: Sequence[Path]) -> pd.DataFrame:
    """Return one row a trained replica: `replica_frame` with `select` and `layers` of its record."""
    return _frame([r for r in read_all(folders) if r.kind != "baseline"])


def study_frame(folders: Sequence[Path], kind: str) -> pd.DataFrame:
    """Return one row a replica of the studies of a kind, with their `subject` and `value`.

    Args:
        folders: results/studies/<dataset>/<encoder>/<study>/<variant>.
        kind: protocol, switch or layers.
    """
    parts = []
    for folder in folders:
        name = StudyName.parse(folder.parent.name)
        if name.kind == kind:
            parts.append(_frame(read_all([folder])).assign(subject=name.subject, value=name.value))
    return pd.concat(parts, ignore_index=True) if parts else pd.DataFrame()


def _frame(records: Sequence[RunRecord]) -> pd.DataFrame:
    own = {"select": [r.protocol.get("select") for r in records], "protocol": [r.protocol for r in records]}
    return replica_frame(records).join(pd.DataFrame(own | {"layers": [r.layers for r in records]}))


def same_runs(frame: pd.DataFrame, like: pd.DataFrame) -> pd.DataFrame:
    """Return the rows of `frame` of the cache, variants, folds and seeds of `like`."""
    keys = [*CACHE, "variant", "fold", "seed"]
    return frame.merge(like[keys].drop_duplicates(), on=keys, validate="m:1")


def paired_effect(changed: pd.DataFrame, base: pd.DataFrame) -> dict[str, float]:
    """Return `effect_percent`, `low_percent`, `high_percent` and `p` of one set of runs against another.

    The mean difference in points of percent, changed minus base, over folds that both have (seeds and
    variants averaged; over seeds if there is one fold), with its 95 % interval and p of the corrected
    resampled t test (`significance.compare_pairs`); nan where one unit gives no interval.
    """
    both = pd.concat([changed.assign(variant="changed"), base.assign(variant="base")])
    pair = compare_pairs(paired_units(both), resampling_ratio(both)).iloc[0]
    sign = 1 if pair["first"] == "changed" else -1
    low, high = sorted((sign * pair["low"], sign * pair["high"]))
    numbers = {"effect_percent": sign * pair["difference"], "low_percent": low, "high_percent": high}
    return {name: float(value) for name, value in (numbers | {"p": pair["p"]}).items()}


def with_titles(frame: pd.DataFrame) -> pd.DataFrame:
    """Return the first three columns of a readable table."""
    shown = pd.DataFrame({"Dataset": frame["dataset"], "Encoder": frame["encoder"]})
    return shown.assign(Variant=frame["variant"].map(title_of))


def effect_cells(frame: pd.DataFrame, name: str = "effect_percent", prefix: str = "") -> list[str]:
    """Return `+1.2 (-0.3 to +2.7)` for every row; empty where there is no effect to show."""
    rows = zip(frame[name], frame[f"{prefix}low_percent"], frame[f"{prefix}high_percent"], strict=True)
    return [
        "" if pd.isna(value) else f"{value:+.1f}" + ("" if pd.isna(a) else f" ({a:+.1f} to {b:+.1f})")
        for value, a, b in rows
    ]
