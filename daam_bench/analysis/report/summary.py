"""What a reader should know first, in sentences."""

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from daam_bench.analysis.aggregate import CACHE
from daam_bench.analysis.paper.compare import ABOVE, BELOW, INSIDE, NOT_COMPARABLE, NOT_RUN
from daam_bench.analysis.tables.cells import METRICS


def summarise(
    frames: Mapping[str, pd.DataFrame], replicas: pd.DataFrame, manifests: Sequence[Mapping[str, Any]]
) -> list[str]:
    """Return sentences: one a cache, then the paper, the data and the cost.

    Args:
        frames: all tables by name.
        replicas: `aggregate.replica_frame`.
        manifests: of the caches.
    """
    scores = [_of_cache(str(d), str(e), part) for (d, e), part in _by_cache(frames["accuracy_summary"])]
    return [*scores, _of_paper(frames["paper_comparison"]), _of_data(manifests), _of_cost(replicas)]


def _by_cache(summary: pd.DataFrame) -> Any:
    return summary.groupby(CACHE, sort=False)


def _of_cache(dataset: str, encoder: str, part: pd.DataFrame) -> str:
    trained = part[part["kind"] != "baseline"]
    if trained.empty:
        return f"{dataset} x {encoder}: only baselines were run."
    best = trained.sort_values("mean_percent", kind="stable").iloc[-1]
    metric = METRICS.get(best["metric"], best["metric"])
    above = [
        int((trained[f"gain_over_{baseline}_low"] > 0).sum())
        for baseline in ("majority", "best_single_layer")
    ]
    marked = part.loc[part["significantly_best"], "title"].tolist()
    return (
        f"{dataset} x {encoder}: highest mean {metric[0].lower() + metric[1:]} {best['mean_percent']:.1f} % "
        f"({best['title']}). Variants of {len(trained)} whose paired gain has its whole 95 % interval "
        "above 0: "
        f"{above[0]} over the majority class, {above[1]} over logistic regression on the best single layer. "
        + _best(marked, len(trained))
    )


def _best(titles: Sequence[str], trained: int) -> str:
    if titles:
        return f"Significantly better than all others: {', '.join(titles)}."
    return f"No group of the {trained} variants is significantly better than all others."


def _of_paper(comparison: pd.DataFrame) -> str:
    counts = comparison["verdict"].value_counts().to_dict()
    run = len(comparison) - counts.get(NOT_RUN, 0)
    if not run:
        return f"None of the {len(comparison)} numbers printed in the paper is of a cache of this run."
    kinds = {
        INSIDE: "inside our interval",
        ABOVE: "below our interval",
        BELOW: "above our interval",
        NOT_COMPARABLE: "not comparable",
    }
    found = ", ".join(f"{counts[kind]} {text}" for kind, text in kinds.items() if kind in counts)
    return f"Of {len(comparison)} numbers that the paper prints, {run} stand beside ours: {found}."


def _of_data(manifests: Sequence[Mapping[str, Any]]) -> str:
    samples = sum(manifest["shape"][0] for manifest in manifests)
    bad = sum(len(manifest["quarantined"]) for manifest in manifests)
    return f"Samples in {len(manifests)} caches: {samples:,}; without a result: {bad:,} (listed under Data)."


def _of_cost(replicas: pd.DataFrame) -> str:
    wall, cpu = replicas["wall_seconds"].sum(), replicas["cpu_seconds"].sum()
    return (
        f"Training and scoring of {len(replicas):,} runs: {wall / 60:.1f} min wall time, "
        f"{cpu / 60:.1f} min CPU time."
    )
