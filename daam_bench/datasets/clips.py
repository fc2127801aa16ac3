"""Cut recordings into clips; only their bounds are noted here, the encoder reads the samples."""

import io
from collections.abc import Hashable, Mapping
from pathlib import Path

import pandas as pd

# A remainder below this has too few samples for any speech encoder's first frame (25 ms).
SHORTEST_SECONDS = 0.025


def cut_into_clips(frame: pd.DataFrame, folder: Path, seconds: float) -> pd.DataFrame:
    """Return one row a clip: `sample_id` gets `#k`, `start_second` and `stop_second` bound it.

    The remainder is a clip of its own with the same label (method.md section 2). A recording that cannot be
    read stays one row, for the extraction to quarantine with the reason.

    Args:
        frame: table of samples with content_key and `file` or `content`.
        folder: what `file` is relative to.
        seconds: length of a clip.
    """
    bounds = [list(_bounds(_duration(row, folder), seconds)) for row in frame.to_dict("records")]
    repeated = frame.loc[frame.index.repeat([len(clips) for clips in bounds])].reset_index(drop=True)
    flat = [(number, *clip) for clips in bounds for number, clip in enumerate(clips)]
    keys = zip(repeated["content_key"], flat, strict=True)
    return repeated.assign(
        content_key=[f"{key}@{start:g}-{stop:g}" for key, (_, start, stop) in keys],
        sample_id=[f"{name}#{clip[0]}" for name, clip in zip(repeated["sample_id"], flat, strict=True)],
        start_second=[clip[1] for clip in flat],
        stop_second=[clip[2] for clip in flat],
    )


def _bounds(duration: float, seconds: float) -> list[tuple[float, float]]:
    starts = [index * seconds for index in range(int(duration // seconds))]
    clips = [(start, start + seconds) for start in starts]
    rest = len(clips) * seconds
    if duration - rest >= SHORTEST_SECONDS or not clips:
        clips.append((rest, rest + seconds))
    return clips


def _duration(row: Mapping[Hashable, object], folder: Path) -> float:
    import soundfile

    source = row.get("content")
    try:
        handle = io.BytesIO(source) if isinstance(source, bytes) else folder / str(row["file"])
        return float(soundfile.info(handle).duration)
    except (OSError, RuntimeError):  # soundfile's errors are RuntimeErrors
        return 0.0
