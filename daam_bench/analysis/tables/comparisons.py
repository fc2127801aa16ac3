"""Each variant against the one of highest mean, tested."""

import pandas as pd

from daam_bench.analysis.aggregate import title_of
from daam_bench.analysis.comparisons import comparison_frame
from daam_bench.analysis.marks import marked
from daam_bench.analysis.tables.base import Keys, Results, Run, Table, distinct
from daam_bench.analysis.tables.cells import differences, names, numbers, probabilities
from daam_bench.analysis.tables.sheet import Sheet

# Columns that the number of pairs, or the means of the other variants, have a part in.
_OF_ALL = ("against_is_best", "p_holm", "significant", "detectable_holm_percent", "mcnemar_p_holm")


def _frame(results: Results) -> pd.DataFrame:
    return comparison_frame(results.records, results.places)


def _readable(frame: pd.DataFrame) -> Sheet:
    frame = frame[frame["against_is_best"].to_numpy(bool)]
    sheet = names(frame)
    sheet.words("Against", marked(frame["against"].map(title_of), frame["against_optimistic"]))
    found = differences(frame, "difference_percent", "low_percent", "high_percent")
    sheet.numbers("Difference (points)", "difference_percent", found)
    sheet.numbers("p (Holm)", "p_holm", probabilities(frame["p_holm"]))
    sheet.numbers("Effect d_z", "effect", numbers(frame["effect"], "+z.2f"))
    # No two scores are further apart than 100 points: such a table cannot show any difference.
    detectable = [
        "" if pd.isna(value) else "none" if value > 100 else f"{value:.1f}"
        for value in frame["detectable_holm_percent"]
    ]
    sheet.numbers("Detectable (points)", "detectable_holm_percent", detectable)
    sheet.numbers("McNemar p (Holm)", "mcnemar_p_holm", probabilities(frame["mcnemar_p_holm"]))
    return sheet


def _sources(keys: Keys, column: str, results: Results) -> list[Run]:
    """Both variants; where all pairs of a cache are corrected for, every trained variant."""
    cache = keys["dataset"], keys["encoder"]
    pair = results.of(*cache, keys["variant"], keys["against"])
    return distinct([*pair, *results.trained(*cache)]) if column in _OF_ALL else pair


TABLE = Table(
    title="Which differences hold",
    caption="Each variant against the one of highest mean: difference in points of percent with its "
    "95 % interval; p of the corrected resampled t test over folds (seeds averaged; over seeds if there "
    "is one fold) after Holm's correction over all pairs; effect size (Cohen's d_z); the smallest "
    "difference found with power 0.8 (none: more than 100 points); McNemar's exact test on pooled "
    "predictions. A difference is significant where p (Holm) is below 0.05; with one fold p speaks of other "
    "seeds only, McNemar's p (Holm) has to be below 0.05 in the same direction, and what is found holds for "
    "this split alone. Differences that are equal on all units have neither interval nor p.",
    section="scores",
    keys=("dataset", "encoder", "variant", "against"),
    number="difference_percent",
    frame=_frame,
    readable=_readable,
    sources=_sources,
)
