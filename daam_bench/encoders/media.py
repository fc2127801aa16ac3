"""Decode recordings and images of a dataset, with bounds on what a hostile file can cost."""

import io
import math
import re
from collections.abc import Hashable, Mapping
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import soundfile
from PIL import Image, ImageOps
from scipy.signal import resample_poly

from daam_bench.contents import UNKNOWN_LENGTH, check_listed, open_stream, read_sample, recording_of
from daam_bench.encoders.cut_recordings import check_whole
from daam_bench.errors import DaamBenchError, DataError

# Far beyond any encoder's input, and small enough to decode anywhere.
_MOST_PIXELS = 64_000_000
# Processors that scale the shorter side to hundreds of pixels make millions of a thin image's longer side.
_MOST_TIMES_LONGER = 100
# The resampling filter grows with the rate, which a broken header may put at billions.
_HIGHEST_RATE = 1_000_000
_BLOCK = 2**16
_OBJECT = re.compile(r"(Error opening )?<[^<>]* object at 0x[0-9a-f]+>(: )?")
# Others that PIL knows start programs (EPS: Ghostscript) or are no pictures.
_FORMATS = ("BMP", "GIF", "JPEG", "PNG", "TIFF", "WEBP")


def read_audio(
    row: Mapping[Hashable, Any], folder: Path, rate: int, most_seconds: float
) -> npt.NDArray[np.float32]:
    """Return a recording, or the clip of it that the row bounds, as mono [time] at `rate` Hz in [-1, 1].

    Raises:
        DataError: if it cannot be decoded, is cut off, empty or silent, holds values that are not finite, is
            longer than `most_seconds`, or changed since it was listed.
        MachineError: if the machine cannot read its file.
        RecordError: if its content in the listing is damaged.
    """
    content = _content(row, folder)
    check_whole(content)
    start, stop = row.get("start_second", math.nan), row.get("stop_second", math.nan)
    try:
        with _open_at(content, 0.0 if math.isnan(start) else start) as handle:
            found = handle.samplerate
            wanted = most_seconds if math.isnan(stop) else stop - start
            # One frame more shows that there is more: the header's length is not to be believed.
            frames = min(round(wanted * found), round(most_seconds * found))
            samples = handle.read(frames + math.isnan(stop), dtype="float32", always_2d=True).mean(axis=1)
    except (DaamBenchError, MemoryError):
        raise
    except Exception as error:  # a broken file makes the decoder raise anything
        raise DataError(f"audio cannot be read ({_reason(error)})") from None
    if not len(samples):
        raise DataError("the clip has length zero")
    if math.isnan(stop) and len(samples) > frames:
        raise DataError(
            f"longer than {most_seconds:g} s",
            remedy="Set datasets.<name>.clip_seconds to cut recordings into clips.",
        )
    if not np.isfinite(samples).all():
        raise DataError("audio has values that are not finite")
    if not samples.any():
        raise DataError("the clip is silent: all its values are zero")
    ratio = Fraction(rate, found)
    resampled = resample_poly(samples, ratio.numerator, ratio.denominator) if ratio != 1 else samples
    return np.ascontiguousarray(resampled, dtype=np.float32)


def _open_at(content: bytes, second: float) -> soundfile.SoundFile:
    """Return a recording, opened at a time; one of unknown length is read up to there."""
    handle = soundfile.SoundFile(io.BytesIO(content))
    if not 1 <= handle.samplerate <= _HIGHEST_RATE:
        raise DataError(f"audio of {handle.samplerate} samples a second", expected="at most 1 million")
    start = round(second * handle.samplerate)
    if handle.frames < UNKNOWN_LENGTH:
        handle.seek(min(start, handle.frames))
        return handle
    stream = open_stream(content)
    while start and (read := len(stream.read(min(start, _BLOCK)))):
        start -= read
    return stream


def read_image(row: Mapping[Hashable, Any], folder: Path) -> Image.Image:
    """Return an image as RGB, upright; what is transparent becomes white.

    Raises:
        DataError: if it cannot be decoded, is absurdly large or thin, has pixels of 32 bits, or changed since
            it was listed.
        MachineError: if the machine cannot read its file.
        RecordError: if its content in the listing is damaged.
    """
    content = _content(row, folder)
    try:
        with Image.open(io.BytesIO(content), formats=_FORMATS) as image:
            if image.width * image.height > _MOST_PIXELS:
                raise DataError(
                    f"image of {image.width} x {image.height} pixels", expected="at most 64 million"
                )
            if max(image.size) > _MOST_TIMES_LONGER * min(image.size):
                raise DataError(
                    f"image of {image.width} x {image.height} pixels",
                    expected=f"a longer side of at most {_MOST_TIMES_LONGER} times the shorter",
                )
            upright = _eight_bits(ImageOps.exif_transpose(image))
            if not upright.has_transparency_data:
                return upright.convert("RGB")
            layered = upright.convert("RGBA")
            return Image.alpha_composite(Image.new("RGBA", layered.size, "white"), layered).convert("RGB")
    except (DaamBenchError, MemoryError):
        raise
    except Exception as error:  # a broken file makes the decoder raise anything, bent EXIF a TypeError
        raise DataError(f"image cannot be read ({_reason(error)})") from None


def _reason(error: Exception) -> str:
    """Return what an error says, without the object in memory that it names: manifests have the reason."""
    return " ".join(_OBJECT.sub("", str(error)).split()) or type(error).__name__


def _eight_bits(image: Image.Image) -> Image.Image:
    """Return an image with 16 bits a pixel scaled to 8, which PIL would clip; others as they are."""
    if image.mode in {"I", "F"}:
        raise DataError(
            "image of 32 bits a pixel, whose range is not known",
            remedy="Save it with 8 or 16 bits.",
        )
    if image.mode.startswith("I;16"):
        return Image.fromarray((np.asarray(image) // 257).astype(np.uint8))
    return image


def _content(row: Mapping[Hashable, Any], folder: Path) -> bytes:
    """Return the bytes of a sample; they, or its file, must still be what was listed."""
    check_listed(row)
    content = row.get("content")
    if isinstance(content, bytes):
        return content
    content, digest = read_sample(folder, str(row["file"]))
    if not content:
        raise DataError("the file is empty")
    listed = recording_of(row.get("content_key") or digest)
    if listed != digest:
        raise DataError("the file changed since it was listed", remedy="Run snakemake again.")
    return content
