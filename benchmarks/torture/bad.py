"""Good samples, and ways to be bad: each has a name, and says whether it must be refused."""

import gzip
import io
import random
import struct
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
import pandas as pd
import soundfile
import yaml
from PIL import Image

RATE = 16000
LONGEST = 60.0  # seconds of a recording
_EPS = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n%%EndComments\nshowpage\n%%EOF\n"


@dataclass(frozen=True)
class Way:
    """One way to be bad.

    Attributes:
        name: for the counts.
        make: an input, drawn.
        refuse: whether it must be refused; of what was bent at random nobody can say.
        weight: how often it is drawn, beside the others.
    """

    name: str
    make: Callable[[random.Random], Any]
    refuse: bool = True
    weight: int = 1


def draw(ways: Sequence[Way], random_: random.Random) -> tuple[Any, Way]:
    """Return an input and what is bad about it."""
    (way,) = random_.choices(ways, [way.weight for way in ways])
    return way.make(random_), way


def _tone(random_: random.Random) -> Any:
    return np.sin(np.arange(random_.randint(1, 3000)) * 0.1 + 0.1).astype(np.float32)


def _wav(samples: Any, rate: int = RATE, subtype: str = "PCM_16", kind: str = "WAV") -> bytes:
    buffer = io.BytesIO()
    soundfile.write(buffer, samples, rate, format=kind, subtype=subtype)
    return buffer.getvalue()


def _cut_recording(random_: random.Random) -> bytes:
    """Return a recording of which at least one sample is missing."""
    kind, subtype = random_.choice(_RECORDINGS)
    whole = _wav(_tone(random_), subtype=subtype, kind=kind)
    return whole[: random_.randrange(min(44, len(whole) // 2), len(whole) - 8)]  # padding is no sample


def _not_finite(random_: random.Random) -> bytes:
    tone = _tone(random_)
    tone[random_.randrange(len(tone))] = random_.choice([np.nan, np.inf, -np.inf])
    return _wav(tone, subtype="FLOAT")


def _too_long(random_: random.Random) -> bytes:
    return _of_seconds(random_.choice([LONGEST + 1, 10 * LONGEST]))


@cache
def _of_seconds(seconds: float) -> bytes:
    return _wav(np.sin(np.arange(int(seconds * 800)) * 0.1), rate=800)


def _image(random_: random.Random, kind: str = "PNG") -> bytes:
    buffer = io.BytesIO()
    pixels = np.frombuffer(random_.randbytes(9 * 7 * 3), np.uint8).reshape(9, 7, 3)
    Image.fromarray(pixels).save(buffer, kind)
    return buffer.getvalue()


def _cut_image(random_: random.Random) -> bytes:
    """Return an image of which at least one pixel is missing."""
    whole = _image(random_, random_.choice(_KINDS))
    return whole[: random_.randrange(60, len(whole) - 24)]  # PNG ends with checksums


def _float_image(random_: random.Random) -> bytes:
    buffer = io.BytesIO()
    pixels = np.array([[0.0, random_.choice([np.nan, np.inf])], [1.0, 0.5]], np.float32)
    Image.fromarray(pixels).save(buffer, "TIFF")
    return buffer.getvalue()


def _chunk(name: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))


def _bomb(random_: random.Random) -> bytes:
    """Return a PNG of a few kilobytes that declares up to 30,000 x 30,000 pixels."""
    side = random_.choice([9000, 20000, 30000])
    head = struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0)
    rows = zlib.compress(bytes(200_000), 9)
    return b"\x89PNG\r\n\x1a\n" + _chunk(b"IHDR", head) + _chunk(b"IDAT", rows) + _chunk(b"IEND", b"")


def _noise(random_: random.Random) -> bytes:
    return b"noise" + random_.randbytes(random_.randint(0, 200))


def bent(data: bytes, random_: random.Random) -> bytes:
    """Return data cut, with flipped bytes, doubled, or with a piece replaced."""
    way = random_.randrange(5)
    changed = bytearray(data)
    if way == 0:
        return data[: random_.randrange(len(data))]
    if way == 1:
        for _ in range(random_.randint(1, 20)):
            changed[random_.randrange(len(changed))] = random_.randrange(256)
        return bytes(changed)
    if way == 2:
        at = random_.randrange(len(data))
        return data[:at] + random_.randbytes(random_.randint(1, 40)) + data[at:]
    if way == 3:
        return random_.randbytes(random_.randint(0, 200))
    at = random_.randrange(max(1, min(60, len(data) - 4)))  # headers hold sizes
    changed[at : at + 4] = struct.pack("<I", random_.choice([0, 1, 2**31 - 1, 2**31, 2**32 - 1]))
    return bytes(changed)


def _characters(random_: random.Random) -> str:
    found = (random_.randrange(0x110000) for _ in range(random_.randint(1, 60)))
    return "".join(chr(code) for code in found if not 0xD800 <= code < 0xE000) or "x"


def _half(random_: random.Random) -> str:
    """Return a text with half of a surrogate pair in it."""
    text = _characters(random_)
    at = random_.randrange(len(text) + 1)
    return text[:at] + chr(random_.randrange(0xDC00, 0xE000)) + text[at:]


def _rows(random_: random.Random) -> list[str]:
    """Return a table as it should be."""
    return ["text,label,group", *(f"t{n},{n % 2},g{n % 3}" for n in range(random_.randint(2, 9)))]


def _bent_table(random_: random.Random) -> tuple[str, bytes]:
    data = "\n".join(_rows(random_)).encode(random_.choice(["utf-8", "utf-16", "latin-1"]))
    data = bent(data + b"\n" + random_.randbytes(random_.randint(0, 60)), random_)
    return random_.choice(["t.csv", "t.tsv", "t.parquet", "t.png"]), data


def _changed_table(random_: random.Random, change: Callable[[str], str], line: int) -> tuple[str, bytes]:
    """Return a table with one line changed; line -1 is any but the first."""
    lines = _rows(random_)
    at = random_.randrange(1, len(lines)) if line < 0 else line
    lines[at] = change(lines[at])
    return "t.csv", "\n".join(lines).encode(errors="surrogateescape")


def _other_table(random_: random.Random) -> tuple[str, bytes]:
    """Return a table under the name of another kind of file."""
    ending = random_.choice(["parquet", "xlsx", "json", "zip", "pkl", "csv.gz", "csv.bz2", "csv.xz"])
    return f"t.{ending}", "\n".join(_rows(random_)).encode()


def _parquet(labels: Any) -> bytes:
    buffer = io.BytesIO()
    pd.DataFrame({"text": [f"t{n}" for n in range(len(labels))], "label": labels}).to_parquet(buffer)
    return buffer.getvalue()


def _cut_parquet(random_: random.Random) -> tuple[str, bytes]:
    data = _parquet([0, 1, 0, 1])
    return "t.parquet", data[: random_.randrange(len(data))]


def _odd_labels(random_: random.Random) -> tuple[str, bytes]:
    """Return a table whose labels are no classes."""
    return "t.parquet", _parquet(random_.choice([[0.25, 1.5], [[0], [1]], [{"a": 1}, {"a": 2}]]))


@cache
def _packed_bomb() -> bytes:
    return gzip.compress(b"text,label\n" + b"a,b\n" * 500_000)


def _aliases(random_: random.Random) -> bytes:
    """Return YAML of a few lines that stands for up to 10^12 values, where a key is known."""
    levels = [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, random_.randint(3, 13))]
    known = random_.choice(["notes", "datasets", "experiments", "training", "studies"])
    return "\n".join(["a0: &a0 [x]", *levels, f"{known}: [*a{len(levels)}]", ""]).encode()


def _options(random_: random.Random) -> bytes:
    """Return a configuration in which an own module's options, which may be anything, stand for too much."""
    levels = [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, random_.randint(6, 13))]
    lines = ["variants:", "  x:", "    module: x.py:X", "    options:", "      a0: &a0 [x]"]
    return yaml.safe_dump(_CONFIGURATION).encode() + "\n".join([*lines, *_indented(levels), ""]).encode()


def _merged(random_: random.Random) -> bytes:
    """Return keys that are merged from keys, ten times a line."""
    count = random_.randint(6, 13)
    levels = [f"a{n}: &a{n} {{<<: [{', '.join([f'*a{n - 1}'] * 10)}]}}" for n in range(1, count)]
    return "\n".join(["a0: &a0 {k: v}", *levels, ""]).encode()


def _indented(lines: list[str]) -> list[str]:
    return [f"      {line}" for line in lines]


def _deep(random_: random.Random) -> int:
    return int(10 ** random_.uniform(0, 5))


def _template(random_: random.Random) -> bytes:
    """Return a configuration that is Python to Snakemake."""
    line = random_.choice(["title: ?1 + 1", "?if True:\n  title: x", "__definitions__: [import os]"])
    return b"__use_yte__: true\n" + yaml.safe_dump(_CONFIGURATION).encode() + line.encode() + b"\n"


_CONFIGURATION: dict[str, Any] = {
    "datasets": {"d": {"kind": "digits", "path": "resources", "folds": {"rule": "stratified"}}},
    "encoders": {"e": {"modality": "vision", "model": "resources"}},
    "experiments": [{"dataset": "d", "encoder": "e", "variants": ["mha"], "seeds": [0]}],
    "training": {"epochs": 2},
    "protocol": {"name": "paper"},
    "cache": {"dtype": "float16"},
}
_NUMBERS: list[Any] = [None, True, -1, 0, 2**70, 1e400, float("nan")]
_WORDS: list[Any] = ["", "x" * 5000, "../../etc", "/dev/zero", "\0"]
_SHAPES: list[Any] = [[], {}, [[]], {"a": []}]
_VALUES = [*_NUMBERS, *_WORDS, *_SHAPES]


def _falsified(random_: random.Random) -> bytes:
    base = yaml.safe_load(yaml.safe_dump(_CONFIGURATION))
    holder: Any = base
    while True:
        keys = list(holder) if isinstance(holder, dict) else list(range(len(holder)))
        key = random_.choice(keys)
        if isinstance(holder[key], dict | list) and holder[key] and random_.random() < 0.7:
            holder = holder[key]
            continue
        if isinstance(holder, dict) and random_.random() < 0.3:
            holder[random_.choice(["x", "", 7, None, "../y"])] = holder.pop(key)
        else:
            holder[key] = random_.choice(_VALUES)
        return yaml.safe_dump(base).encode()


def bad_name(random_: random.Random) -> str:
    """Return a name for a file or folder with what shells and parsers stumble over; it is Unicode."""
    quoting = [" ", "'", '"', "\n", "$(true)", ";", "`", "*", "?", "\\"]
    parts = [*quoting, "ü", "\u202e", "-rf", "..", "%s", "{x}", "#"]
    return "n" + "".join(random_.choice(parts) for _ in range(random_.randint(1, 12)))


# Names of good files: what they are is not what their endings say.
GOOD_NAMES = ("plain.dat", "two words.txt", "'quoted' \"name\".mp3", "a\nline.jpg", "\u00fc;$(true)-rf #.csv")


@cache
def good(modality: str) -> list[Any]:
    """Return five good samples."""
    random_ = random.Random(5)
    if modality == "text":
        return [f"text number {n}" for n in range(5)]
    if modality == "speech":
        return [_wav(np.sin(np.arange(300 + 50 * n) * 0.1)) for n in range(5)]
    return [_image(random_) for _ in range(5)]


def _duplicate(modality: str) -> Way:
    return Way("duplicate", lambda random_: random_.choice(good(modality)), refuse=False)


_KINDS = ["PNG", "JPEG", "GIF", "BMP", "TIFF", "WEBP"]
_RECORDINGS = [
    *(("WAV", subtype) for subtype in ("PCM_16", "PCM_U8", "PCM_24", "FLOAT", "IMA_ADPCM")),
    *((kind, "PCM_16") for kind in ("WAVEX", "RF64", "W64", "AIFF", "AU", "CAF", "FLAC")),
    ("OGG", "VORBIS"),
]
_RATES = [8000, 16000, 44100]
_LINES = ["'", '"', "\n", "\r\n", ",", ";", "\\"]
SPEECH = (
    Way("empty file", lambda _: b""),
    Way("of no length", lambda _: _wav(np.zeros(0, np.float32))),
    Way("not finite", _not_finite, weight=3),
    Way("too long", _too_long),
    Way("silent", lambda random_: _wav(0 * _tone(random_)), weight=2),
    Way("cut in its header", lambda random_: _wav(_tone(random_))[: random_.randrange(44)], weight=3),
    Way("cut in its samples", _cut_recording, weight=8),
    Way("an image", _image, weight=2),
    Way("noise", _noise, weight=3),
    Way("bent", lambda r: bent(_wav(_tone(r), r.choice(_RATES)), r), refuse=False, weight=5),
    _duplicate("speech"),
)
VISION = (
    Way("empty file", lambda _: b""),
    Way("bomb", _bomb, weight=2),
    Way("a recording", lambda random_: _wav(_tone(random_)), weight=2),
    Way("PostScript", lambda _: _EPS),
    Way("not finite", _float_image, weight=2),
    Way("cut in its header", lambda r: _image(r, r.choice(["PNG", "JPEG"]))[: r.randrange(1, 60)], weight=4),
    Way("cut in its pixels", _cut_image, weight=8),
    Way("noise", _noise, weight=3),
    Way("bent", lambda r: bent(_image(r, r.choice(_KINDS)), r), refuse=False, weight=5),
    _duplicate("vision"),
)
TEXT = (
    Way("empty", lambda _: ""),
    Way("white space", lambda r: "".join(r.choices(" \t\n\r\u00a0\u2003", k=r.randint(1, 30))), weight=5),
    Way("half a character", lambda random_: "\ud800" * random_.randint(1, 99), weight=2),
    Way("half a character within", _half, weight=8),
    Way("any characters", _characters, refuse=False),
    Way("control characters", lambda r: r.choice("\x00\ufeff\u202e") * r.randint(1, 99), refuse=False),
    Way("long", lambda random_: "word " * random_.randint(1000, 9000), refuse=False),
    Way("quotes and lines", lambda r: "x" + r.choice(_LINES) * r.randint(1, 40), refuse=False),
    _duplicate("text"),
)
# Names and contents of files.
TABLES = (
    Way("empty file", lambda _: ("t.csv", b"")),
    Way("no rows", lambda _: ("t.csv", b"text,label\n")),
    Way("other columns", lambda r: _changed_table(r, lambda _: "words,kind,group", 0)),
    Way("one column only", lambda r: _changed_table(r, lambda _: "text", 0)),
    Way("a field too many", lambda r: _changed_table(r, lambda line: f"{line},x", -1)),
    Way("a quote without end", lambda r: _changed_table(r, lambda line: f'"{line}', -1)),
    Way("no UTF-8", lambda r: _changed_table(r, lambda line: f"\udcff{line}", -1)),
    Way("UTF-16", lambda r: ("t.csv", "\n".join(_rows(r)).encode("utf-16"))),
    Way("another kind of file", _other_table, weight=2),
    Way("a cut Parquet", _cut_parquet, weight=2),
    Way("noise for Parquet", lambda r: ("t.parquet", _noise(r))),
    Way("labels that are no classes", _odd_labels),
    Way("a packed bomb", lambda _: ("t.csv.gz", _packed_bomb())),
    Way("bent", _bent_table, refuse=False, weight=4),
)
CONFIGURATIONS = (
    Way("aliases of aliases", _aliases),
    Way("aliases in options", _options),
    Way("merged keys of merged keys", _merged),
    Way("nested", lambda random_: b"[" * _deep(random_)),
    Way("nested mappings", lambda random_: b"{a: " * _deep(random_)),
    Way("levels", lambda r: b"\n".join(b" " * n + b"a:" for n in range(r.randint(1, 900)))),
    Way("a template", _template),
    Way("a call", lambda _: b"!!python/object/apply:os.system ['true']\n"),
    Way("a long number", lambda random_: b"x: " + b"1" * random_.randint(1, 6000)),
    Way("bent", lambda r: bent(yaml.safe_dump(_CONFIGURATION).encode(), r), refuse=False),
    Way("a field falsified", _falsified, refuse=False, weight=2),
)
# Paths that a table names, where a picture or a recording should lie.
PATHS = tuple(
    Way(name, lambda _, path=path: path)  # type: ignore[misc]
    for name, path in {
        "missing": "nowhere.bin",
        "nothing": "",
        "a folder": "inside",
        "above the table": "../outside.bin",
        "elsewhere": "/etc/hostname",
        "a device": "/dev/zero",
        "a link to a device": "zero.bin",
        "a link that leaves": "leaves.bin",
        "a link that loops": "loop.bin",
        "links in a circle": "there.bin",
        "a folder that links to itself": "around/around/around/nowhere.bin",
        "a pipe": "pipe.bin",
        "a null character": "a\0b.bin",
        "an address": "https://localhost:9/a.bin",
        "a long name": "x" * 5000,
        "a text that says it is a picture": "text.png",
        "a text that says it is a recording": "text.wav",
    }.items()
)
