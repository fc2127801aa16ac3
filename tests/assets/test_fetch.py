import hashlib
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from daam_bench.assets import ASSETS, fetch_asset
from daam_bench.assets.base import Asset, PythonPackage
from daam_bench.errors import ConfigError, DataError

ARCHIVE = b"three words here"


def unpack_words(archive, target):
    """Write each word of the archive to a file of its own, in folders."""
    for word in archive.read_text().split():
        (target / word).mkdir()
        (target / word / "word.txt").write_text(word)


def unpack_half_and_die(archive, target):
    unpack_words(archive, target)
    (target / "here" / "word.txt").unlink()
    os.kill(os.getpid(), signal.SIGKILL)


def sha256(data):
    return hashlib.sha256(data).hexdigest()


def toy(unpack="unpack_words", **contents):
    archives = (PythonPackage("toy==1.0", sha256=sha256(ARCHIVE)),)
    return Asset("a toy", archives, f"{__name__}:{unpack}", "MIT", contents)


def files_of(folder):
    return {p.relative_to(folder).as_posix(): p.read_text() for p in folder.rglob("*") if p.is_file()}


@pytest.fixture
def target(tmp_path, monkeypatch):
    """Return the folder of the asset `toy`, whose archive lies beside it under another name."""
    monkeypatch.setitem(ASSETS, "toy", toy())
    (tmp_path / "archives").mkdir()
    (tmp_path / "archives" / "other.whl").write_bytes(b"something else")
    (tmp_path / "archives" / "renamed.bin").write_bytes(ARCHIVE)
    return tmp_path / "toy"


WHOLE = {f"{word}/word.txt": word for word in ("three", "words", "here")}


def test_hashes_of_all_files_come_back(target):
    hashes = fetch_asset("toy", target)
    assert hashes == {path: sha256(text.encode()) for path, text in WHOLE.items()}
    assert files_of(target) == WHOLE


def test_second_fetch_gives_the_same_and_removes_what_does_not_belong(target):
    first = fetch_asset("toy", target)
    (target / "three" / "word.txt").write_text("damaged")
    (target / "stray.txt").write_text("not of the asset")
    assert fetch_asset("toy", target) == first
    assert files_of(target) == WHOLE
    assert sorted(path.name for path in target.parent.iterdir()) == [".toy.lock", "archives", "toy"]


def test_other_content_than_pinned_is_refused_and_the_old_folder_kept(target, monkeypatch):
    fetch_asset("toy", target)
    monkeypatch.setitem(ASSETS, "toy", toy(**{"here/word.txt": "0" * 64}))
    with pytest.raises(DataError, match=rf"here/word.txt.*expected {'0' * 64}.*found {sha256(b'here')}"):
        fetch_asset("toy", target)
    assert files_of(target) == WHOLE


def test_missing_pinned_file_is_refused(target, monkeypatch):
    monkeypatch.setitem(ASSETS, "toy", toy(absent="0" * 64))
    with pytest.raises(DataError, match="absent.*no such file"):
        fetch_asset("toy", target)
    assert not target.exists()


@pytest.mark.parametrize("fetched_before", [False, True])
def test_killed_fetch_leaves_no_part_and_the_next_one_completes(target, fetched_before):
    if fetched_before:
        fetch_asset("toy", target)
    code = (
        "from pathlib import Path; import test_fetch as t; "
        f"t.ASSETS['toy'] = t.toy('unpack_half_and_die'); t.fetch_asset('toy', Path({str(target)!r}))"
    )
    path = os.pathsep.join([str(Path(__file__).parent), *sys.path])
    killed = subprocess.run([sys.executable, "-c", code], env=os.environ | {"PYTHONPATH": path}, check=False)
    assert killed.returncode == -signal.SIGKILL
    assert list(target.parent.glob(".toy.*.partial/files/three/word.txt"))
    assert (files_of(target) if target.exists() else {}) == (WHOLE if fetched_before else {})
    fetch_asset("toy", target)
    assert files_of(target) == WHOLE
    assert not list(target.parent.glob("*.partial"))


def test_unknown_name_gets_the_nearest(tmp_path):
    with pytest.raises(ConfigError, match="Did you mean 'openmoji'"):
        fetch_asset("openmojis", tmp_path / "x")
