"""Each variant against the one of highest mean, tested."""

import pandas as pd

from daam_bench.analysis.aggregate import title_of
from daam_bench.analysis.comparisons import comparison_frame
from daam_bench.analysis.tables.base import Results, Table
from daam_bench.analysis.tables.cells import names, numbers, probabilities, ranges


def _frame(results: Results) -> pd.DataFrame:
    return comparison_frame(results.folders)


def _readable(frame: pd.DataFrame) -> pd.DataFrame:
    shown = names(frame)
    shown["Against"] = frame["against"].map(title_of)
    spans = ranges(frame, "low_percent", "high_percent", "+.1f")
    pairs = zip(frame["difference_percent"], spans, strict=True)
    shown["Difference (points)"] = [f"{value:+.1f} ({span})" for value, span in pairs]
    shown["p (Holm)"] = probabilities(frame["p_holm"])
    shown["Effect d_z"] = numbers(frame["effect"], "+.2f")
    # No two scores are further apart than 100 points: such a table cannot show any difference.
    shown["Detectable (points)"] = [
        "" if pd.isna(value) else "none" if value > 100 else f"{value:.1f}"
        for value in frame["detectable_holm_percent"]
    ]
    shown["McNemar p (Holm)"] = probabilities(frame["mcnemar_p_holm"])
    return shown[frame["against_is_best"].to_numpy(bool)]


TABLE = Table(
    title="Which differences hold",
    caption="Each variant against the one of highest mean: difference in points of percent with its "
    "95 % interval; p of the corrected resampled t test over folds (seeds averaged; over seeds if there "
    "is one fold) after Holm's correction over all pairs; effect size (Cohen's d_z); the smallest "
    "difference found with power 0.8 (none: more than 100 points); McNemar's exact test on pooled "
    "predictions.",
    frame=_frame,
    readable=_readable,
)
