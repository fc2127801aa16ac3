"""The preloaded library that counts writing calls and lets the n-th fail."""

import ctypes
import os
import shutil
import subprocess
import sys
import tempfile
from enum import IntEnum
from pathlib import Path

_SOURCE = Path(__file__).with_name("shim.c")
_VARIABLE = "DAAM_TORTURE_SHIM"


class How(IntEnum):
    """What the n-th writing call meets."""

    COUNT = 0
    FAIL_ONCE = 1
    FAIL_ON = 2  # it and all later ones, as a full disk does
    KILL_BEFORE = 3
    KILL_TORN = 4
    KILL_AFTER = 5


def restart_under_shim() -> None:
    """Build the library and start this program again with it; return at once where it is loaded."""
    if _VARIABLE in os.environ:
        return
    compiler = next((found for name in ("cc", "gcc", "clang") if (found := shutil.which(name))), None)
    if compiler is None:
        sys.exit("torture needs a C compiler (Debian, Ubuntu: apt install gcc)")
    library = Path(tempfile.mkdtemp(prefix="torture-shim-"), "shim.so")
    subprocess.run([compiler, "-shared", "-fPIC", "-O1", "-o", library, _SOURCE, "-ldl"], check=True)
    # One thread each: forked children inherit no thread but their own.
    threads = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
    environment = os.environ | threads | {_VARIABLE: str(library), "LD_PRELOAD": str(library)}
    os.execve(sys.executable, sys.orig_argv, environment)


def arm(folder: Path, nth: int, how: How, error: int = 0) -> None:
    """From here on, count this process's writing calls below a folder; the n-th meets `how`."""
    _library().fault_arm(str(folder).encode(), ctypes.c_long(nth), int(how), error)


def calls() -> int:
    """Return the number of writing calls since `arm`."""
    return int(_library().fault_calls())


def _library() -> ctypes.CDLL:
    library = ctypes.CDLL(os.environ[_VARIABLE])
    library.fault_calls.restype = ctypes.c_long
    library.fault_arm.argtypes = [ctypes.c_char_p, ctypes.c_long, ctypes.c_int, ctypes.c_int]
    return library
