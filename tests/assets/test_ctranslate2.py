import struct

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from daam_bench.assets.ctranslate2 import read_variables
from daam_bench.errors import DataError

CODES = {"float32": 0, "int8": 1, "int16": 2, "int32": 3, "float16": 4}


def text(value):
    data = value.encode() + b"\0"
    return struct.pack("<H", len(data)) + data


def model_bin(variables, version=6, specification="ToySpec", aliases=()):
    """Return the bytes of a model.bin, written from the description of the format."""
    parts = [struct.pack("<I", version), text(specification), struct.pack("<II", 3, len(variables))]
    for name, value in variables.items():
        shape = struct.pack(f"<B{value.ndim}I", value.ndim, *value.shape)
        data = value.astype(value.dtype.newbyteorder("<")).tobytes()
        parts += [text(name), shape, struct.pack("<BI", CODES[value.dtype.name], len(data)), data]
    parts.append(struct.pack("<I", len(aliases)))
    parts += [text(name) for pair in aliases for name in pair]
    return b"".join(parts)


ARRAYS = st.sampled_from(list(CODES)).flatmap(
    lambda dtype: hnp.arrays(dtype, hnp.array_shapes(min_dims=0, min_side=0, max_side=3))
)


@given(st.dictionaries(st.text("abc/_é", max_size=7), ARRAYS, max_size=3))
def test_what_was_written_is_read(variables):
    read = read_variables(model_bin(variables, aliases=[("other", "a")]), "ToySpec")
    assert list(read) == list(variables)
    for name, value in variables.items():
        assert read[name].dtype == value.dtype
        np.testing.assert_array_equal(read[name], value)


TWO = {"a": np.arange(6, dtype=np.float16).reshape(2, 3), "b": np.array(7, dtype=np.int16)}


def test_file_cut_short_anywhere_is_refused():
    whole = model_bin(TWO, aliases=[("c", "a")])
    for size in range(len(whole)):
        with pytest.raises(DataError, match="ends early"):
            read_variables(whole[:size], "ToySpec")


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (model_bin(TWO, version=5), "version.*expected 6; found 5"),
        (model_bin(TWO, specification="Other"), "expected ToySpec; found Other"),
        (model_bin(TWO) + b"abc", "left over; found 3"),
        (model_bin(TWO).replace(struct.pack("<II", 2, 3), struct.pack("<II", 2, 5)), r"shape.*\[2, 5\].*6"),
        (model_bin(TWO).replace(struct.pack("<BI", 4, 12), struct.pack("<BI", 9, 12)), "type.*found 9"),
    ],
    ids=["version", "specification", "left-over", "shape", "type"],
)
def test_another_format_is_refused(data, message):
    with pytest.raises(DataError, match=rf"model\.bin: .*{message}"):
        read_variables(data, "ToySpec", "model.bin")
