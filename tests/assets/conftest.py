"""CTranslate2's format, written from its description."""

import struct
from collections.abc import Callable

import pytest

CODES = {"float32": 0, "int8": 1, "int16": 2, "int32": 3, "float16": 4}


def _text(value):
    data = value.encode() + b"\0"
    return struct.pack("<H", len(data)) + data


def _model_bin(variables, version=6, specification="ToySpec", aliases=()):
    """Return the bytes of a model.bin, written from the description of the format."""
    parts = [struct.pack("<I", version), _text(specification), struct.pack("<II", 3, len(variables))]
    for name, value in variables.items():
        shape = struct.pack(f"<B{value.ndim}I", value.ndim, *value.shape)
        data = value.astype(value.dtype.newbyteorder("<")).tobytes()
        parts += [_text(name), shape, struct.pack("<BI", CODES[value.dtype.name], len(data)), data]
    parts.append(struct.pack("<I", len(aliases)))
    parts += [_text(name) for pair in aliases for name in pair]
    return b"".join(parts)


@pytest.fixture(scope="session")
def model_bin() -> Callable[..., bytes]:
    """Return what gives the bytes of a model.bin with given variables."""
    return _model_bin
