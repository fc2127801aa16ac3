"""The mark of results whose epoch was chosen on the samples that score them (D6), in every table."""

from collections.abc import Collection, Sequence

import pandas as pd

from daam_bench.records import RunRecord

OPTIMISTIC = "best_validation"
MARK = "*"
NOTE = f"{MARK} optimistic: the samples that score the model chose its epoch."
Place = tuple[str, str, str]
# Headings of readable tables that name a variant, and the column of the frame that it is taken from.
_NAMING = {"Variant": "variant", "Against": "against"}


def optimistic_places(records: Sequence[RunRecord]) -> set[Place]:
    """Return the dataset, encoder and variant of the results that the mark is for."""
    return {(r.dataset, r.encoder, r.variant) for r in records if r.protocol.get("select") == OPTIMISTIC}


def add_optimistic(frame: pd.DataFrame, places: Collection[Place]) -> pd.DataFrame:
    """Return a frame with the column `optimistic`, if its rows are of variants."""
    if not {"dataset", "encoder", "variant"} <= set(frame):
        return frame
    flags = [place in places for place in _places(frame, "variant")]
    return frame.assign(optimistic=pd.Series(flags, index=frame.index, dtype=bool))


def mark_optimistic(shown: pd.DataFrame, frame: pd.DataFrame, places: Collection[Place]) -> pd.DataFrame:
    """Return a readable table with the mark behind the variants that it is for.

    Args:
        shown: its index holds rows of `frame`.
        frame: the labelled values.
        places: of `optimistic_places`.
    """
    marked = shown.copy()
    for heading, column in _NAMING.items():
        if heading in shown and column in frame:
            found = _places(frame.loc[shown.index], column)
            pairs = zip(shown[heading], found, strict=True)
            marked[heading] = [f"{text}{MARK}" if text and place in places else text for text, place in pairs]
    return marked


def caption_with_note(caption: str, shown: pd.DataFrame) -> str:
    """Return a caption that explains the mark, if the readable table has it."""
    named = [str(name) for heading in _NAMING if heading in shown for name in shown[heading]]
    return f"{caption} {NOTE}" if any(name.endswith(MARK) for name in named) else caption


def _places(frame: pd.DataFrame, column: str) -> list[Place]:
    return list(zip(frame["dataset"], frame["encoder"], frame[column], strict=True))
