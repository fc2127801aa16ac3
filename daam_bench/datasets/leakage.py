"""Look for samples that a model would be trained on and scored on at once."""

import logging

import pandas as pd

from daam_bench.config import DatasetConfig, FoldRule
from daam_bench.contents import recording_of
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
    """Return the samples that have a twin in another part: columns sample_id, part, reason.

    A part is what the rule keeps apart. Twins have equal content, are clips of one recording, or are of one
    group.

    - split_column keeps splits apart: twins of all kinds are looked for.
    - leave_one_group_out keeps groups apart: equal content is looked for.
    - stratified deals recordings as a whole and equal content together, but not groups: these are looked for,
      where there are several.
    - stratified_by_group deals groups as a whole, and those that share content together: nothing can leak.

    Args:
        samples: table from `list_samples`, with `content_key`.
        rule: how samples are dealt to folds.
    """
    used = samples
    if rule.rule == "split_column":
        used = samples[samples["split"].isin(["train", "validation"])]
    recording, group = used["content_key"].map(recording_of), used["group"].where(used["group"] != "")
    several = len(set(group.dropna())) > 1
    checks = {
        "split_column": [("equal content", used["split"], recording), ("one group", used["split"], group)],
        "leave_one_group_out": [("equal content", used["group"], recording)],
        "stratified": [("one group", recording, group)] if several else [],
        "stratified_by_group": [],
    }[rule.rule]
    found = [pd.DataFrame(columns=["sample_id", "part", "reason"])]
    for reason, part, key in checks:
        table = pd.DataFrame({"sample_id": used["sample_id"], "part": part, "reason": reason, "twin": key})
        spread = table.groupby("twin")["part"].transform("nunique")
        if rule.rule == "stratified":  # recordings have no name that says anything
            table["part"] = "any part, of group " + table["twin"]
        found.append(table[spread > 1].sort_values(["twin", "part"]).drop(columns="twin"))
    return pd.concat(found, ignore_index=True)
