"""What lies in a user's own files: read with care, and as a hash that clocks do not change."""

import errno
import hashlib
import io
import json
import math
import os
import re
import stat
from collections.abc import Hashable, Iterable, Iterator, Mapping
from contextlib import suppress
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from daam_bench.errors import DataError, MachineError, RecordError
from daam_bench.records import write_atomically

if TYPE_CHECKING:
    from soundfile import SoundFile

Known = dict[str, tuple[list[int], str]]

# Any other error of the system is the machine's, not the file's: it may be gone at the next try.
_OF_THE_FILE = {
    errno.ENOENT,
    errno.ENOTDIR,
    errno.EISDIR,
    errno.ELOOP,
    errno.ENAMETOOLONG,
    errno.EINVAL,  # a place in a file that cannot be
}
_SHA256 = re.compile("[0-9a-f]{64}")
# What a file may take in memory.
_MOST_BYTES = 2**30
# From here on a header's number of samples says that it is not known.
UNKNOWN_LENGTH = 2**62


def recording_of(content_key: str) -> str:
    """Return the hash of the recording that a clip is cut from; of what is no clip, its own hash."""
    return content_key.split("@", 1)[0]


def bounds_of(start: float, stop: float) -> str:
    """Return the bounds of a clip in seconds as its key has them, to a tenth of a microsecond in a day."""
    return f"{start:.12g}-{stop:.12g}"


def is_of_the_machine(error: BaseException) -> bool:
    """Return whether reading failed for a reason that says nothing of the file, and may be gone next time.

    What the libraries of formats raise as an OSError of their own has no number: it is the file's.
    """
    if isinstance(error, OSError) and error.errno is not None:
        return error.errno not in _OF_THE_FILE
    return isinstance(error, MemoryError | ConnectionError | TimeoutError)


def check_listed(row: Mapping[Hashable, Any]) -> None:
    """Check that the text or bytes that a listing has of a sample, and a clip's bounds, are those of its key.

    Files are compared when they are read; keys that are no hashes, as no listing has them, say nothing.

    Raises:
        RecordError: if they are not: the listing was damaged after it was written.
    """
    key = row.get("content_key")
    if not isinstance(key, str):
        return
    start, stop = row.get("start_second", math.nan), row.get("stop_second", math.nan)
    digest, _, bounds = key.partition("@")
    content = content_of(row)
    if _SHA256.fullmatch(digest):
        agrees = content is None or hashlib.sha256(content).hexdigest() == digest
        agrees = agrees and (not bounds or bounds == bounds_of(start, stop))
    else:
        agrees = not (digest.startswith("none-") and content)
    if not agrees:
        raise RecordError(
            "a sample's content is not what was listed: the table of samples is damaged",
            where=row.get("sample_id"),
            remedy="Delete results/samples/<dataset>.parquet and run snakemake again.",
        )


def content_of(row: Mapping[Hashable, Any]) -> bytes | None:
    """Return what is hashed of a sample that has its content itself; None if it has a file.

    Text that is blank is none.
    """
    if "text" in row:
        text = str(row["text"])
        return text.encode(errors="surrogatepass") if text.strip() else b""
    content = row.get("content")
    return content if isinstance(content, bytes) else None


def read_sample(folder: Path, name: str) -> tuple[bytes, str]:
    """Return content and sha256 of a file that a dataset names.

    Links are followed: they are the user's own. What a name alone says must stay below the folder.

    Args:
        folder: of the dataset.
        name: path relative to it, or an absolute one below it.

    Raises:
        DataError: if there is no such file, it is a pipe or device, is too large, or lies elsewhere.
        MachineError: if the machine cannot read it.
    """
    top = os.path.abspath(folder)  # noqa: PTH100 - resolve() would follow links
    path = Path(os.path.normpath(os.path.join(top, name)))  # noqa: PTH118
    if not path.is_relative_to(top):
        raise DataError("the path leads out of the dataset's folder", found=name)
    try:
        facts = path.stat()
        if not stat.S_ISREG(facts.st_mode):
            raise DataError("the file is no regular file")
        if facts.st_size > _MOST_BYTES:
            raise DataError("the file is too large", expected="at most 1 GiB", found=f"{facts.st_size} bytes")
        return _read(path, (facts.st_size, facts.st_mtime_ns, facts.st_ctime_ns, facts.st_ino))
    except ValueError as error:  # a NUL, or half a surrogate pair
        raise DataError(f"the path is not valid ({error})") from None
    except OSError as error:
        reason = error.strerror or str(error)
        if not is_of_the_machine(error):
            raise DataError(f"the file cannot be read ({reason})") from None
        raise MachineError(
            f"a file of the dataset cannot be read now ({reason})", where=path, remedy="Run it again."
        ) from None


# Clips of one recording follow each other.
@lru_cache(maxsize=1)
def _read(path: Path, _clocks: tuple[int, ...]) -> tuple[bytes, str]:
    content = path.read_bytes()
    return content, hashlib.sha256(content).hexdigest()


def open_stream(content: bytes) -> "SoundFile":
    """Return a recording that can only be read on, such as one whose header does not tell its length.

    Raises:
        RuntimeError: if it is no recording.
    """
    from soundfile import SoundFile

    class Stream(SoundFile):  # type: ignore[misc]
        def seekable(self) -> bool:
            return False

    return Stream(io.BytesIO(content))


def contents_fingerprint(
    path: Path, memory: Path, endings: tuple[str, ...] = (), named: Iterable[Path] = ()
) -> str:
    """Return the sha256 over names and contents of a file, or of the files of a folder.

    Snakemake sees neither that a file changed which no rule made, nor that only its clock did: a rule puts
    this into its `params`. A file is read again only if its size or one of its clocks changed.

    Args:
        path: a file or folder; what does not exist has a fingerprint, too.
        memory: JSON file with what was read earlier; it may be deleted, and need not be writable.
        endings: of the files of the folder itself that count; by default all files, also in folders below.
        named: further files that count.
    """
    known = _recall(memory)
    seen: Known = {}
    digest = hashlib.sha256()
    for file in (*_files(path, endings), *(file for file in named if _is_file(file))):
        digest.update(json.dumps([os.path.relpath(file, path), _hash(file, known, seen)]).encode())
    if any(known.get(name) != entry for name, entry in seen.items()):
        with suppress(OSError):  # read again next time
            write_atomically(memory, json.dumps(known | seen).encode())
    return digest.hexdigest()


def _recall(memory: Path) -> Known:
    try:
        return {
            name: (list(clocks), str(digest))
            for name, (clocks, digest) in json.loads(memory.read_bytes()).items()
        }
    except (OSError, ValueError, TypeError, AttributeError, RecursionError):
        return {}


def _files(path: Path, endings: tuple[str, ...]) -> Iterator[Path]:
    if path.is_file():
        yield path
    elif endings:
        yield from sorted(file for file in path.glob("*") if file.suffix in endings and file.is_file())
    else:
        for folder, below, names in os.walk(path):
            below.sort()
            visible = (Path(folder, name) for name in sorted(names) if not name.startswith("."))
            yield from (file for file in visible if _is_file(file))


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except (OSError, ValueError):  # a loop of links, a name too long, a NUL
        return False


def _hash(file: Path, known: Known, seen: Known) -> str:
    name = str(file.resolve())
    facts = file.stat()
    clocks = [facts.st_size, facts.st_mtime_ns, facts.st_ctime_ns, facts.st_ino]
    if name not in known or known[name][0] != clocks:
        try:
            with file.open("rb") as handle:
                seen[name] = (clocks, hashlib.file_digest(handle, "sha256").hexdigest())
        except OSError as error:
            return f"unreadable: {error.errno}"
        return seen[name][1]
    return known[name][1]
