"""Decode recordings and images of a dataset, with bounds on what a hostile file can cost."""

import io
import math
from collections.abc import Hashable, Mapping
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import soundfile
from PIL import Image, ImageOps, UnidentifiedImageError
from scipy.signal import resample_poly

from daam_bench.errors import DataError

# Far beyond any encoder's input, and small enough to decode anywhere.
_MOST_PIXELS = 64_000_000
# The resampling filter grows with the rate, which a broken header may put at billions.
_HIGHEST_RATE = 1_000_000


def read_audio(
    row: Mapping[Hashable, Any], folder: Path, rate: int, most_seconds: float
) -> npt.NDArray[np.float32]:
    """Return a recording, or the clip of it that the row bounds, as mono [time] at `rate` Hz in [-1, 1].

    Raises:
        DataError: if it cannot be decoded, is empty, holds values that are not finite, or is longer than
            `most_seconds`.
    """
    try:
        with soundfile.SoundFile(_source(row, folder)) as handle:
            found = handle.samplerate
            if not 1 <= found <= _HIGHEST_RATE:
                raise DataError(f"audio of {found} samples a second", expected="at most 1 million")
            start, stop = row.get("start_second", math.nan), row.get("stop_second", math.nan)
            handle.seek(0 if math.isnan(start) else min(round(start * found), handle.frames))
            wanted = most_seconds if math.isnan(stop) else stop - start
            # One frame more shows that there is more: the header's length is not to be believed.
            frames = min(round(wanted * found), round(most_seconds * found))
            samples = handle.read(frames + math.isnan(stop), dtype="float32", always_2d=True).mean(axis=1)
    except (OSError, RuntimeError, ValueError) as error:  # soundfile's errors are RuntimeErrors
        raise DataError(f"audio cannot be read ({error})") from None
    if not len(samples):
        raise DataError("the clip has length zero")
    if math.isnan(stop) and len(samples) > frames:
        raise DataError(
            f"longer than {most_seconds:g} s",
            remedy="Set datasets.<name>.clip_seconds to cut recordings into clips.",
        )
    if not np.isfinite(samples).all():
        raise DataError("audio has values that are not finite")
    ratio = Fraction(rate, found)
    resampled = resample_poly(samples, ratio.numerator, ratio.denominator) if ratio != 1 else samples
    return np.ascontiguousarray(resampled, dtype=np.float32)


def read_image(row: Mapping[Hashable, Any], folder: Path) -> Image.Image:
    """Return an image as RGB, upright; what is transparent becomes white.

    Raises:
        DataError: if it cannot be decoded or is absurdly large.
    """
    try:
        with Image.open(_source(row, folder)) as image:
            if image.width * image.height > _MOST_PIXELS:
                raise DataError(
                    f"image of {image.width} x {image.height} pixels", expected="at most 64 million"
                )
            upright = ImageOps.exif_transpose(image)
            if upright.mode.startswith(("I", "F")):  # 16 bits and more: PIL would clip, not scale
                values = np.asarray(upright, dtype=np.float64)
                upright = Image.fromarray((values * (255 / max(values.max(), 1))).astype(np.uint8))
            if not upright.has_transparency_data:
                return upright.convert("RGB")
            layered = upright.convert("RGBA")
            return Image.alpha_composite(Image.new("RGBA", layered.size, "white"), layered).convert("RGB")
    except (
        OSError,
        SyntaxError,  # PIL's word for a broken PNG
        ValueError,
        UnidentifiedImageError,
        Image.DecompressionBombError,
        Image.DecompressionBombWarning,
    ) as error:
        raise DataError(f"image cannot be read ({error})") from None


def _source(row: Mapping[Hashable, Any], folder: Path) -> Any:
    content = row.get("content")
    return io.BytesIO(content) if isinstance(content, bytes) else folder / str(row["file"])
