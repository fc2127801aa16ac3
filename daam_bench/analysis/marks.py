"""The mark of results that the samples which score them have steered (D5, D6), in every table."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

import pandas as pd

from daam_bench.records import RunRecord

MARK = "*"
NOTE = f"{MARK} optimistic: the samples that score the model chose its epoch, or when its learning rate fell."
Place = tuple[str, str, str]


def is_optimistic(protocol: Mapping[str, Any]) -> bool:
    """Return whether under a protocol the samples that score a model chose its epoch, or lowered its rate."""
    select = protocol.get("select")
    return select == "best_validation" or (protocol.get("schedule") == "plateau" and select != "inner")


def optimistic_places(records: Sequence[RunRecord]) -> set[Place]:
    """Return the dataset, encoder and variant of the results that the mark is for."""
    return {(r.dataset, r.encoder, r.variant) for r in records if is_optimistic(r.protocol)}


def add_optimistic(frame: pd.DataFrame, places: Collection[Place]) -> pd.DataFrame:
    """Return a frame with the column `optimistic`, if its rows are of variants.

    A second variant (`against`) has a column of its own. A frame that says of each row whether it is
    optimistic, as those of derived runs do, stays as it is.
    """
    flags = {"variant": "optimistic", "against": "against_optimistic"}
    for column, flag in flags.items():
        if {"dataset", "encoder", column} <= set(frame) and flag not in frame:
            rows = zip(frame["dataset"], frame["encoder"], frame[column], strict=True)
            found = [place in places for place in rows]
            frame = frame.assign(**{flag: pd.Series(found, index=frame.index, dtype=bool)})
    return frame


def marked(texts: Iterable[str], flags: Iterable[bool]) -> list[str]:
    """Return texts with the mark behind those that are optimistic; nothing stays nothing."""
    return [f"{text}{MARK}" if text and flag else text for text, flag in zip(texts, flags, strict=True)]
