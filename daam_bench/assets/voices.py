"""Recordings out of Debian packages, unpacked without root and without installing."""

import subprocess
import tarfile
from collections.abc import Callable
from pathlib import Path, PurePosixPath

from daam_bench.errors import DataError

_ASTERISK = PurePosixPath("usr/share/asterisk/sounds/en_US_f_Allison")
_HEDGEWARS = PurePosixPath("usr/share/games/hedgewars/Data/Sounds/voices")


def unpack_asterisk(archive: Path, target: Path) -> None:
    """Copy the telephone prompts (8 kHz WAV), subfolders kept."""
    _unpack(archive, target, _ASTERISK, lambda path: path.suffix == ".wav")


def unpack_hedgewars(archive: Path, target: Path) -> None:
    """Copy the voices (Ogg Vorbis), one folder each; translated ones, such as Default_pl, are left out."""
    _unpack(archive, target, _HEDGEWARS, lambda path: path.suffix == ".ogg" and "_" not in path.parent.name)


def _unpack(
    archive: Path, target: Path, root: PurePosixPath, wanted: Callable[[PurePosixPath], bool]
) -> None:
    """Copy regular files below a folder of the package.

    Raises:
        DataError: if dpkg-deb is missing or cannot read the archive, or the package has no such file.
    """
    command = ["dpkg-deb", "--fsys-tarfile", str(archive)]
    try:
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    except FileNotFoundError:
        raise DataError(
            "this system has no dpkg-deb",
            where=archive.name,
            remedy="Install dpkg, or fetch the asset on a Debian machine and copy its folder and .json file.",
        ) from None
    with process:
        if process.stdout is None or process.stderr is None:
            raise DataError("dpkg-deb gives no output", where=archive.name)
        try:
            with tarfile.open(fileobj=process.stdout, mode="r|") as package:
                copied = sum(_copy(package, member, target, root, wanted) for member in package)
        except tarfile.TarError:
            copied = 0
        message = process.stderr.read().decode().strip()
    if process.returncode:
        raise DataError(f"dpkg-deb cannot read it ({message})", where=archive.name)
    if not copied:
        raise DataError("the package has no recordings", where=archive.name, expected=f"files below {root}")


def _copy(
    package: tarfile.TarFile,
    member: tarfile.TarInfo,
    target: Path,
    root: PurePosixPath,
    wanted: Callable[[PurePosixPath], bool],
) -> bool:
    path = PurePosixPath(member.name)
    handle = package.extractfile(member) if member.isfile() else None
    if handle is None or ".." in path.parts or not path.is_relative_to(root) or not wanted(path):
        return False
    place = target / path.relative_to(root)
    place.parent.mkdir(parents=True, exist_ok=True)
    place.write_bytes(handle.read())
    return True
