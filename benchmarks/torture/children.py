"""Forked children of a warm parent: work that may be killed, crash, hang or eat memory."""

import gc
import importlib
import os
import resource
import select
import signal
import sys
import tempfile
import time
import traceback
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Ended:
    """How a child ended.

    Attributes:
        code: exit status; minus the signal's number where a signal ended it.
        text: what it wrote to its standard streams.
        seconds: from the fork to its end.
        killed: whether the parent killed it at the moment that was asked for.
    """

    code: int
    text: str
    seconds: float
    killed: bool = False

    def problem(self) -> str | None:
        """Return what is wrong with an end that should have been a success, or None."""
        return None if self.code == 0 else f"exit {self.code}: {self.text[-600:]}"


def run_child(
    work: Callable[[], object],
    kill_after: float | None = None,
    limit: float = 120.0,
    mebibytes: int | None = None,
) -> Ended:
    """Run work in a forked child; kill it after some seconds if asked, and at the latest at the limit.

    Args:
        work: what to do; an exception ends the child with status 70 and its traceback.
        kill_after: seconds until SIGKILL.
        limit: seconds after which the child counts as hanging (its code is then -9, `killed` is false).
        mebibytes: memory that the child may take beyond what it inherits.
    """
    with tempfile.TemporaryFile() as streams:
        start = time.perf_counter()
        child = os.fork()
        if child == 0:
            _be_child(work, streams.fileno(), mebibytes)
        handle = os.pidfd_open(child)
        try:
            wait = limit if kill_after is None else kill_after
            ready, _, _ = select.select([handle], [], [], wait)
            if not ready:
                signal.pidfd_send_signal(handle, signal.SIGKILL)
            status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        finally:
            os.close(handle)
        seconds = time.perf_counter() - start
        streams.seek(0)
        text = streams.read().decode(errors="replace")
    killed = not ready and kill_after is not None and status == -signal.SIGKILL
    return Ended(status, text if ready or killed else f"{text}\nno end after {wait} s", seconds, killed)


def warm(work: Callable[[], object]) -> Ended:
    """Run work in a child and import here what it imported, so that later children need not."""
    known, mark = set(sys.modules), "imported:"

    def listing() -> None:
        work()
        print(mark, *(name for name in sys.modules if name not in known))

    ended = run_child(listing)
    if ended.code == 0:
        for name in ended.text.rpartition(mark)[2].split():
            with suppress(ImportError):
                importlib.import_module(name)
        gc.freeze()  # no child looks for garbage among what it inherits
    return ended


def _be_child(work: Callable[[], object], streams: int, mebibytes: int | None) -> None:
    """Do the work and leave; never returns."""
    code = 70
    try:
        os.dup2(streams, 1)
        os.dup2(streams, 2)
        sys.stdout = os.fdopen(1, "w", closefd=False)
        sys.stderr = os.fdopen(2, "w", closefd=False)
        if mebibytes is not None:
            pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[0])
            most = pages * resource.getpagesize() + mebibytes * 2**20
            resource.setrlimit(resource.RLIMIT_AS, (most, most))
        work()
        code = 0
    except SystemExit as leaving:
        if isinstance(leaving.code, int) or leaving.code is None:
            code = leaving.code or 0
        else:
            sys.stderr.write(str(leaving.code))
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def command_line(*arguments: object) -> None:
    """Call `daam-bench` with arguments inside this process; it leaves by SystemExit unless all is well."""
    from daam_bench import cli

    sys.argv = ["daam-bench", *map(str, arguments)]
    try:
        cli.main()
    except SystemExit as leaving:
        if leaving.code not in (0, None):
            raise
