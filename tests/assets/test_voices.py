import os
import tarfile
from io import BytesIO

import pytest

from daam_bench.assets.voices import unpack_asterisk, unpack_hedgewars
from daam_bench.errors import DataError

SOUNDS = "./usr/share/asterisk/sounds/en_US_f_Allison"
VOICES = "./usr/share/games/hedgewars/Data/Sounds/voices"


@pytest.fixture
def dpkg(tmp_path, monkeypatch):
    """Put a command `dpkg-deb` with a given body on the path; by default a package is a plain archive."""

    def install(body='[ "$1" = --fsys-tarfile ] && cat "$2"'):
        script = tmp_path / "bin" / "dpkg-deb"
        script.parent.mkdir()
        script.write_text(f"#!/bin/sh\n{body}\n")
        script.chmod(0o755)
        monkeypatch.setenv("PATH", f"{script.parent}{os.pathsep}/bin")

    return install


@pytest.fixture
def package(tmp_path):
    """Return what writes an archive with files that hold their own names, and a link."""

    def write(*names):
        path = tmp_path / "toy.deb"
        with tarfile.open(path, "w") as archive:
            for name in names:
                member = tarfile.TarInfo(name)
                member.size = len(name)
                archive.addfile(member, BytesIO(name.encode()))
            link = tarfile.TarInfo(f"{SOUNDS}/link.wav")
            link.type, link.linkname = tarfile.SYMTYPE, "/etc/hostname"
            archive.addfile(link)
        return path

    return write


@pytest.fixture
def target(tmp_path):
    (tmp_path / "target").mkdir()
    return tmp_path / "target"


def files_of(folder):
    return {p.relative_to(folder).as_posix(): p.read_text() for p in folder.rglob("*") if p.is_file()}


def test_prompts_are_copied_and_nothing_else(dpkg, package, target):
    dpkg()
    wanted = [f"{SOUNDS}/hello.wav", f"{SOUNDS}/digits/1.wav"]
    others = [f"{SOUNDS}/notes.txt", "./usr/share/doc/a.wav", f"{SOUNDS}/../outside.wav"]
    unpack_asterisk(package(*wanted, *others), target)
    assert files_of(target) == {"hello.wav": wanted[0], "digits/1.wav": wanted[1]}
    assert not list(target.parent.rglob("outside.wav"))


def test_english_voices_are_copied_and_translated_ones_left_out(dpkg, package, target):
    dpkg()
    wanted = [f"{VOICES}/Pirate/Hello.ogg", f"{VOICES}/Russian/Hello.ogg"]
    unpack_hedgewars(package(*wanted, f"{VOICES}/Russian_pl/Hello.ogg", f"{VOICES}/Pirate/a.txt"), target)
    assert files_of(target) == {"Pirate/Hello.ogg": wanted[0], "Russian/Hello.ogg": wanted[1]}


def test_package_without_recordings_is_refused(dpkg, package, target):
    dpkg()
    with pytest.raises(DataError, match=r"toy\.deb: the package has no recordings; .*Sounds/voices"):
        unpack_hedgewars(package(f"{SOUNDS}/hello.wav"), target)


def test_damaged_package_is_refused_with_the_tools_words(dpkg, package, target):
    dpkg('echo "dpkg-deb: error: not a Debian format archive" >&2; exit 2')
    with pytest.raises(DataError, match=r"cannot read it \(dpkg-deb: error: not a Debian format archive\)"):
        unpack_asterisk(package(f"{SOUNDS}/hello.wav"), target)


def test_package_that_ends_early_is_refused(dpkg, package, target):
    dpkg('head -c 700 "$2"; echo "unexpected end of file" >&2; exit 2')
    with pytest.raises(DataError, match="unexpected end of file"):
        unpack_asterisk(package(f"{SOUNDS}/a.wav", f"{SOUNDS}/b.wav"), target)


def test_system_without_dpkg_gets_a_remedy(monkeypatch, tmp_path, package, target):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(DataError, match="no dpkg-deb.*Install dpkg"):
        unpack_asterisk(package(f"{SOUNDS}/hello.wav"), target)
