"""Every pair of variants of a cache, on folds and on samples, and which variants are significantly best.

Where there is one fold, units are seeds: their spread says nothing of the luck that all of them have with
the same validation samples, so McNemar's test on these samples has to agree before a difference is
significant (benchmarks/significance.py has the simulation).
"""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path

import pandas as pd

from daam_bench.analysis.aggregate import CACHE, caches_of, replica_frame
from daam_bench.analysis.predictions import agrees, compare_predictions, correctness_of
from daam_bench.analysis.significance import (
    baseline_scores,
    best_group,
    compare_replicas,
    is_better,
)
from daam_bench.records import RunRecord

# Gives what `predictions.pooled_correctness` returns, by name of the variant.
Correctness = Callable[[Sequence[str]], dict[str, pd.Series]]
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
        smallest difference that would be found with power 0.8, and McNemar's test on pooled predictions,
        which has to agree with a significant difference where there is one fold (`confirm`).

    Raises:
        RecordError: if predictions are missing or damaged.
    """
    parts = []
    for dataset, encoder, cache in caches_of(replica_frame(records)):
        pairs = compare_replicas(cache)
        if pairs.empty:
            continue
        tested = confirm(pairs, partial(_correctness, records, places, dataset, encoder))
        parts.append(_as_seen_from_the_second(tested).assign(dataset=dataset, encoder=encoder))
    found = pd.concat(parts, ignore_index=True) if parts else pd.DataFrame(columns=COLUMNS)
    return found[[*COLUMNS]]


def best_frame(records: Sequence[RunRecord], places: Mapping[tuple[str, str, str], Path]) -> pd.DataFrame:
    """Return one row a variant and baseline: `CACHE`, variant, significantly_best (`mark_best`).

    Args:
        records: of all variants and baselines.
        places: folder of each dataset, encoder and variant, for its predictions.

    Raises:
        RecordError: if predictions that are needed, those of single folds, are missing or damaged.
    """
    parts = []
    for dataset, encoder, cache in caches_of(replica_frame(records)):
        best = mark_best(cache, partial(_correctness, records, places, dataset, encoder))
        rows = cache[[*CACHE, "variant"]].drop_duplicates()
        parts.append(rows.assign(significantly_best=rows["variant"].isin(best)))
    return pd.concat(parts, ignore_index=True)


def mark_best(cache: pd.DataFrame, correct: Correctness) -> list[str]:
    """Return the variants of one cache to be marked as significantly best; often none.

    They are `significance.best_group`, if every one of them is significantly better than every baseline that
    was run, too. Where there is one fold, McNemar's test has to agree with every difference.

    Args:
        cache: rows of `aggregate.replica_frame` of one cache.
        correct: gives `pooled_correctness` of variants and baselines by name; asked for where it is needed.
    """
    pairs = compare_replicas(cache)
    single = (pairs["unit"] == "seeds").all()
    if single and pairs["significant"].any():
        pairs = confirm(pairs, correct)
    best = best_group(pairs)
    rows = {variant: cache[cache["variant"] == variant] for variant in best}
    for name, scores in baseline_scores(cache).items():
        if not all(is_better(rows[variant], scores) for variant in best):
            return []
        if single and not all(_is_right_more_often(correct([variant, name])) for variant in best):
            return []
    return best


def confirm(pairs: pd.DataFrame, correct: Correctness) -> pd.DataFrame:
    """Return pairs with McNemar's test; where there is one fold, it has to agree with what is significant.

    Args:
        pairs: what `significance.compare_replicas` returns, of two variants or more.
        correct: gives `pooled_correctness` of variants by name.
    """
    found = compare_predictions(correct(list(dict.fromkeys([*pairs["first"], *pairs["second"]]))))
    merged = pairs.merge(found, on=["first", "second"], validate="1:1")
    return merged.assign(significant=merged["significant"] & ((merged["unit"] == "folds") | agrees(merged)))


def _is_right_more_often(correct: dict[str, pd.Series]) -> bool:
    """Tell whether McNemar's test finds the first of two variants better."""
    return bool(agrees(compare_predictions(correct).assign(difference=1.0)).all())


def _correctness(
    records: Sequence[RunRecord],
    places: Mapping[tuple[str, str, str], Path],
    dataset: str,
    encoder: str,
    variants: Sequence[str],
) -> dict[str, pd.Series]:
    here = [r for r in records if (r.dataset, r.encoder) == (dataset, encoder)]
    return correctness_of({variant: places[dataset, encoder, variant] for variant in variants}, here)


def _as_seen_from_the_second(pairs: pd.DataFrame) -> pd.DataFrame:
    """Return pairs with the signs of the variant that lies behind."""
    return pd.DataFrame(
        {
            "variant": pairs["second"],
            "against": pairs["first"],
            "against_is_best": pairs["first"] == pairs["first"].iloc[0],
            "unit": pairs["unit"],
            "units": pairs["units"],
            "difference_percent": -pairs["difference"],
            "low_percent": -pairs["high"],
            "high_percent": -pairs["low"],
            "p": pairs["p"],
            "p_holm": pairs["p_holm"],
            "significant": pairs["significant"],
            "effect": -pairs["effect"],
            "detectable_percent": pairs["detectable"],
            "detectable_holm_percent": pairs["detectable_holm"],
            "samples_only_variant": pairs["only_second"],
            "samples_only_against": pairs["only_first"],
            "mcnemar_p": pairs["mcnemar_p"],
            "mcnemar_p_holm": pairs["mcnemar_p_holm"],
        }
    )
