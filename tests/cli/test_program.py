"""The program as scripts and shells meet it."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from daam_bench import __version__, cli
from daam_bench.heads.presets import RESERVED
from daam_bench.training.names import BASELINES

PROGRAM = str(Path(sys.executable).parent / "daam-bench")


def start(*words, **changes):
    environment = {k: v for k, v in os.environ.items() if k != "NO_COLOR"} | changes
    return subprocess.run([PROGRAM, *words], capture_output=True, text=True, check=False, env=environment)


def test_a_closed_pipe_is_no_traceback():
    read, write = os.pipe()
    os.close(read)
    with os.fdopen(write, "w") as closed:
        done = subprocess.run(
            [PROGRAM, "variants", "--json"], stdout=closed, stderr=subprocess.PIPE, text=True, check=False
        )
    assert done.stderr == ""
    assert done.returncode == 1


@pytest.mark.parametrize("error", [KeyboardInterrupt, PermissionError(13, "Permission denied", "x.png")])
def test_an_interruption_or_a_refused_file_is_no_traceback(call, monkeypatch, error):
    def stop(*_):
        raise error

    monkeypatch.setattr("daam_bench.provenance.difference.compare_results", stop)
    code, _, err = call("diff", "a", "b")
    if error is KeyboardInterrupt:
        assert (code, err.strip()) == (130, "")
    else:
        assert (code, err) == (7, "error: x.png: Permission denied\n")


def test_it_says_its_version(call):
    assert call("--version") == (0, f"daam-bench {__version__}\n", "")


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_knows_the_commands(shell):
    done = start(_DAAM_BENCH_COMPLETE=f"source_{shell}")
    assert done.returncode == 0, done.stderr
    assert "_DAAM_BENCH_COMPLETE" in done.stdout


def test_completion_lists_the_commands():
    words = {"COMP_WORDS": "daam-bench ex", "COMP_CWORD": "1", "_DAAM_BENCH_COMPLETE": "complete_bash"}
    assert "explain" in start(**words).stdout.split()


def test_colour_can_be_switched_off(monkeypatch):
    seen = []
    monkeypatch.setattr(cli.typer, "secho", lambda message, fg, err: seen.append(fg))
    for value in ("", "1"):
        monkeypatch.setenv("NO_COLOR", value)
        with pytest.raises(SystemExit):
            cli._fail("no", 3)
    assert seen == [cli.typer.colors.RED, None]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("explain", r"Missing argument 'cell'\. See daam-bench explain --help\."),
        ("pln", r"No such command 'pln'\. Did you mean .*plan.*\? See daam-bench --help\."),
        ("cache info x --rows none", r"Invalid value for '--rows': .*\. See daam-bench cache info --help\."),
    ],
)
def test_wrong_usage_is_one_line_with_the_remedy_and_ends_with_2(call, words, said):
    code, out, err = call(*words.split())
    assert (code, out) == (2, "")
    assert re.fullmatch(f"error: {said}\n", err)


@pytest.mark.parametrize("words", [[], ["cache"]])
def test_a_group_without_a_command_shows_its_help(call, words):
    code, out, err = call(*words)
    assert (code, err) == (2, "") and "Commands" in out


def test_every_command_has_help(call):
    for words in (
        ["plan"],
        ["doctor"],
        ["run"],
        ["explain"],
        ["diff"],
        ["cache", "export"],
        ["new", "dataset"],
    ):
        code, out, _ = call(*words, "--help")
        assert code == 0
        assert "Usage" in out


def test_reserved_names_are_those_of_the_baselines():
    assert RESERVED == BASELINES
