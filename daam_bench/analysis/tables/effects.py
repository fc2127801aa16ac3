"""The paired effect of one set of runs against another."""

import pandas as pd

from daam_bench.analysis.significance import compare_pairs, paired_units, resampling_ratio


def paired_effect(changed: pd.DataFrame, base: pd.DataFrame) -> dict[str, float]:
    """Return `effect_percent`, `low_percent`, `high_percent` and `p` of one set of runs against another.

    The mean difference in points of percent, changed minus base, over folds that both have (seeds and
    variants averaged; over seeds if there is one fold), with its 95 % interval and p of the corrected
    resampled t test (`significance.compare_pairs`); nan where one unit gives no interval.

    Args:
        changed: rows of `aggregate.replica_frame` of one cache.
        base: the same of the runs that they are compared with.
    """
    both = pd.concat([changed.assign(variant="changed"), base.assign(variant="base")])
    pair = compare_pairs(paired_units(both), resampling_ratio(both)).iloc[0]
    sign = 1 if pair["first"] == "changed" else -1
    low, high = sorted((sign * pair["low"], sign * pair["high"]))
    numbers = {"effect_percent": sign * pair["difference"], "low_percent": low, "high_percent": high}
    return {name: float(value) for name, value in (numbers | {"p": pair["p"]}).items()}
