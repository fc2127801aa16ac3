"""What stands under tables and figures: in the report, and in Snakemake's own (`workflow/report`)."""

import re
from collections.abc import Iterable

from daam_bench.analysis.marks import NOTE
from daam_bench.analysis.names import TABLES
from daam_bench.datasets.registry import dataset_kind
from daam_bench.plan import Plan

# Of a kind of figure; {} is the variant that it shows.
FIGURES = {
    "accuracy": "Mean score of every variant with its 95 % interval over folds, seeds averaged (over seeds "
    "if there is one fold); the lines are the baselines.",
    "entropy": "Entropy of trained heads: mean over heads and runs; whiskers are the 5 % and 95 % quantiles "
    "within a head. Left: shares of the largest possible entropy, which can be compared. Right: the paper's "
    "formula for a Gaussian, which has no maximum.",
    "importance": "Importance Factor of {}: density averaged over validation samples, folds and seeds, "
    "scaled to 0..1 over the whole map; layer 1 at the bottom. Above 800 features a column of pixels is the "
    "mean of neighbouring ones.",
    "importance_spread": "How much the Importance Factor of {} varies: population standard deviation over "
    "folds and seeds of each run's map; one scale for all variants of the cache.",
    "layer_contribution": "Share of each layer in the density of {}; whiskers: population standard "
    "deviation over folds and seeds; one scale for all variants of the cache.",
}
CURVE = (
    "highest and lowest importance, random (mean over draws) and all layers (dashed); 95 % interval of the "
    "mean over folds, seeds averaged (over seeds if there is one fold)."
)
_RUNS = "Runs: {{ snakemake.params.runs }}."
_SIGNS = re.compile(r"([\\*`_|])")


def caption_files() -> dict[str, str]:
    """Return the captions of Snakemake's own report, one file a table and kind of figure, by name."""
    from daam_bench.analysis.tables import find_table

    # Whether a table has the mark is known when it is made, these captions before.
    texts = {name: f"{find_table(name).caption} {NOTE}" for name in TABLES}
    texts |= {kind: text.format("the variant that the file is named after") for kind, text in FIGURES.items()}
    texts["ablation_curve"] = f"Score over the number of layers kept: {CURVE}"
    # Signs that mean something in reStructuredText are meant as they are.
    escaped = {name: _SIGNS.sub(r"\\\1", text) for name, text in texts.items()}
    return {f"{name}.rst": f"{text}\n\n{_RUNS}\n" for name, text in escaped.items()}


def run_counts(plan: Plan) -> str:
    """Return folds and seeds of the ordinary runs of every cache, in reStructuredText."""
    return _counts(plan, ((j.dataset, j.encoder, j.seeds) for j in [*plan.jobs, *plan.tunings]))


def study_counts(plan: Plan) -> str:
    """Return folds and seeds of ordinary and of derived runs, in reStructuredText."""
    derived = _counts(plan, ((j.dataset, j.encoder, j.seeds) for j in plan.studies))
    return f"{run_counts(plan)}; derived runs: {derived}" if derived else run_counts(plan)


def _counts(plan: Plan, jobs: Iterable[tuple[str, str, tuple[int, ...]]]) -> str:
    seeds: dict[tuple[str, str], set[int]] = {}
    for dataset, encoder, own in jobs:
        seeds.setdefault((dataset, encoder), set()).update(own)
    return ", ".join(
        f"``{dataset}`` x ``{encoder}`` {_folds(plan, dataset)} x {_number(len(found), 'seed')}"
        for (dataset, encoder), found in seeds.items()
    )


def _folds(plan: Plan, dataset: str) -> str:
    """Return how many folds a dataset has: own data say it only when they are read."""
    config = plan.datasets[dataset]
    groups = len(dataset_kind(config.kind).groups)
    counts = {"split_column": 1, "leave_one_group_out": groups}
    count = counts.get(config.folds.rule, config.folds.count)
    return _number(count, "fold") if count else "one fold a group"


def _number(count: int, what: str) -> str:
    return f"{count} {what}" + ("" if count == 1 else "s")
