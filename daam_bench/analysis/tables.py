"""Tables as frames, written as CSV (full precision), Markdown and LaTeX (booktabs)."""

from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from daam_bench.analysis.aggregate import (
    CACHE,
    caches_of,
    read_all,
    replica_frame,
    summary_frame,
    title_of,
)
from daam_bench.analysis.comparisons import comparison_frame
from daam_bench.analysis.names import TABLES, table_names
from daam_bench.analysis.significance import best_group, compare_replicas
from daam_bench.records import RunRecord, write_atomically

CAPTIONS = {
    "accuracy_summary": "Accuracy in percent: mean and population standard deviation over folds and seeds, "
    "95 % bootstrap interval, and paired gain over the majority class and over the best single layer. Best: "
    "significantly better than every variant without the mark (see the comparisons).",
    "accuracy_per_fold": "Accuracy in percent on each fold, mean over seeds; +/- is the population standard "
    "deviation over seeds.",
    "comparisons": "Each variant against the one of highest mean: difference in points of percent with its "
    "95 % interval; p of the corrected resampled t test over folds (seeds averaged; over seeds if there is "
    "one fold) after Holm's correction over all pairs; effect size (Cohen's d_z); the smallest difference "
    "found with power 0.8 (none: more than 100 points); McNemar's exact test on pooled predictions.",
    "parameter_counts": "Trainable parameters: attention alone, with the convolutions, with the classifier.",
    "parameter_ranges": "Smallest and largest learned density parameters over all folds and seeds.",
}


def accuracy_per_fold(records: Sequence[RunRecord]) -> pd.DataFrame:
    """Return one row a variant and fold: mean and population standard deviation over seeds."""
    grouped = replica_frame(records).groupby([*CACHE, "variant", "fold", "fold_name"], sort=False)
    frame = grouped["score_percent"].agg(
        mean_percent="mean", std_percent=lambda values: values.std(ddof=0), seeds="count"
    )
    return frame.reset_index()


def parameter_counts(records: Sequence[RunRecord]) -> pd.DataFrame:
    """Return one row a trained variant: its parameters in three countings."""
    rows = [
        {
            "dataset": r.dataset,
            "encoder": r.encoder,
            "variant": r.variant,
            "attention": r.parameters_attention,
            "with_decoder": r.parameters_with_decoder,
            "with_classifier": r.parameters_with_classifier,
        }
        for r in records
        if r.kind == "attention"
    ]
    columns = [*CACHE, "variant", "attention", "with_decoder", "with_classifier"]
    return pd.DataFrame(rows, columns=columns).drop_duplicates([*CACHE, "variant"], ignore_index=True)


def parameter_ranges(records: Sequence[RunRecord]) -> pd.DataFrame:
    """Return one row a variant and kind of density parameter: its range after training."""
    rows = [
        {"dataset": r.dataset, "encoder": r.encoder, "variant": r.variant, "parameter": name}
        | {"minimum": low, "maximum": high}
        for r in records
        for name, (low, high) in r.parameter_ranges.items()
    ]
    keys = [*CACHE, "variant", "parameter"]
    frame = pd.DataFrame(rows, columns=[*keys, "minimum", "maximum"])
    return frame.groupby(keys, sort=False, as_index=False).agg({"minimum": "min", "maximum": "max"})


def mark_best(summary: pd.DataFrame, replicas: pd.DataFrame) -> pd.DataFrame:
    """Return the summary with the column significantly_best (see `significance.best_group`)."""
    marked: set[tuple[str, str, str]] = set()
    for dataset, encoder, cache in caches_of(replicas):
        marked |= {(dataset, encoder, variant) for variant in best_group(compare_replicas(cache))}
    rows = zip(summary["dataset"], summary["encoder"], summary["variant"], strict=True)
    return summary.assign(significantly_best=[row in marked for row in rows])


def make_tables(folders: Sequence[Path]) -> dict[str, pd.DataFrame]:
    """Return every table by name.

    Raises:
        RecordError: if a record or its predictions are missing or damaged.
    """
    records = read_all(folders)
    replicas = replica_frame(records)
    return {
        "accuracy_summary": mark_best(summary_frame(replicas), replicas),
        "accuracy_per_fold": accuracy_per_fold(records),
        "comparisons": comparison_frame(folders),
        "parameter_counts": parameter_counts(records),
        "parameter_ranges": parameter_ranges(records),
    }


def readable(name: str, frame: pd.DataFrame) -> pd.DataFrame:
    """Return a table as a person reads it: titles for names, numbers rounded, mean and spread in one cell."""
    shown = pd.DataFrame({"Dataset": frame["dataset"], "Encoder": frame["encoder"]})
    shown["Variant"] = frame["variant"].map(title_of)
    if name == "accuracy_summary":
        shown["Folds x seeds"] = [f"{f} x {s}" for f, s in zip(frame["folds"], frame["seeds"], strict=True)]
        shown["Accuracy (%)"] = _with_spread(frame["mean_percent"], frame["std_percent"])
        shown["95 % interval"] = _ranges(frame, "low_percent", "high_percent")
        for baseline, title in (("majority", "majority"), ("best_single_layer", "best layer")):
            gain = f"gain_over_{baseline}"
            ranges = _ranges(frame, f"{gain}_low", f"{gain}_high", "+.1f")
            cells = [f"{value:+.1f} ({r})" for value, r in zip(frame[gain], ranges, strict=True)]
            itself = frame["variant"] == baseline
            shown[f"Gain over {title}"] = [c if not s else "" for c, s in zip(cells, itself, strict=True)]
        shown["Best"] = ["best" if best else "" for best in frame["significantly_best"]]
    elif name == "accuracy_per_fold":
        cells = _with_spread(frame["mean_percent"], frame["std_percent"])
        long = shown.assign(fold=frame["fold_name"], cell=cells)
        wide = long.pivot_table(
            index=["Dataset", "Encoder", "Variant"],
            columns="fold",
            values="cell",
            aggfunc="first",
            sort=False,
        )
        shown = wide.reset_index().rename_axis(columns=None).fillna("")
    elif name == "comparisons":
        shown = _readable_comparisons(shown, frame)
    elif name == "parameter_counts":
        titles = {
            "attention": "Attention",
            "with_decoder": "+ convolutions",
            "with_classifier": "+ classifier",
        }
        for column, title in titles.items():
            shown[title] = [f"{int(value):,}" for value in frame[column]]
    else:
        shown["Parameter"] = frame["parameter"].str.replace("_", " ")
        shown["Minimum"] = [f"{value:.4f}" for value in frame["minimum"]]
        shown["Maximum"] = [f"{value:.4f}" for value in frame["maximum"]]
    return shown


def _readable_comparisons(shown: pd.DataFrame, frame: pd.DataFrame) -> pd.DataFrame:
    shown["Against"] = frame["against"].map(title_of)
    ranges = _ranges(frame, "low_percent", "high_percent", "+.1f")
    pairs = zip(frame["difference_percent"], ranges, strict=True)
    shown["Difference (points)"] = [f"{value:+.1f} ({interval})" for value, interval in pairs]
    shown["p (Holm)"] = _probabilities(frame["p_holm"])
    shown["Effect d_z"] = ["" if pd.isna(value) else f"{value:+.2f}" for value in frame["effect"]]
    # No two accuracies are further apart than 100 points: such a table cannot show any difference.
    detectable = frame["detectable_holm_percent"]
    shown["Detectable (points)"] = [
        "" if pd.isna(value) else "none" if value > 100 else f"{value:.1f}" for value in detectable
    ]
    shown["McNemar p (Holm)"] = _probabilities(frame["mcnemar_p_holm"])
    return shown[frame["against_is_best"].to_numpy(bool)]


def _probabilities(values: pd.Series) -> list[str]:
    return ["" if pd.isna(p) else "< 0.001" if p < 0.001 else f"{p:.3f}" for p in values]


def write_tables(folders: Sequence[Path], out: Path) -> list[Path]:
    """Write every table of the records of variant folders; return the paths.

    Raises:
        RecordError: if a record is missing or damaged.
    """
    frames = make_tables(folders)
    for name in TABLES:
        write_table(out, name, frames[name], readable(name, frames[name]), CAPTIONS[name])
    return [out / name for name in table_names()]


def write_table(out: Path, name: str, frame: pd.DataFrame, shown: pd.DataFrame, caption: str) -> list[Path]:
    """Write one table in full precision as CSV, as it is read as Markdown and LaTeX; return the paths."""
    escaped = caption.replace("%", r"\%")
    texts = {
        "csv": frame.to_csv(index=False),
        "md": f"{caption}\n\n{shown.to_markdown(index=False, disable_numparse=True)}\n",
        "tex": shown.to_latex(index=False, escape=True, caption=escaped, label=f"tab:{name}"),
    }
    for ending, text in texts.items():
        write_atomically(out / f"{name}.{ending}", text.encode())
    return [out / f"{name}.{ending}" for ending in texts]


def _with_spread(means: pd.Series, spreads: pd.Series) -> list[str]:
    return [f"{mean:.1f} ± {spread:.1f}" for mean, spread in zip(means, spreads, strict=True)]


def _ranges(frame: pd.DataFrame, low: str, high: str, style: str = ".1f") -> list[str]:
    pairs = zip(frame[low], frame[high], strict=True)
    return ["one run" if pd.isna(a) else f"{a:{style}} to {b:{style}}" for a, b in pairs]
