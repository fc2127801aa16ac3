import os
import platform

import pytest

from daam_bench.errors import DaamBenchError
from daam_bench.locks import clear_stale_lock, note_host


@pytest.fixture
def locked(tmp_path):
    lock = tmp_path / ".snakemake/locks/0.output.lock"
    lock.parent.mkdir(parents=True)
    lock.touch()
    return lock


def test_the_lock_of_a_dead_run_of_this_machine_goes(locked, tmp_path):
    note_host(tmp_path)
    clear_stale_lock(tmp_path)
    assert not locked.exists()


def test_a_lock_of_another_machine_stays(locked, tmp_path, monkeypatch):
    note_host(tmp_path)
    monkeypatch.setattr(platform, "node", lambda: "another")
    with pytest.raises(DaamBenchError, match="may be running here"):
        clear_stale_lock(tmp_path)
    assert locked.exists()


def test_a_lock_of_another_user_stays(locked, tmp_path, monkeypatch):
    monkeypatch.setattr(os, "getuid", lambda: locked.stat().st_uid + 1)
    with pytest.raises(DaamBenchError, match=f"user {locked.stat().st_uid}"):
        clear_stale_lock(tmp_path)
    assert locked.exists()
