"""The programs that tests start warm are those that are installed."""

import subprocess

import pytest
from warm import program
from workflow.whole import real


@pytest.mark.parametrize(
    ("name", "words", "status"),
    [
        ("daam-bench", ["datasets"], 0),
        ("daam-bench", ["cache", "info", "nothing here"], 5),
        ("snakemake", ["--version"], 0),
        ("snakemake", ["--dry-run"], 1),
    ],
)
def test_a_warm_program_says_what_the_real_one_says_and_ends_like_it(tmp_path, name, words, status):
    assert program(name) != real(name)
    warm, cold = (
        subprocess.run([path, *words], cwd=tmp_path, capture_output=True, text=True, check=False)
        for path in (program(name), real(name))
    )
    assert (warm.returncode, warm.stdout) == (status, cold.stdout)
    assert (cold.returncode, cold.stderr) == (status, warm.stderr)
    assert warm.stdout or warm.stderr


def test_a_warm_program_has_folder_streams_and_environment_of_its_caller(tmp_path):
    script = tmp_path / "Snakefile"
    script.write_text('rule all:\n    shell: "echo $WORD; cat; false"\n')
    done = subprocess.run(
        [program("snakemake"), "--cores", "1", "--quiet", "all"],
        cwd=tmp_path,
        env={"WORD": "from the caller", "PATH": "/usr/bin:/bin"},
        input="by a pipe",
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert "from the caller" in done.stdout
