"""Look for samples that a model would be trained on and scored on at once."""

import logging

import pandas as pd

from daam_bench.config import DatasetConfig, FoldRule
from daam_bench.errors import DataError


def check_leakage(samples: pd.DataFrame, config: DatasetConfig, rows: str) -> pd.DataFrame:
    """Return what `find_leakage` finds, if there is nothing or the configuration accepts it.

    Args:
        samples: table from `list_samples`.
        config: its fold rule, and whether leakage is accepted.
        rows: file that all rows found are written to before the run stops.

    Raises:
        DataError: with the first rows, if samples leak and the configuration does not accept it.
    """
    found = find_leakage(samples, config.folds)
    if len(found) and not config.accept_leakage:
        found.to_csv(rows, index=False)
        first = "; ".join(f"{r.sample_id} in {r.part} ({r.reason})" for r in found.head(4).itertuples())
        raise DataError(
            "samples that are trained on and scored on at once",
            where=config.path,
            found=f"{len(found)}: {first}",
            remedy=f"All are in {rows}. Remove them, or say datasets.<name>.accept_leakage: true.",
        )
    if len(found):
        logging.warning("%d samples leak between splits, which the configuration accepts", len(found))
    return found


def find_leakage(samples: pd.DataFrame, rule: FoldRule) -> pd.DataFrame:
    """Return the samples that have a twin in another split: columns sample_id, part, reason.

    A part is what the fold rule keeps apart: the split (split_column) or the group (rules by group). The rule
    `stratified` deals samples of equal content together, so nothing can leak.

    Args:
        samples: table from `list_samples`, with `content_key`.
        rule: how samples are dealt to folds.
    """
    if rule.rule == "stratified":
        return pd.DataFrame(columns=["sample_id", "part", "reason"])
    by_split = rule.rule == "split_column"
    used = samples[samples["split"].isin(["train", "validation"])] if by_split else samples
    part = used["split"] if by_split else used["group"]
    # Clips of one recording share what stands before the @.
    checks = {"equal content": used["content_key"].str.split("@").str[0]}
    if by_split:
        checks["one group"] = used["group"].where(used["group"] != "")
    found = []
    for reason, key in checks.items():
        table = pd.DataFrame({"sample_id": used["sample_id"], "part": part, "reason": reason, "twin": key})
        spread = table.groupby("twin")["part"].transform("nunique")
        found.append(table[spread > 1].sort_values(["twin", "part"]).drop(columns="twin"))
    return pd.concat(found, ignore_index=True)
