"""`daam-bench` and `snakemake` without their imports, which take most of the time of a short job.

One process imports everything once, and forks for each start. The programs that `start_warm` writes are
clients of it: they hand over arguments, environment, working folder and streams, and end as the fork ends.
What the real programs do as they start is tested with the real programs: tests/cli/test_program.py, and the
run that is killed in tests/workflow/test_workflow.py.
"""

import importlib
import json
import os
import signal
import socket
import subprocess
import sys
import threading
from contextlib import suppress
from pathlib import Path

# Where the programs are, for the workers of a run.
FOLDER = "DAAM_TESTS_WARM"
# What the jobs of a workflow import.
_IMPORTS = (
    "daam_bench.cli",
    "daam_bench.steps",
    "daam_bench.cache.repair",
    "daam_bench.training.run",
    "daam_bench.tuning.run",
    "daam_bench.analysis.report",
    "daam_bench.analysis.tables",
    "daam_bench.analysis.figures",
    "daam_bench.costs.probe",
    "snakemake.cli",
    "torch._dynamo",
    "transformers.models.bert.modeling_bert",
)
_CLIENT = """#!{python} -IS
import json, os, socket, sys

with socket.socket(socket.AF_UNIX) as server:
    server.connect({place!r})
    request = json.dumps([sys.argv, os.getcwd(), dict(os.environ)]).encode()
    socket.send_fds(server, [len(request).to_bytes(8, "big")], [0, 1, 2])
    server.sendall(request)
    status = server.recv(1)
sys.exit(status[0] if status else 128 + 9)
"""


def start_warm(folder: Path) -> subprocess.Popen[bytes]:
    """Write the programs into an empty folder and start the process behind them.

    It imports when a program is started for the first time.
    """
    place = folder / "socket"
    for name in ("daam-bench", "snakemake"):
        program = folder / name
        program.write_text(_CLIENT.format(python=sys.executable, place=str(place)), encoding="utf-8")
        program.chmod(0o755)
    server = socket.socket(socket.AF_UNIX)
    server.bind(str(place))
    server.listen(64)
    # Not with this folder on the path: it has folders by the names of libraries.
    command = [sys.executable, "-P", __file__, str(server.fileno())]
    with server:
        return subprocess.Popen(command, pass_fds=[server.fileno()], stdin=subprocess.DEVNULL)


def program(name: str) -> str:
    """Return the path of a warm program."""
    return str(Path(os.environ[FOLDER], name))


def _serve(server: socket.socket) -> None:
    imported, parent = False, os.getppid()
    server.settimeout(10)
    while os.getppid() == parent:  # tests that are killed end nothing themselves
        try:
            connection, _ = server.accept()
        except TimeoutError:
            continue
        if not imported:
            for name in _IMPORTS:
                importlib.import_module(name)
            imported = True
        with suppress(ChildProcessError):  # none left
            while os.waitpid(-1, os.WNOHANG)[0]:
                pass
        if os.fork() == 0:
            server.close()
            _become(connection)
        connection.close()


def _become(connection: socket.socket) -> None:
    """Be the program that a client asks for; never returns."""
    code = 70
    try:
        header, streams, *_ = socket.recv_fds(connection, 8, 3)
        request = _receive(connection, int.from_bytes(header, "big"))
        sys.argv, folder, environment = json.loads(request)
        for number, stream in enumerate(streams):
            os.dup2(stream, number)
            os.close(stream)
        sys.stdin, sys.stdout, sys.stderr = os.fdopen(0), os.fdopen(1, "w"), os.fdopen(2, "w", buffering=1)
        os.environ.clear()
        os.environ.update(environment)
        os.chdir(folder)
        threading.Thread(target=_end_with, args=(connection,), daemon=True).start()
        code = _run(Path(sys.argv[0]))
        sys.stdout.flush()
        sys.stderr.flush()
    finally:
        with suppress(OSError):
            connection.sendall(bytes([code]))
        os._exit(code)


def _receive(connection: socket.socket, size: int) -> bytes:
    parts = []
    while size:
        if not (part := connection.recv(min(size, 2**16))):
            raise ConnectionError("the client has gone")
        parts.append(part)
        size -= len(part)
    return b"".join(parts)


def _end_with(client: socket.socket) -> None:
    """End when a client ends before its program."""
    if not client.recv(1):
        os.kill(os.getpid(), signal.SIGKILL)


def _run(called: Path) -> int:
    """Run a program, and return its status."""
    try:
        if called.name == "snakemake":
            import snakemake.cli

            sys.executable = str(called.with_name("python"))  # jobs find programs beside it
            snakemake.cli.main(sys.argv[1:])
        else:
            import daam_bench.cli

            daam_bench.cli.main()
    except SystemExit as leaving:
        if isinstance(leaving.code, str):
            sys.stderr.write(f"{leaving.code}\n")
        return leaving.code if isinstance(leaving.code, int) else int(leaving.code is not None)
    return 0


if __name__ == "__main__":
    _serve(socket.socket(fileno=int(sys.argv[1])))
