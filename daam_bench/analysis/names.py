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
    "cost",
    "runs",
    "selection_worth",
    "protocols",
    "switch_effects",
    "layer_ablation",
    "layer_ablation_curve",
)
# Those that are written when the studies are done, and the kind of derived runs without which there is none.
STUDY_TABLES = {
    "paper_comparison": "",
    "selection_worth": "",
    "protocols": "protocol",
    "switch_effects": "switch",
    "layer_ablation": "layers",
    "layer_ablation_curve": "layers",
}
# The last one lists the folders of records that a table is made of.
ENDINGS = ("csv", "md", "tex", "sources.json")
CACHE_FIGURES = ("accuracy", "entropy")
DENSITY_FIGURES = ("importance", "importance_spread", "layer_contribution")


def main_tables() -> list[str]:
    """Return the tables that are of ordinary runs alone."""
    return [name for name in TABLES if name not in STUDY_TABLES]


def study_tables(kinds: Collection[str]) -> list[str]:
    """Return the tables that wait for studies, which are of these kinds (protocol, switch, layers)."""
    return [name for name in TABLES if name in STUDY_TABLES and STUDY_TABLES[name] in ("", *kinds)]


def table_names() -> list[str]:
    """Return the file names of the tables that are of ordinary runs alone."""
    return [f"{name}.{ending}" for name in main_tables() for ending in ENDINGS]


def study_table_names(kinds: Collection[str]) -> list[str]:
    """Return the file names of the tables that wait for studies of these kinds (protocol, switch, layers)."""
    return [f"{name}.{ending}" for name in study_tables(kinds) for ending in ENDINGS]


def study_figure_names(ablated: Collection[tuple[str, str, str, bool]]) -> list[str]:
    """Return the file names of the ablation curves of (dataset, encoder, variant, in blocks)."""
    stems = [curve_stem(*place) for place in ablated]
    return [f"{stem}.{ending}" for stem in stems for ending in ("png", "pdf")]


def curve_stem(dataset: str, encoder: str, variant: str, block: bool) -> str:
    """Return the name of an ablation curve without ending."""
    return f"{'block' if block else 'layer'}_ablation_{dataset}_{encoder}_{variant}"


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
