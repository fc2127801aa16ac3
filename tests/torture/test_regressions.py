"""What `make torture` found, each as small as it gets."""

import json
import os
import re
import subprocess
import sys
import textwrap
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import soundfile
from contracts.test_store_contract import fill

from daam_bench import cli
from daam_bench.cache.hdf5_store import Hdf5Store
from daam_bench.cache.ledger import Ledger, _checksum
from daam_bench.cache.structure import check_structure, describe_structure, restore_structure, save_structure
from daam_bench.config import DatasetConfig
from daam_bench.config.merge import load_merged
from daam_bench.contents import contents_fingerprint
from daam_bench.datasets.class_folders import read_class_folders
from daam_bench.datasets.vader import _read_source
from daam_bench.encoders.media import read_audio
from daam_bench.encoders.text import text_problem
from daam_bench.errors import CacheError, ConfigError, DataError, MachineError
from daam_bench.plan import make_plan

ROOT = Path(__file__).parents[2]


def test_a_summary_that_was_torn_by_a_kill_is_undone(tmp_path):
    path = fill(tmp_path, "hdf5")
    with Hdf5Store.open(path) as store:
        places = store.value_places()
    whole = path.read_bytes()
    save_structure(path, places, path.with_name(f"{path.name}.structure"))
    path.write_bytes(b"torn" + whole[4:] + b"more")
    Hdf5Store.open(path, writable=True).close()
    assert path.read_bytes() == whole
    assert not path.with_name(f"{path.name}.structure").exists()


def test_a_copy_of_the_structure_that_is_cut_is_not_used(tmp_path):
    file, copy = tmp_path / "file", tmp_path / "copy"
    file.write_bytes(b"abcdefgh")
    save_structure(file, [(2, 3)], copy)
    copy.write_bytes(copy.read_bytes()[:-1])
    file.write_bytes(b"ABCDEFGH")
    restore_structure(file, copy)
    assert file.read_bytes() == b"ABCDEFGH"


@pytest.mark.parametrize(("position", "found"), [(0, True), (1, True), (2, False), (4, False), (5, True)])
def test_the_structure_is_all_but_the_values(tmp_path, position, found):
    file = tmp_path / "cache.h5"
    file.write_bytes(b"abcdefgh")
    expected = json.loads(json.dumps(describe_structure(file, [(2, 1), (3, 2)])))
    assert expected["places"] == [[2, 3]]
    check_structure(file, expected)
    data = bytearray(b"abcdefgh")
    data[position] ^= 1
    file.write_bytes(data)
    if found:
        with pytest.raises(CacheError, match="structure is not what was committed"):
            check_structure(file, expected)
    else:
        check_structure(file, expected)


def test_a_ledger_line_with_a_right_checksum_and_wrong_content_is_dropped(tmp_path):
    text = b'{"chunk":-1,"sha256":"x","lengths":[],"quarantined":{}}'
    (tmp_path / "l").write_bytes(_checksum(text) + b" " + text + b"\n")
    assert Ledger(tmp_path / "l").read() == {}


def test_own_files_are_known_by_their_contents_not_their_clocks(tmp_path):
    folder, memory = tmp_path / "own", tmp_path / "memory" / "m.json"
    folder.mkdir()
    (folder / "a.bin").write_bytes(b"1")
    (folder / "README.md").write_bytes(b"x")
    first = contents_fingerprint(folder, memory, (".bin",))
    os.utime(folder / "a.bin", (9, 9))
    (folder / "README.md").write_bytes(b"y")
    assert contents_fingerprint(folder, memory, (".bin",)) == first
    memory.write_text("[]")
    assert contents_fingerprint(folder, memory, (".bin",)) == first
    (folder / "a.bin").write_bytes(b"2")
    assert contents_fingerprint(folder, memory, (".bin",)) != first
    assert contents_fingerprint(tmp_path / "nowhere", memory) != first


def test_a_full_disk_is_one_line_and_status_7(monkeypatch, capsys, tmp_path):
    monkeypatch.setattr(sys, "argv", ["daam-bench", "schema", "--output", str(tmp_path / "no" / "file")])
    monkeypatch.setattr(sys, "unraisablehook", sys.unraisablehook)
    with pytest.raises(SystemExit) as ended:
        cli.main()
    assert ended.value.code == 7
    assert re.fullmatch(r"error: .*No such file or directory\n", capsys.readouterr().err)


@pytest.mark.parametrize("text", ["a: " + "1" * 5000, "[" * 2000, "protocol: {name: []}"])
def test_absurd_configurations_are_refused(tmp_path, text):
    (tmp_path / "config.yaml").write_text(text)
    with pytest.raises(ConfigError):
        load_merged(tmp_path / "config.yaml")


def test_an_empty_file_of_vader_is_refused(tmp_path):
    (tmp_path / "amazon.txt").write_text("")
    with pytest.raises(DataError, match="the file is empty"):
        _read_source(tmp_path / "amazon.txt", "amazon")


def test_a_file_name_that_is_no_unicode_is_refused(tmp_path):
    for label in ("low", "high"):
        (tmp_path / label).mkdir()
    (tmp_path / "low" / os.fsdecode(b"\xff.png")).write_bytes(b"x")
    with pytest.raises(DataError, match=r"not valid Unicode.*\\udcff\.png"):
        read_class_folders(DatasetConfig(kind="class_folders", path=str(tmp_path), modality="vision"))


def test_texts_that_cannot_be_encoded_have_a_reason():
    found = pd.Series(["", "\ud800", "fine"], dtype=object).map(text_problem).tolist()
    assert found[:2] == ["empty text", "text is not valid Unicode"]
    assert found[2] is None or pd.isna(found[2])


def test_a_sample_rate_that_would_take_all_memory_is_refused(tmp_path):
    soundfile.write(tmp_path / "a.wav", np.zeros(99), 8000)
    data = bytearray((tmp_path / "a.wav").read_bytes())
    data[24:28] = (2**31 - 1).to_bytes(4, "little")
    (tmp_path / "a.wav").write_bytes(data)
    with pytest.raises(DataError, match="2147483647 samples a second"):
        read_audio({"file": "a.wav"}, tmp_path, 16000, 60.0)


def test_a_path_that_no_system_can_have_is_missing(tmp_path):
    (tmp_path / "config.yaml").write_text(
        "datasets: {d: {kind: digits, path: " + "x" * 5000 + "}}\n"
        "encoders: {e: {modality: vision, model: .}}\n"
        "experiments: [{dataset: d, encoder: e}]\n"
    )
    (found,) = make_plan(load_merged(tmp_path / "config.yaml")).missing
    assert "datasets.d: path cannot be looked at (File name too long)" in str(found)


def test_what_fails_while_a_library_lets_go_of_a_file_is_no_traceback():
    script = """
        import atexit, sys
        from daam_bench import cli
        # What h5py does with a file that it cannot flush, at any moment.
        atexit.register(lambda: sys.excepthook(OSError, OSError("late"), None))
        sys.argv = ["daam-bench", "variants"]
        cli.main()
    """
    command = [sys.executable, "-c", textwrap.dedent(script)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert "daam_v1" in done.stdout
    assert "late" not in done.stderr


EVERY_WRITE = """
    import errno
    import json
    import sys
    from dataclasses import replace
    from pathlib import Path

    import numpy as np

    from benchmarks.torture.children import run_child
    from benchmarks.torture.shim import How, Watch, restart_under_shim

    restart_under_shim()

    from contracts.test_store_contract import SAMPLES, make_layout, values
    from daam_bench.cache.hdf5_store import Hdf5Store

    folder, watch = Path(sys.argv[1]), Watch()

    def write(nth, how=How.FAIL_ONCE):
        file = folder / f"{nth}.h5"
        watch.arm(folder, nth, how, errno.EIO)
        with Hdf5Store.create(file, replace(make_layout(), rows_per_chunk=SAMPLES)) as store:
            store.write_chunk(0, values())
            store.write_summary(np.arange(SAMPLES), {"complete": 1})
        return file.read_bytes()

    whole = write(0, How.COUNT)
    number = watch.calls
    ended = {nth: run_child(lambda nth=nth: write(nth)) for nth in range(1, number + 1)}
    unnoticed = [nth for nth, end in ended.items() if not end.code]
    differ = [nth for nth in unnoticed if (folder / f"{nth}.h5").read_bytes() != whole]
    print(json.dumps({"number": number, "differ": differ}))
"""


def test_one_failed_write_of_hdf5_is_noticed_or_changes_nothing(tmp_path):
    script = tmp_path / "script.py"
    script.write_text(textwrap.dedent(EVERY_WRITE))
    paths = f"{ROOT}{os.pathsep}{ROOT / 'tests'}"
    done = subprocess.run(
        [sys.executable, str(script), str(tmp_path)],
        env=os.environ | {"PYTHONPATH": paths},
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout.splitlines()[-1])
    assert found["number"] > 30
    assert found["differ"] == []


FULL_DISK = """
    import errno
    import sys
    from dataclasses import replace
    from pathlib import Path

    import numpy as np

    from benchmarks.torture.shim import How, Watch, restart_under_shim

    restart_under_shim()

    from contracts.test_store_contract import SAMPLES, make_layout, values
    from daam_bench.cache.hdf5_store import Hdf5Store
    from daam_bench.errors import MachineError

    folder, nth, watch = Path(sys.argv[1]), int(sys.argv[2]), Watch()
    try:
        with Hdf5Store.create(folder / "x.h5", replace(make_layout(), rows_per_chunk=SAMPLES)) as store:
            store.write_chunk(0, values())
            watch.arm(folder / "x.h5", nth, How.FAIL_ON, errno.ENOSPC)
            store.write_summary(np.arange(SAMPLES), {"complete": 1})
    except MachineError:
        sys.exit(MachineError.exit_code)
"""


def test_a_disk_that_fills_up_while_hdf5_is_finished_does_not_crash_the_process(tmp_path):
    script = tmp_path / "script.py"
    script.write_text(textwrap.dedent(FULL_DISK))
    paths = f"{ROOT}{os.pathsep}{ROOT / 'tests'}"
    codes = [
        subprocess.run(
            [sys.executable, str(script), str(tmp_path), str(nth)],
            env=os.environ | {"PYTHONPATH": paths},
            capture_output=True,
            check=False,
            timeout=300,
        ).returncode
        for nth in (2, 4, 6)
    ]
    assert codes == [MachineError.exit_code] * len(codes)
