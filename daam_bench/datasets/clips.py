"""Cut recordings into clips; only their bounds are noted here, the encoder reads the samples."""

import io
import math
from collections.abc import Hashable, Mapping
from contextlib import suppress
from pathlib import Path

import pandas as pd

from daam_bench.contents import bounds_of, open_stream, read_sample
from daam_bench.errors import MachineError

# A remainder below this has too few samples for any speech encoder's first frame (25 ms).
SHORTEST_SECONDS = 0.025
# A recording beyond this is none that is cut: a file of a few bytes can claim any length.
_LONGEST_SECONDS = 86400.0
_BLOCK = 2**16


def cut_into_clips(frame: pd.DataFrame, folder: Path, seconds: float) -> pd.DataFrame:
    """Return one row a clip: `sample_id` gets `#k`, `start_second` and `stop_second` bound it.

    The remainder is a clip of its own with the same label (method.md section 2). A recording that cannot be
    read, or is longer than a day, stays one row, for the extraction to quarantine with the reason.

    Args:
        frame: table of samples with content_key and `file` or `content`.
        folder: what `file` is relative to.
        seconds: length of a clip.

    Raises:
        MachineError: if the machine cannot read a file.
    """
    bounds = [list(_bounds(_duration(row, folder), seconds)) for row in frame.to_dict("records")]
    repeated = frame.loc[frame.index.repeat([len(clips) for clips in bounds])].reset_index(drop=True)
    flat = [(number, *clip) for clips in bounds for number, clip in enumerate(clips)]
    keys = zip(repeated["content_key"], flat, strict=True)
    return repeated.assign(
        content_key=[f"{key}@{bounds_of(start, stop)}" for key, (_, start, stop) in keys],
        sample_id=[f"{name}#{clip[0]}" for name, clip in zip(repeated["sample_id"], flat, strict=True)],
        start_second=[clip[1] for clip in flat],
        stop_second=[clip[2] for clip in flat],
    )


def _bounds(duration: float, seconds: float) -> list[tuple[float, float]]:
    if duration > _LONGEST_SECONDS:
        return [(math.nan, math.nan)]
    starts = [index * seconds for index in range(int(duration // seconds))]
    clips = [(start, start + seconds) for start in starts]
    rest = len(clips) * seconds
    if duration - rest >= SHORTEST_SECONDS or not clips:
        clips.append((rest, rest + seconds))
    return clips


def _duration(row: Mapping[Hashable, object], folder: Path) -> float:
    """Return the seconds of a recording; 0 if it cannot be read."""
    content = row.get("content")
    try:
        if not isinstance(content, bytes):
            content, _ = read_sample(folder, str(row["file"]))
        return _seconds(content)
    except (MachineError, MemoryError):
        raise
    except Exception:  # a broken file makes the decoder raise anything
        return 0.0


def _seconds(content: bytes) -> float:
    """Return what the header says if the last frame is there; else what there is, up to a bound."""
    import soundfile

    with suppress(RuntimeError), soundfile.SoundFile(io.BytesIO(content)) as handle:
        handle.seek(handle.frames - 1)
        if len(handle.read(1)):
            return float(handle.frames / handle.samplerate)
    frames = 0
    with open_stream(content) as handle:
        with suppress(RuntimeError):  # the end is cut off
            while frames <= _LONGEST_SECONDS * handle.samplerate and (read := len(handle.read(_BLOCK))):
                frames += read
        return float(frames / handle.samplerate)
