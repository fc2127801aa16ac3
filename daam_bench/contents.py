"""What lies in a user's own files, as a hash that clocks do not change."""

import hashlib
import json
import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from daam_bench.records import write_atomically

Known = dict[str, tuple[list[int], str]]


def contents_fingerprint(path: Path, memory: Path, endings: tuple[str, ...] = ()) -> str:
    """Return the sha256 over names and contents of a file, or of the files of a folder.

    Snakemake sees neither that a file changed which no rule made, nor that only its clock did: a rule puts
    this into its `params`. A file is read again only if its size or one of its clocks changed.

    Args:
        path: a file or folder; what does not exist has a fingerprint, too.
        memory: JSON file with what was read earlier; it may be deleted, and need not be writable.
        endings: of the files of the folder itself that count; by default all files, also in folders below.
    """
    known = _recall(memory)
    seen: Known = {}
    digest = hashlib.sha256()
    for file in _files(path, endings):
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
    except (OSError, ValueError, TypeError, AttributeError):
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
            yield from (file for file in visible if file.is_file())


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
