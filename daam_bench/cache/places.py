"""Where stores lie: on a local disk, or at a URL of any file system that fsspec knows (s3://, gs://, ...)."""

import hashlib
import os
import shutil
import tempfile
from pathlib import Path
from typing import Any, cast

from filelock import FileLock

from daam_bench.errors import CacheError, ConfigError
from daam_bench.records import write_atomically


def place(text: str | Path) -> Path:
    """Return a place by its path or URL; a remote one has the methods of a path that this package uses.

    Keys and endpoints come from the environment or from fsspec's own configuration, never from here.

    Raises:
        ConfigError: if the kind of file system is unknown, or its package is not installed.
        CacheError: if the place cannot be reached.
    """
    if not isinstance(text, str) or "://" not in text:
        return Path(text)
    for local in ("file://", "local://"):
        if text.startswith(local):
            return Path(text.removeprefix(local))
    # Imported here: local work must not wait for it.
    from upath import UPath

    try:
        # Listings are not kept: another process may have written since.
        found: Any = UPath(text, use_listings_cache=False)
        found.fs.invalidate_cache()
    except (ImportError, ValueError) as error:
        raise ConfigError(
            f"cannot open this kind of URL ({error})",
            where=text,
            remedy="Install its package, for s3:// `pip install 'daam_bench[s3]'`.",
        ) from None
    except Exception as error:  # some need more than a URL
        raise _unreachable(text, error) from None
    try:
        found.exists()
    except Exception as error:  # each file system has exceptions of its own
        raise _unreachable(text, error) from None
    return cast(Path, found)


def _unreachable(text: str, error: Exception) -> CacheError:
    return CacheError(
        f"the place cannot be reached ({type(error).__name__}: {error})",
        where=text,
        remedy="Check the URL, the network and the credentials in the environment.",
    )


def is_remote(path: Path) -> bool:
    """Return whether a place is not on a local disk."""
    return not isinstance(path, Path)


def storage_options(path: Path) -> dict[str, Any]:
    """Return what fsspec needs to open a remote place beside its URL."""
    return dict(cast(Any, path).storage_options)


def lock_of(path: Path, name: str) -> FileLock:
    """Return a lock for a place: a file beside it; for a remote one a file on this machine alone."""
    if is_remote(path):
        digest = hashlib.sha256(f"{path}.{name}".encode()).hexdigest()[:32]
        return FileLock(Path(tempfile.gettempdir(), f"daam_bench.{digest}.lock"))
    return FileLock(path.with_name(f"{path.name}.{name}.lock"))


def sync(path: Path) -> None:
    """Make a file, or the entries of a folder, survive a power cut; a remote object does so by itself."""
    if is_remote(path):
        return
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def write_whole(path: Path, data: bytes) -> None:
    """Replace a file in one step; it is durable when this returns."""
    if is_remote(path):
        path.write_bytes(data)
    else:
        write_atomically(path, data)


def remove(path: Path) -> None:
    """Delete a file, or a folder with all that is in it; nothing is done if there is none."""
    if is_remote(path):
        if path.exists():
            cast(Any, path).fs.rm(cast(Any, path).path, recursive=True)
    elif path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def asides(store: Path) -> list[Path]:
    """Return what a repair set aside of a store and still needs."""
    return sorted(p for p in store.parent.glob(f".{store.stem}.damaged*") if p.suffix == store.suffix)


def move(path: Path, target: Path) -> Path:
    """Give a file or folder another name in the same folder; return it.

    An object store copies and deletes, so this is not one step there.
    """
    if is_remote(path):
        remote, start, end = cast(Any, path).fs, cast(Any, path).path, cast(Any, target).path
        for item in remote.find(start):
            remote.copy(item, end + item.removeprefix(start))
        remove(path)
    else:
        path.rename(target)
        sync(target.parent)
    return target


def head_of(path: Path, size: int) -> bytes:
    """Return the first bytes of a file; none if it is empty or there is none."""
    try:
        if is_remote(path):
            return bytes(cast(Any, path).fs.cat_file(cast(Any, path).path, start=0, end=size))
        with path.open("rb") as handle:
            return handle.read(size)
    except FileNotFoundError:
        return b""


def bytes_of(path: Path) -> int:
    """Return the size of a file, or of all files in a folder."""
    if is_remote(path):
        # The listing says them; `du` would ask for each object once more.
        found = cast(Any, path).fs.find(cast(Any, path).path, detail=True)
        return sum(int(facts["size"] or 0) for facts in found.values())  # a plain web server tells none
    files = [path] if path.is_file() else path.rglob("*")
    return sum(file.stat().st_size for file in files if file.is_file())
