"""Whether a recording is whole, by what its header declares: decoders read what is left of a cut one."""

import struct
from typing import NamedTuple

from daam_bench.errors import DataError


class _Chunks(NamedTuple):
    """How a container of recordings divides its file into chunks.

    Attributes:
        head: name and size of a chunk.
        first: where the first chunk begins.
        counted: bytes of the head that the size counts, too.
        aligned: where a chunk begins is a multiple of this.
    """

    head: struct.Struct
    first: int
    counted: int = 0
    aligned: int = 2


_LITTLE, _BIG = struct.Struct("<4sI"), struct.Struct(">4sI")
_CONTAINERS = {
    b"RIFF": _Chunks(_LITTLE, 12),
    b"RF64": _Chunks(_LITTLE, 12),
    b"BW64": _Chunks(_LITTLE, 12),
    b"RIFX": _Chunks(_BIG, 12),
    b"FORM": _Chunks(_BIG, 12),
    b"caff": _Chunks(struct.Struct(">4sQ"), 8, aligned=1),
    b"riff": _Chunks(struct.Struct("<4s12xQ"), 40, counted=24, aligned=8),
}
_SAMPLES = {b"data", b"SSND", b"BODY"}
_MOST_CHUNKS = 10_000
# What cannot go back to its header puts 0 there, or about the most that 31, 32 or 64 bits hold.
_LEFT_OPEN = 2**31 - 2**24
# Ogg: a page has a head, up to 255 sizes, and up to 255 bytes for each.
_PAGE, _PAGE_HEAD = b"OggS", 27
_LARGEST_PAGE = _PAGE_HEAD + 255 + 255 * 255
# MP3: the first frame, or a tag at the end, may be counted or not.
_NEAR = 2048


def check_whole(content: bytes) -> None:
    """Refuse a recording, also for a clip of it, that lacks bytes of samples: libsndfile reads what is left.

    Only sizes in headers are compared, of WAV and its kin, AIFF, CAF, AU, Ogg and MP3: nothing is decoded.
    FLAC's decoder notices by itself; of an MP3, what is less than a few frames is not found.
    """
    try:
        declared, found = _sizes(content)
    except struct.error:  # ends within a header
        return
    if found < declared < _LEFT_OPEN:
        raise DataError(
            "the recording is cut off: it has fewer bytes than its header declares",
            expected=f"{declared} bytes",
            found=f"{found} bytes",
            remedy="Copy it again; if nothing is missing, converting it writes a new header.",
        )


def _sizes(content: bytes) -> tuple[int, int]:
    """Return the bytes of samples that a header declares, and those that are there; (0, 0) if it does not."""
    magic = content[:4]
    if magic in _CONTAINERS:
        return _sizes_of_chunk(content, _CONTAINERS[magic])
    if magic in {b".snd", b"dns."}:
        start, size = struct.unpack_from(">II" if magic == b".snd" else "<II", content, 4)
        return size, max(0, len(content) - start)
    if magic == _PAGE:
        return _sizes_of_page(content)
    return _sizes_of_mp3(content)


def _sizes_of_chunk(content: bytes, kind: _Chunks) -> tuple[int, int]:
    """Return declared and present bytes of the chunk that has the samples."""
    at, long = kind.first, 0
    for _ in range(_MOST_CHUNKS):
        if at > len(content):
            break
        name, size = kind.head.unpack_from(content, at)
        body = at + kind.head.size
        if name == b"ds64":  # of RF64, whose chunk of samples then has no size
            (long,) = struct.unpack_from("<Q", content, body + 8)
        if name in _SAMPLES:
            size = long if long and size == 2**32 - 1 else size
            return size - kind.counted, len(content) - body
        at = body + size - kind.counted
        at += -at % kind.aligned
    return 0, 0


def _sizes_of_page(content: bytes) -> tuple[int, int]:
    """Return declared and present bytes of the last page of an Ogg file, and of one that has just begun."""
    page = content[content.rfind(_PAGE) :]
    if len(page) > _LARGEST_PAGE:  # something else follows the pages
        return 0, 0
    count = page[_PAGE_HEAD - 1] if len(page) >= _PAGE_HEAD else 0
    size = _PAGE_HEAD + count + sum(page[_PAGE_HEAD : _PAGE_HEAD + count])
    begun = page[size:]
    return size + (_PAGE_HEAD if begun and _PAGE.startswith(begun) else 0), len(page)


def _sizes_of_mp3(content: bytes) -> tuple[int, int]:
    """Return declared and present bytes of an MP3 whose first frame (Xing or Info) says that it is longer."""
    start = 0
    if content.startswith(b"ID3"):
        a, b, c, d = struct.unpack_from("4B", content, 6)
        start = 10 + (a << 21 | b << 14 | c << 7 | d)
    frame = content[start : start + 64]
    at = max(frame.find(b"Xing"), frame.find(b"Info"))
    if at < 0 or frame[0] != 0xFF:
        return 0, 0
    (flags,) = struct.unpack_from(">I", frame, at + 4)
    if not flags & 2:
        return 0, 0
    (size,) = struct.unpack_from(">I", frame, at + 8 + 4 * (flags & 1))
    found = len(content) - start
    return (size, found) if found < size - _NEAR else (0, 0)
