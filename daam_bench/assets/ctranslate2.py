"""Read the binary weight format of CTranslate2 (version 6), without its library.

Little-endian throughout. A string is a uint16 length, then that many bytes, a zero byte last.

    uint32 format version, string name of the model's specification, uint32 its revision,
    uint32 number of variables, then each: string name, uint8 rank, uint32 x rank shape,
        uint8 type, uint32 number of bytes, the bytes in row-major order,
    uint32 number of aliases, then each: string alias, string name of the variable.
"""

import struct

import numpy as np

from daam_bench.errors import DataError

VERSION = 6
_TYPES: dict[int, type[np.generic]] = {0: np.float32, 1: np.int8, 2: np.int16, 3: np.int32, 4: np.float16}


class _Reader:
    def __init__(self, data: bytes, where: object) -> None:
        self.data, self.where, self.position = data, where, 0

    def take(self, size: int) -> bytes:
        part = self.data[self.position : self.position + size]
        if len(part) != size:
            raise DataError(
                "the file ends early", where=self.where, expected=f"{size} bytes", found=len(part)
            )
        self.position += size
        return part

    def number(self, code: str) -> int:
        (value,) = struct.unpack(f"<{code}", self.take(struct.calcsize(code)))
        return int(value)

    def text(self) -> str:
        return self.take(self.number("H")).removesuffix(b"\0").decode()

    def array(self) -> np.ndarray:
        shape = [self.number("I") for _ in range(self.number("B"))]
        code = self.number("B")
        if code not in _TYPES:
            raise DataError("unknown type of numbers", where=self.where, expected=sorted(_TYPES), found=code)
        values = np.frombuffer(self.take(self.number("I")), dtype=np.dtype(_TYPES[code]).newbyteorder("<"))
        if values.size != np.prod(shape, dtype=np.int64):
            raise DataError(
                "size does not match the shape", where=self.where, expected=shape, found=values.size
            )
        return values.reshape(shape)


def read_variables(data: bytes, specification: str, where: object = None) -> dict[str, np.ndarray]:
    """Return the variables of a model.bin by name, aliases left out.

    Args:
        data: the file's bytes.
        specification: what the file must say it is, for example `WhisperSpec`.
        where: what messages call the file.

    Raises:
        DataError: if the version or specification is another, or the file is cut short, too long or damaged.
    """
    try:
        return _read_variables(_Reader(data, where), specification)
    except ValueError as error:  # of texts and shapes
        raise DataError(f"the file is damaged ({error})", where=where) from None


def _read_variables(reader: _Reader, specification: str) -> dict[str, np.ndarray]:
    version = reader.number("I")
    if version != VERSION:
        raise DataError("another version of the format", where=reader.where, expected=VERSION, found=version)
    found = reader.text()
    if found != specification:
        raise DataError("another kind of model", where=reader.where, expected=specification, found=found)
    reader.number("I")
    variables = {}
    for _ in range(reader.number("I")):
        name = reader.text()
        variables[name] = reader.array()
    for _ in range(reader.number("I")):
        reader.text(), reader.text()
    if left := len(reader.data) - reader.position:
        raise DataError("bytes are left over", where=reader.where, found=left)
    return variables
