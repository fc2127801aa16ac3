import subprocess
import sys
from pathlib import Path

from daam_bench.config import DatasetConfig

PROGRAM = Path(sys.executable).parent / "daam-bench"


def test_a_log_that_cannot_be_written_is_said_once_and_the_job_goes_on(tmp_path):
    (tmp_path / "t.csv").write_text("text,label\nfine,1\nbad,0\n")
    spec = DatasetConfig(kind="table", path=str(tmp_path / "t.csv"), modality="text").model_dump_json()
    words = ["step", "list-samples", "d", tmp_path / "samples.parquet", "--spec", spec, "--log", "/dev/full"]
    done = subprocess.run([PROGRAM, *words], capture_output=True, text=True, check=True)
    assert done.stderr == "/dev/full: the log cannot be written (No space left on device)\n"
    assert (tmp_path / "samples.parquet").exists()
