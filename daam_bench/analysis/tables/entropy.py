"""How broadly the trained heads attend."""

import pandas as pd

from daam_bench.analysis.aggregate import CACHE
from daam_bench.analysis.tables.base import Results, Table
from daam_bench.analysis.tables.cells import names, numbers, ranges
from daam_bench.analysis.tables.sheet import Sheet

TITLES = {
    "gaussian": "Gaussian (differential)",
    "density": "density over layers",
    "softmax": "softmax",
}
_KEYS = [*CACHE, "variant", "entropy"]
COLUMNS = (
    *_KEYS,
    "heads",
    "runs",
    "mean_nats",
    "lowest_head_nats",
    "highest_head_nats",
    "low_nats",
    "high_nats",
    "maximum_nats",
    "mean_share",
    "low_share",
    "high_share",
)


def entropy_frame(results: Results) -> pd.DataFrame:
    """Return one row a variant and kind of entropy (`COLUMNS`), over heads, folds and seeds; in nats.

    `mean_nats` is the mean over heads and runs; lowest and highest head: of the mean over runs of each head;
    `low_nats` and `high_nats`: mean over heads and runs of the 5 % and 95 % quantiles within a head; the
    three shares are of the maximum, nan for the Gaussian, which has none.
    """
    rows = [
        {"dataset": r.dataset, "encoder": r.encoder, "variant": r.variant, "run": r.stem}
        | {"entropy": e.kind}
        | e.model_dump(exclude={"kind"})
        for r in results.records
        for e in r.entropies
    ]
    if not rows:
        return pd.DataFrame(columns=[*COLUMNS])
    long = pd.DataFrame(rows).astype({"maximum": "float64"})
    found = [
        dict(zip(_KEYS, keys, strict=True)) | _summary(part) for keys, part in long.groupby(_KEYS, sort=False)
    ]
    return pd.DataFrame(found, columns=[*COLUMNS])


def _summary(part: pd.DataFrame) -> dict[str, float]:
    heads = part.groupby("head")["mean"].mean()
    shares = {f"{name}_share": (part[name] / part["maximum"]).mean() for name in ("mean", "low", "high")}
    return {
        "heads": len(heads),
        "runs": part["run"].nunique(),
        "mean_nats": part["mean"].mean(),
        "lowest_head_nats": heads.min(),
        "highest_head_nats": heads.max(),
        "low_nats": part["low"].mean(),
        "high_nats": part["high"].mean(),
        "maximum_nats": part["maximum"].mean(),
    } | shares


def _readable(frame: pd.DataFrame) -> Sheet:
    sheet = names(frame)
    sheet.words("Entropy of", frame["entropy"].map(TITLES))
    sheet.numbers("Heads", "heads", numbers(frame["heads"], ".0f"))
    sheet.numbers("Mean (nats)", "mean_nats", numbers(frame["mean_nats"], "z.2f"))
    for heading, low, high in (
        ("Heads from, to (nats)", "lowest_head_nats", "highest_head_nats"),
        ("Within a head, 5 % to 95 % (nats)", "low_nats", "high_nats"),
    ):
        sheet.numbers(heading, low, ranges(frame, low, high, "z.2f"))
    sheet.numbers("Maximum (nats)", "maximum_nats", numbers(frame["maximum_nats"], ".2f", none="none"))
    shares = zip(*(frame[f"{name}_share"] for name in ("mean", "low", "high")), strict=True)
    texts = ["" if pd.isna(m) else f"{100 * m:.0f} % ({100 * a:.0f} to {100 * b:.0f})" for m, a, b in shares]
    sheet.numbers("Share of maximum", "mean_share", texts)
    return sheet


TABLE = Table(
    title="How broadly heads attend",
    caption="Entropy of the trained heads in nats, on up to 512 validation samples of each run: mean "
    "over heads, folds and seeds; lowest and highest mean of a head; within a head the 5 % and 95 % "
    "quantiles over samples and features (density) or samples and queries (softmax). Gaussian: the "
    "paper's formula, the differential entropy of the product of a head's Gaussians in units of its "
    "slice's standard deviation, over features; it may be negative, has no maximum and cannot be held "
    "against the others. Density over layers: the density divided by its sum over the layers of its head. "
    "Softmax: attention weights. These two run from 0 (one position has all) to the logarithm of the "
    "number of positions, and their shares of it can be compared.",
    section="importance",
    keys=tuple(_KEYS),
    number="mean_nats",
    frame=entropy_frame,
    readable=_readable,
)
