"""Good samples, and ways to be bad: each has a name, and says whether it must be refused."""

import io
import random
import struct
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
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


def _wav(samples: Any, rate: int = RATE, subtype: str = "PCM_16") -> bytes:
    buffer = io.BytesIO()
    soundfile.write(buffer, samples, rate, format="WAV", subtype=subtype)
    return buffer.getvalue()


def _not_finite(random_: random.Random) -> bytes:
    tone = _tone(random_)
    tone[random_.randrange(len(tone))] = random_.choice([np.nan, np.inf, -np.inf])
    return _wav(tone, subtype="FLOAT")


def _too_long(random_: random.Random) -> bytes:
    seconds = random_.choice([LONGEST + 1, 10 * LONGEST])
    return _wav(np.sin(np.arange(int(seconds * 800)) * 0.1), rate=800)


def _image(random_: random.Random, kind: str = "PNG") -> bytes:
    buffer = io.BytesIO()
    pixels = np.frombuffer(random_.randbytes(9 * 7 * 3), np.uint8).reshape(9, 7, 3)
    Image.fromarray(pixels).save(buffer, kind)
    return buffer.getvalue()


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


def _table(random_: random.Random) -> bytes:
    lines = ["text,label,group"] + [f"t{n},{n % 2},g{n % 3}" for n in range(random_.randint(0, 9))]
    data = "\n".join(lines).encode(random_.choice(["utf-8", "utf-16", "latin-1"]))
    return bent(data + b"\n" + random_.randbytes(random_.randint(0, 60)), random_)


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
_RATES = [8000, 16000, 44100]
_LINES = ["'", '"', "\n", "\r\n", ",", ";", "\\"]
SPEECH = (
    Way("empty file", lambda _: b""),
    Way("of no length", lambda _: _wav(np.zeros(0, np.float32))),
    Way("not finite", _not_finite),
    Way("too long", _too_long),
    Way("silent", lambda random_: _wav(0 * _tone(random_))),
    Way("cut in its header", lambda random_: _wav(_tone(random_))[: random_.randrange(44)]),
    Way("an image", _image),
    Way("bent", lambda r: bent(_wav(_tone(r), r.choice(_RATES)), r), refuse=False, weight=16),
    _duplicate("speech"),
)
VISION = (
    Way("empty file", lambda _: b""),
    Way("bomb", _bomb),
    Way("a recording", lambda random_: _wav(_tone(random_))),
    Way("PostScript", lambda _: _EPS),
    Way("not finite", _float_image),
    Way("cut in its header", lambda r: _image(r, r.choice(["PNG", "JPEG"]))[: r.randrange(1, 60)]),
    Way("bent", lambda r: bent(_image(r, r.choice(_KINDS)), r), refuse=False, weight=32),
    _duplicate("vision"),
)
TEXT = (
    Way("empty", lambda _: ""),
    Way("white space", lambda random_: " \t\u00a0\u2003" * random_.randint(1, 9)),
    Way("half a character", lambda random_: "\ud800" * random_.randint(1, 99)),
    Way("any characters", _characters, refuse=False),
    Way("control characters", lambda r: r.choice("\x00\ufeff\u202e") * r.randint(1, 99), refuse=False),
    Way("long", lambda random_: "word " * random_.randint(1000, 9000), refuse=False),
    Way("quotes and lines", lambda r: "x" + r.choice(_LINES) * r.randint(1, 40), refuse=False, weight=3),
    _duplicate("text"),
)
TABLES = (Way("bent", _table, refuse=False),)
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
    Way("a field falsified", _falsified, refuse=False, weight=3),
)
# Paths that a table names, where a picture should lie.
PATHS = tuple(
    Way(name, lambda _, path=path: path)  # type: ignore[misc]
    for name, path in {
        "missing": "nowhere.png",
        "nothing": "",
        "a folder": "inside",
        "above the table": "../outside.png",
        "elsewhere": "/etc/hostname",
        "a device": "/dev/zero",
        "a link to a device": "zero.png",
        "a link that leaves": "leaves.png",
        "a link that loops": "loop.png",
        "a pipe": "pipe.png",
        "a null character": "a\0b.png",
        "an address": "https://localhost:9/a.png",
        "a long name": "x" * 5000,
    }.items()
)
