"""The comparison table: every pair of variants of a cache, on folds and on samples."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import pandas as pd

from daam_bench.analysis.aggregate import CACHE, caches_of, replica_frame
from daam_bench.analysis.predictions import compare_predictions, correctness_of
from daam_bench.analysis.significance import ALPHA, compare_replicas, unit_of
from daam_bench.records import RunRecord

COLUMNS = (
    *CACHE,
    "variant",
    "against",
    "against_is_best",
    "unit",
    "units",
    "difference_percent",
    "low_percent",
    "high_percent",
    "p",
    "p_holm",
    "significant",
    "effect",
    "detectable_percent",
    "detectable_holm_percent",
    "samples_only_variant",
    "samples_only_against",
    "mcnemar_p",
    "mcnemar_p_holm",
)


def comparison_frame(
    records: Sequence[RunRecord], places: Mapping[tuple[str, str, str], Path]
) -> pd.DataFrame:
    """Return one row a pair: `variant` with the variant of higher mean that it is compared `against`.

    Args:
        records: of all variants; baselines take no part.
        places: folder of each dataset, encoder and variant, for its predictions.

    Returns:
        `COLUMNS`: difference (points of percent, variant minus `against`) with its 95 % interval, p values
        as they are and after Holm's correction over all pairs of the cache, effect (Cohen's d_z), the
        smallest difference that would be found with power 0.8, and McNemar's test on pooled predictions.

    Raises:
        RecordError: if predictions are missing or damaged.
    """
    parts = []
    for dataset, encoder, cache in caches_of(replica_frame(records)):
        pairs = compare_replicas(cache)
        if pairs.empty:
            continue
        order = dict.fromkeys([*pairs["first"], *pairs["second"]])
        here = [r for r in records if (r.dataset, r.encoder) == (dataset, encoder)]
        correct = correctness_of({v: places[dataset, encoder, v] for v in order}, here)
        merged = pairs.merge(compare_predictions(correct), on=["first", "second"], validate="1:1")
        unit = unit_of(pd.MultiIndex.from_frame(cache[["fold", "seed"]]))
        parts.append(_as_seen_from_the_second(merged).assign(dataset=dataset, encoder=encoder, unit=unit))
    found = pd.concat(parts, ignore_index=True) if parts else pd.DataFrame(columns=COLUMNS)
    return found[[*COLUMNS]]


def _as_seen_from_the_second(pairs: pd.DataFrame) -> pd.DataFrame:
    """Return pairs with the signs of the variant that lies behind."""
    return pd.DataFrame(
        {
            "variant": pairs["second"],
            "against": pairs["first"],
            "against_is_best": pairs["first"] == pairs["first"].iloc[0],
            "units": pairs["units"],
            "difference_percent": -pairs["difference"],
            "low_percent": -pairs["high"],
            "high_percent": -pairs["low"],
            "p": pairs["p"],
            "p_holm": pairs["p_holm"],
            "significant": pairs["p_holm"] < ALPHA,
            "effect": -pairs["effect"],
            "detectable_percent": pairs["detectable"],
            "detectable_holm_percent": pairs["detectable_holm"],
            "samples_only_variant": pairs["only_second"],
            "samples_only_against": pairs["only_first"],
            "mcnemar_p": pairs["mcnemar_p"],
            "mcnemar_p_holm": pairs["mcnemar_p_holm"],
        }
    )
