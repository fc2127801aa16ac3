import subprocess
import sys
from pathlib import Path

import pytest

from daam_bench.config import DatasetConfig

PROGRAM = Path(sys.executable).parent / "daam-bench"


@pytest.mark.parametrize(
    ("log", "reason"),
    [
        ("/dev/full", "No space left on device"),
        ("/proc/none/step.log", "No such file or directory"),  # its folder cannot be made
        ("/dev", "Is a directory"),  # it cannot be opened
    ],
)
def test_a_log_that_cannot_be_written_is_said_once_and_the_job_goes_on(tmp_path, log, reason):
    (tmp_path / "t.csv").write_text("text,label\nfine,1\nbad,0\n")
    spec = DatasetConfig(kind="table", path=str(tmp_path / "t.csv"), modality="text").model_dump_json()
    words = ["step", "list-samples", "d", tmp_path / "samples.parquet", "--spec", spec, "--log", log]
    done = subprocess.run([PROGRAM, *words], capture_output=True, text=True, check=True)
    assert done.stderr == f"{log}: the log cannot be written ({reason})\n"
    assert (tmp_path / "samples.parquet").exists()
