"""File names of tables and figures; imports nothing heavy, so that planning stays quick."""

from collections.abc import Collection, Sequence

# THE list of tables, in the order of the report. A name is a module of `analysis.tables` with its `TABLE`.
TABLES = (
    "accuracy_summary",
    "accuracy_per_fold",
    "comparisons",
    "mixture",
    "paper_comparison",
    "importance_stability",
    "entropy",
    "parameter_counts",
    "parameter_ranges",
)
ENDINGS = ("csv", "md", "tex")
CACHE_FIGURES = ("accuracy", "entropy")
DENSITY_FIGURES = ("importance", "importance_spread", "layer_contribution")
STUDY_TABLES = {
    "protocol": ("protocols",),
    "switch": ("switch_effects",),
    "layers": ("layer_ablation", "layer_ablation_curve"),
}


def table_names() -> list[str]:
    """Return the file names of all tables."""
    return [f"{name}.{ending}" for name in TABLES for ending in ENDINGS]


def study_table_names(kinds: Collection[str]) -> list[str]:
    """Return the file names of the tables of studies of these kinds (protocol, switch, layers)."""
    names = [
        "selection_worth",
        *(name for kind in STUDY_TABLES if kind in kinds for name in STUDY_TABLES[kind]),
    ]
    return [f"{name}.{ending}" for name in names for ending in ENDINGS]


def study_figure_names(ablated: Collection[tuple[str, str, str, bool]]) -> list[str]:
    """Return the file names of the ablation curves of (dataset, encoder, variant, in blocks)."""
    kinds = {False: "layer", True: "block"}
    stems = [f"{kinds[block]}_ablation_{dataset}_{encoder}_{v}" for dataset, encoder, v, block in ablated]
    return [f"{stem}.{ending}" for stem in stems for ending in ("png", "pdf")]


def figure_stems(dataset: str, encoder: str, density_variants: Sequence[str]) -> list[str]:
    """Return the names of the figures of one cache, without ending.

    Args:
        dataset: name in the configuration.
        encoder: name in the configuration.
        density_variants: variants that give an importance map.
    """
    return list(figure_kinds(dataset, encoder, density_variants))


def figure_names(dataset: str, encoder: str, density_variants: Sequence[str]) -> list[str]:
    """Return the file names of the figures of one cache."""
    stems = figure_stems(dataset, encoder, density_variants)
    return [f"{stem}.{ending}" for stem in stems for ending in ("png", "pdf")]


def figure_kinds(dataset: str, encoder: str, density_variants: Sequence[str]) -> dict[str, str]:
    """Return the kind of each figure of one cache, by its name without ending."""
    cache = f"{dataset}_{encoder}"
    kinds = {f"{kind}_{cache}": kind for kind in CACHE_FIGURES}
    return kinds | {f"{kind}_{cache}_{v}": kind for v in density_variants for kind in DENSITY_FIGURES}
