"""The preloaded library that notes writing calls and lets the n-th fail."""

import ctypes
import mmap
import os
import shutil
import subprocess
import sys
import tempfile
from enum import IntEnum
from pathlib import Path

_SOURCE = Path(__file__).with_name("shim.c")
_VARIABLE = "DAAM_TORTURE_SHIM"
_MOST = 4096  # calls that are noted


class How(IntEnum):
    """What the n-th writing call meets."""

    COUNT = 0
    FAIL_ONCE = 1
    FAIL_ON = 2  # it and all later ones, as a full disk does
    KILL_BEFORE = 3
    KILL_TORN = 4
    KILL_AFTER = 5


class _Call(ctypes.Structure):
    _fields_ = (("kind", ctypes.c_char * 12), ("path", ctypes.c_char * 244))


class _Note(ctypes.Structure):
    _fields_ = (("calls", ctypes.c_long), ("inside", ctypes.c_long), ("made", _Call * _MOST))


def restart_under_shim() -> None:
    """Build the library and start this program again with it; return at once where it is loaded."""
    if _VARIABLE in os.environ:
        return
    library = build(Path(tempfile.mkdtemp(prefix="torture-shim-")))
    # One thread each: forked children inherit no thread but their own.
    threads = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
    environment = os.environ | threads | {_VARIABLE: str(library), "LD_PRELOAD": str(library)}
    os.execve(sys.executable, sys.orig_argv, environment)


def build(folder: Path) -> Path:
    """Compile the library into a folder; return its path."""
    compiler = next((found for name in ("cc", "gcc", "clang") if (found := shutil.which(name))), None)
    if compiler is None:
        sys.exit("torture needs a C compiler (Debian, Ubuntu: apt install gcc)")
    library = folder / "shim.so"
    subprocess.run([compiler, "-shared", "-fPIC", "-O1", "-o", library, _SOURCE, "-ldl"], check=True)
    return library


class Watch:
    """The writing calls of a forked child below a folder, in memory that it shares with its parent."""

    def __init__(self) -> None:
        self._note = _Note.from_buffer(mmap.mmap(-1, ctypes.sizeof(_Note)))
        self._library = ctypes.CDLL(os.environ[_VARIABLE])
        kinds = [ctypes.c_char_p, ctypes.c_long, ctypes.c_int, ctypes.c_int, ctypes.POINTER(_Note)]
        self._library.fault_arm.argtypes = kinds

    def clear(self) -> None:
        """Forget what an earlier child did."""
        self._note.calls = self._note.inside = 0

    def arm(self, folder: Path, nth: int = 0, how: How = How.COUNT, error: int = 0) -> None:
        """Watch this process from here on; the n-th of its writing calls below a folder meets `how`."""
        self._library.fault_arm(str(folder).encode(), nth, int(how), error, self._note)

    @property
    def calls(self) -> int:
        """How many calls there were."""
        return int(self._note.calls)

    @property
    def inside(self) -> bool:
        """Whether the child ended inside the last of them."""
        return bool(self._note.inside)

    def made(self) -> list[tuple[str, str]]:
        """Return kind and path, relative to the folder, of each call."""
        return [(call.kind.decode(), os.fsdecode(call.path)) for call in self._note.made[: self.calls]]
