"""Read the plain values of a pickle file that a dataset is published as, without running what it names.

A pickle's danger is that it names callables: here every name but those that numpy writes for arrays is
refused, and these stand for inert records of our own.
"""

import io
import pickle
import pickletools
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from daam_bench.errors import DataError


class _Type:
    """Stands for numpy.dtype: keeps the code, such as `u1`."""

    def __init__(self, code: str, *_: object) -> None:
        self.code = code

    def __setstate__(self, _state: object) -> None:
        """The state is byte order and the like, which one-byte values do not need."""


class _Array:
    """Stands for numpy.ndarray: keeps the state, to be read by `_plain`."""

    state: tuple[Any, ...] = ()

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        self.state = state


def _reconstruct(*_: object) -> _Array:
    return _Array()


def _encode(text: str, encoding: str) -> bytes:
    """Stand for _codecs.encode, by which Python 3 writes bytes into old protocols."""
    if encoding not in {"latin1", "latin-1"}:
        raise ValueError(f"bytes in {encoding}")
    return text.encode("latin-1")


_STAND_INS: dict[tuple[str, str], Any] = {
    ("_codecs", "encode"): _encode,
    ("numpy", "ndarray"): _Array,
    ("numpy", "dtype"): _Type,
    ("numpy.core.multiarray", "_reconstruct"): _reconstruct,
    ("numpy._core.multiarray", "_reconstruct"): _reconstruct,
}


class _InertReader(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in _STAND_INS:
            raise pickle.UnpicklingError(f"it names {module}.{name}")
        return _STAND_INS[module, name]


def read_inert(path: Path) -> dict[str, Any]:
    """Return the mapping that a pickle file holds: texts, numbers, lists, and arrays of bytes.

    Raises:
        DataError: if the file is missing, is no such mapping, or names anything else.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise DataError(f"cannot be read ({error.strerror})", where=path) from None
    return inert_mapping(data, path)


def inert_mapping(data: bytes, where: object) -> dict[str, Any]:
    """Return what `read_inert` does, of the content of a file; `where` is named in errors.

    Raises:
        DataError: if it is no such mapping, or names anything else.
    """
    try:
        _refuse_absurd(data)
        return _mapping(io.BytesIO(data))
    except Exception as error:  # a hostile file makes the reader raise anything
        raise DataError(
            f"cannot be read safely ({error})",
            where=where,
            expected="a mapping of texts, lists and arrays of bytes, as CIFAR publishes it",
        ) from None


def _refuse_absurd(data: bytes) -> None:
    """Refuse numbered places beyond the file's size: the reader would take memory for all below them."""
    for opcode, argument, _ in pickletools.genops(data):
        if opcode.name in {"PUT", "BINPUT", "LONG_BINPUT"} and int(argument or 0) > len(data):
            raise pickle.UnpicklingError(f"it has a place number {argument}")


def _mapping(handle: BinaryIO) -> dict[str, Any]:
    # CIFAR's files were written by Python 2, whose texts are bytes.
    found = _InertReader(handle, encoding="latin-1").load()
    if not isinstance(found, dict):
        raise ValueError(f"found {type(found).__name__}")
    texts = {k.decode("latin-1") if isinstance(k, bytes) else str(k): v for k, v in found.items()}
    return {key: _plain(value) for key, value in texts.items()}


def _plain(value: Any) -> Any:
    if not isinstance(value, _Array):
        return value
    _version, shape, kind, fortran, data = value.state
    if kind.code != "u1" or fortran:
        raise ValueError(f"an array of {kind.code}")
    return np.frombuffer(data.encode("latin-1") if isinstance(data, str) else data, np.uint8).reshape(shape)
