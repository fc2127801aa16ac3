"""What a reader should know first, in sentences; every number leads to what it comes from."""

from collections.abc import Mapping, Sequence
from math import isclose
from typing import Any

import pandas as pd

from daam_bench.analysis.aggregate import CACHE, title_of
from daam_bench.analysis.paper.compare import ABOVE, BELOW, INSIDE, NOT_COMPARABLE, NOT_RUN
from daam_bench.analysis.report.links import Cell, Links, runs_anchor
from daam_bench.analysis.tables.accuracy_summary import BASELINES
from daam_bench.analysis.tables.cells import METRICS
from daam_bench.records import RunRecord, diverged_in

Sentence = list[Cell]


def summarise(
    frames: Mapping[str, pd.DataFrame],
    records: Sequence[RunRecord],
    manifests: Sequence[Mapping[str, Any]],
    links: Links,
) -> list[Sentence]:
    """Return sentences in parts: one a cache, then what diverged, the paper, the data and the cost.

    Args:
        frames: all tables by name.
        records: of ordinary runs.
        manifests: of the caches.
        links: where numbers lead to.
    """
    caches = frames["accuracy_summary"].groupby(CACHE, sort=False)
    scores = [_of_cache(str(dataset), str(encoder), part, links) for (dataset, encoder), part in caches]
    others = [_of_paper(frames["paper_comparison"]), _of_data(manifests, links), _of_cost(records)]
    return [*scores, *_of_diverged(records), *others]


def _of_cache(dataset: str, encoder: str, part: pd.DataFrame, links: Links) -> Sentence:
    name = f"{dataset} x {encoder}"
    trained = part[part["kind"] != "baseline"]
    if trained.empty:
        return [Cell(f"{name}: only baselines were run.")]
    best = trained.sort_values("mean_percent", kind="stable").iloc[-1]
    metric = METRICS.get(best["metric"], best["metric"])
    runs = f"#{runs_anchor(name)}"
    above = [str(int((trained[f"gain_over_{baseline}_low"] > 0).sum())) for baseline in BASELINES]
    address = links.variant(dataset, encoder, best["variant"])
    return [
        Cell(f"{name}: highest mean {metric[0].lower() + metric[1:]} of a trained variant "),
        Cell(f"{best['mean_percent']:.1f} %", address),
        Cell(f" ({best['title']}). "),
        *_of_baselines(part[part["kind"] == "baseline"], best["mean_percent"], links),
        Cell("Variants of "),
        Cell(str(len(trained)), runs),
        Cell(" whose paired gain has its whole 95 % interval above 0: "),
        Cell(above[0], runs),
        Cell(" over the majority class, "),
        Cell(above[1], runs),
        Cell(f" over logistic regression on the best single layer. {_best(part)}"),
    ]


def _of_baselines(baselines: pd.DataFrame, best: float, links: Links) -> Sentence:
    """Say which baselines lie as high as the best trained variant, or higher; nothing where none does."""
    sentence = []
    for _, row in baselines.iterrows():
        equal = isclose(row["mean_percent"], best)
        if equal or row["mean_percent"] > best:
            where = "No trained variant lies above this baseline" if equal else "A baseline lies higher"
            sentence += [
                Cell(f"{where}: {row['title']}, "),
                Cell(
                    f"{row['mean_percent']:.1f} %",
                    links.variant(row["dataset"], row["encoder"], row["variant"]),
                ),
                Cell(". "),
            ]
    return sentence


def _best(part: pd.DataFrame) -> str:
    """Say which variants are marked, and against what: other variants, and baselines if any were run."""
    others = "every other variant" + (" and every baseline" if (part["kind"] == "baseline").any() else "")
    marked = part[part["significantly_best"]]
    if marked.empty:
        return f"No group of the variants is significantly better than {others}."
    alone = " on this split alone" if (marked["folds"] == 1).all() else ""
    return f"Significantly better than {others}{alone}: {', '.join(marked['title'])}."


def _of_diverged(records: Sequence[RunRecord]) -> list[Sentence]:
    """Name the variants with runs whose training loss did not stay finite; no sentence where none has."""
    found = [r for r in records if diverged_in(r.epochs) is not None]
    if not found:
        return []
    names = sorted({f"{title_of(r.variant)} on {r.dataset} x {r.encoder}" for r in found})
    return [
        [
            Cell("Diverged, so that their scores mean nothing: "),
            Cell(f"{len(found):,}", "#every-run"),
            Cell(" of "),
            Cell(f"{len(records):,}", "#every-run"),
            Cell(f" runs ({', '.join(names)})."),
        ]
    ]


def _of_paper(comparison: pd.DataFrame) -> Sentence:
    counts = comparison["verdict"].value_counts().to_dict()
    run, to = len(comparison) - counts.get(NOT_RUN, 0), "#paper"
    total = Cell(str(len(comparison)), to)
    if not run:
        return [Cell("None of the "), total, Cell(" numbers printed in the paper is of a cache of this run.")]
    kinds = {
        INSIDE: "inside our interval",
        ABOVE: "below our interval",
        BELOW: "above our interval",
        NOT_COMPARABLE: "not comparable",
    }
    sentence = [Cell("Of "), total, Cell(" numbers that the paper prints, "), Cell(str(run), to)]
    between = " stand beside ours: "
    for kind in (kind for kind in kinds if kind in counts):
        sentence += [Cell(between), Cell(str(counts[kind]), to), Cell(f" {kinds[kind]}")]
        between = ", "
    return [*sentence, Cell(".")]


def _of_data(manifests: Sequence[Mapping[str, Any]], links: Links) -> Sentence:
    samples = sum(manifest["shape"][0] for manifest in manifests)
    bad = sum(len(manifest["quarantined"]) for manifest in manifests)
    caches = [(m["identity"]["dataset"], m["identity"]["encoder"]["name"]) for m in manifests]
    to = links.manifest(*caches[0]) if len(caches) == 1 else "#data"
    return [
        Cell("Samples in "),
        Cell(str(len(manifests)), "#data"),
        Cell(" cache: " if len(manifests) == 1 else " caches: "),
        Cell(f"{samples:,}", to),
        Cell("; without a result: "),
        Cell(f"{bad:,}", to),
        Cell(" (listed under Data)."),
    ]


def _of_cost(records: Sequence[RunRecord]) -> Sentence:
    wall, cpu = sum(r.wall_seconds for r in records), sum(r.cpu_seconds for r in records)
    return [
        Cell("Training and scoring of "),
        Cell(f"{len(records):,}", "#every-run"),
        Cell(" runs: "),
        Cell(f"{wall / 60:.1f} min", "#cost"),
        Cell(" wall time, "),
        Cell(f"{cpu / 60:.1f} min", "#cost"),
        Cell(" CPU time."),
    ]
