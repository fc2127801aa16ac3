"""Open images and recordings as far as their headers, to say early what an extraction could not read."""

import io
from pathlib import Path
from typing import Any

import pandas as pd

from daam_bench.config import Modality
from daam_bench.errors import DataError


def unreadable(frame: pd.DataFrame, modality: Modality) -> tuple[list[str], float]:
    """Return the samples whose file has no readable header, and the length of the longest recording (s).

    Raises:
        DataError: if no file is readable.
    """
    folder = Path(frame.attrs["folder"])
    bad, longest = [], 0.0
    for row in frame.to_dict("records"):
        try:
            source = row.get("content")
            handle = io.BytesIO(source) if isinstance(source, bytes) else folder / str(row["file"])
            longest = max(longest, _seconds(handle) if modality == "speech" else _look(handle))
        except (OSError, RuntimeError, SyntaxError, ValueError):  # of a broken file, in soundfile and PIL
            bad.append(str(row["sample_id"]))
    if len(bad) == len(frame):
        raise DataError(f"none of its files can be decoded as {modality}", where=folder, found=bad[0])
    return bad, longest


def _seconds(source: Any) -> float:
    import soundfile

    return float(soundfile.info(source).duration)


def _look(source: Any) -> float:
    from PIL import Image

    try:
        with Image.open(source):
            return 0.0
    except Image.DecompressionBombError as error:
        raise OSError(str(error)) from None
