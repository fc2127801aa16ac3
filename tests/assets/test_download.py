import hashlib
import os
import zipfile

import pytest

from daam_bench.assets.base import DebianPackage, PythonPackage
from daam_bench.assets.download import provide_archive
from daam_bench.errors import DataError

DEB = b"pretend this is a package"
PINNED = hashlib.sha256(DEB).hexdigest()
PACKAGE = DebianPackage("toy-data", "1.2-3", PINNED, source="toy")


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "download").mkdir()
    return tmp_path / "download"


@pytest.fixture
def apt(tmp_path, monkeypatch):
    """Return what puts a command `apt-get` with a given body, and nothing else of this name, on the path."""

    def install(body):
        script = tmp_path / "bin" / "apt-get"
        script.parent.mkdir()
        script.write_text(f"#!/bin/sh\n{body}\n")
        script.chmod(0o755)
        monkeypatch.setenv("PATH", f"{script.parent}{os.pathsep}/bin")

    return install


def test_apt_is_asked_for_the_exact_version(apt, tmp_path, folder):
    apt(f"echo \"$@\" > {tmp_path}/asked; printf '{DEB.decode()}' > toy-data_1.2-3_all.deb")
    path = provide_archive(PACKAGE, tmp_path / "none", folder)
    assert path.read_bytes() == DEB
    assert path.parent == folder
    assert (tmp_path / "asked").read_text().split() == ["download", "--quiet", "toy-data=1.2-3"]


def test_version_that_apt_does_not_offer_names_both_cures(apt, tmp_path, folder):
    apt("echo \"E: Version '1.2-3' for 'toy-data' was not found\" >&2; exit 100")
    with pytest.raises(
        DataError, match=r"was not found.*apt-get update.*/mine.*debian.org/package/toy/1.2-3"
    ):
        provide_archive(PACKAGE, tmp_path / "mine", folder)


def test_other_package_than_pinned_is_refused(apt, tmp_path, folder):
    apt("printf 'another build' > toy-data_1.2-3_all.deb")
    with pytest.raises(DataError, match=rf"toy-data=1.2-3: .*not the pinned one; expected {PINNED}"):
        provide_archive(PACKAGE, tmp_path / "none", folder)


def test_system_without_apt_names_the_place_for_the_file(monkeypatch, tmp_path, folder):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(DataError, match=r"no apt-get.*put the \.deb into .*/mine"):
        provide_archive(PACKAGE, tmp_path / "mine", folder)


def test_file_that_a_person_put_beside_is_taken_without_apt(monkeypatch, tmp_path, folder):
    monkeypatch.setenv("PATH", str(tmp_path))
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "wrong.deb").write_bytes(b"another build")
    (tmp_path / "mine" / "any name").write_bytes(DEB)
    assert provide_archive(PACKAGE, tmp_path / "mine", folder) == tmp_path / "mine" / "any name"


@pytest.fixture
def wheel(tmp_path, monkeypatch):
    """Return a wheel in a folder that pip searches instead of an index."""
    path = tmp_path / "links" / "toy_asset-1.0-py3-none-any.whl"
    path.parent.mkdir()
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(
            "toy_asset-1.0.dist-info/METADATA", "Metadata-Version: 2.1\nName: toy-asset\nVersion: 1.0\n"
        )
        archive.writestr("toy_asset-1.0.dist-info/WHEEL", "Wheel-Version: 1.0\n")
        archive.writestr("toy_asset-1.0.dist-info/RECORD", "")
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(path.parent))
    return path


def test_pip_fetches_the_pinned_wheel(wheel, tmp_path, folder):
    package = PythonPackage("toy-asset==1.0", hashlib.sha256(wheel.read_bytes()).hexdigest())
    path = provide_archive(package, tmp_path / "none", folder)
    assert path == folder / wheel.name
    assert path.read_bytes() == wheel.read_bytes()


@pytest.mark.parametrize(
    ("requirement", "source_archive"),
    [("toy-asset==1.0", False), ("toy-asset==1.0", True), ("toy==2", False)],
)
def test_what_pip_cannot_fetch_is_an_error_with_remedy(wheel, tmp_path, folder, requirement, source_archive):
    package = PythonPackage(requirement, "0" * 64, source_archive)
    with pytest.raises(DataError, match=rf"{requirement}: pip could not fetch it.*ERROR.*put the archive"):
        provide_archive(package, tmp_path / "none", folder)
    assert not list(folder.glob("*.whl"))
