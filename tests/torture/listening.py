"""What Python is asked to run while a test opens something: pickles, commands, code that nobody installed."""

import sys
import sysconfig
from pathlib import Path

import pytest

_SEEN: list[tuple[str, str]] = []
_WATCHED: list[Path] = []
# Where code may come from: what is installed, and the project.
_TRUSTED = (*sysconfig.get_paths().values(), sys.prefix, sys.base_prefix, str(Path(__file__).parents[2]))
# What writes code out of names and annotations in installed code, or parses some (ast).
_WRITERS = (
    "/ast.py",
    "/collections/__init__.py",
    "/dataclasses.py",
    "/typing.py",
    "/jaxtyping/_decorator.py",
    "/beartype/_util/func/utilfuncmake.py",
)


def _listen(event, arguments):
    if not _WATCHED:
        return
    if event in {"pickle.find_class", "os.system", "subprocess.Popen"}:
        _SEEN.append((event, str(arguments[:2])))
    elif event in {"exec", "compile"}:
        file = str(arguments[1] if event == "compile" else arguments[0].co_filename)
        if not _is_trusted(file, sys._getframe(1)):
            _SEEN.append((event, f"{file}: {str(arguments)[:200]}"))
    elif event == "import" and str(_WATCHED[0]) in str(arguments):
        _SEEN.append((event, str(arguments)[:200]))


def _is_trusted(file, caller):
    if file.startswith("<frozen "):
        return True
    if not file.startswith("/"):  # such as <string>
        return caller.f_code.co_filename.endswith(_WRITERS) or _imports(caller)
    return file.startswith(_TRUSTED) and not file.startswith(str(_WATCHED[0]))


sys.addaudithook(_listen)


def _imports(frame):
    """Return whether a module is being imported: many write some of their code."""
    while frame is not None:
        if frame.f_code.co_filename == "<frozen importlib._bootstrap>":
            return True
        frame = frame.f_back
    return False


@pytest.fixture
def audited(tmp_path):
    """Return the dangerous events while a test runs; code that lies in its folder is nobody's."""
    _SEEN.clear()
    _WATCHED.append(tmp_path)
    yield _SEEN
    _WATCHED.clear()


class Bomb:
    """What ends the process where it is unpickled."""

    def __reduce__(self):
        return (exec, ("raise SystemExit('it ran')",))
