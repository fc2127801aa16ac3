"""How broadly the trained heads attend."""

import pandas as pd

from daam_bench.analysis.aggregate import CACHE
from daam_bench.analysis.tables.base import Results, Table
from daam_bench.analysis.tables.cells import names

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


def _readable(frame: pd.DataFrame) -> pd.DataFrame:
    shown = names(frame)
    shown["Entropy of"] = frame["entropy"].map(TITLES)
    shown["Heads"] = [str(heads) for heads in frame["heads"]]
    shown["Mean (nats)"] = [f"{value:z.2f}" for value in frame["mean_nats"]]
    heads = zip(frame["lowest_head_nats"], frame["highest_head_nats"], strict=True)
    shown["Heads from, to (nats)"] = [f"{low:z.2f} to {high:z.2f}" for low, high in heads]
    within = zip(frame["low_nats"], frame["high_nats"], strict=True)
    shown["Within a head, 5 % to 95 % (nats)"] = [f"{low:z.2f} to {high:z.2f}" for low, high in within]
    shown["Maximum (nats)"] = [
        "none" if pd.isna(value) else f"{value:.2f}" for value in frame["maximum_nats"]
    ]
    shares = zip(*(frame[f"{name}_share"] for name in ("mean", "low", "high")), strict=True)
    shown["Share of maximum"] = [
        "" if pd.isna(m) else f"{100 * m:.0f} % ({100 * a:.0f} to {100 * b:.0f})" for m, a, b in shares
    ]
    return shown


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
    frame=entropy_frame,
    readable=_readable,
)
