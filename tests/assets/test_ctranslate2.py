import struct

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from daam_bench.assets.ctranslate2 import read_variables
from daam_bench.errors import DataError

ARRAYS = st.sampled_from(["float32", "int8", "int16", "int32", "float16"]).flatmap(
    lambda dtype: hnp.arrays(dtype, hnp.array_shapes(min_dims=0, min_side=0, max_side=3))
)


@given(st.dictionaries(st.text("abc/_é", max_size=7), ARRAYS, max_size=3))
def test_what_was_written_is_read(model_bin, variables):
    read = read_variables(model_bin(variables, aliases=[("other", "a")]), "ToySpec")
    assert list(read) == list(variables)
    for name, value in variables.items():
        assert read[name].dtype == value.dtype
        np.testing.assert_array_equal(read[name], value)


TWO = {"a": np.arange(6, dtype=np.float16).reshape(2, 3), "b": np.array(7, dtype=np.int16)}


def test_file_cut_short_anywhere_is_refused(model_bin):
    whole = model_bin(TWO, aliases=[("c", "a")])
    for size in range(len(whole)):
        with pytest.raises(DataError, match="ends early"):
            read_variables(whole[:size], "ToySpec")


@pytest.mark.parametrize(
    ("changes", "old", "new", "message"),
    [
        ({"version": 5}, b"", b"", "version.*expected 6; found 5"),
        ({"specification": "Other"}, b"", b"", "expected ToySpec; found Other"),
        ({}, struct.pack("<II", 2, 3), struct.pack("<II", 2, 5), r"shape.*\[2, 5\].*6"),
        ({}, struct.pack("<BI", 4, 12), struct.pack("<BI", 9, 12), "type.*found 9"),
    ],
    ids=["version", "specification", "shape", "type"],
)
def test_another_format_is_refused(model_bin, changes, old, new, message):
    data = model_bin(TWO, **({"specification": "ToySpec"} | changes)).replace(old, new)
    with pytest.raises(DataError, match=rf"model\.bin: .*{message}"):
        read_variables(data, "ToySpec", "model.bin")


def test_bytes_left_over_are_refused(model_bin):
    with pytest.raises(DataError, match="left over; found 3"):
        read_variables(model_bin(TWO) + b"abc", "ToySpec")


@given(st.binary(max_size=200), st.integers(0, 120))
def test_any_other_bytes_are_refused_or_read(model_bin, noise, place):
    whole = model_bin(TWO)
    try:
        read_variables(whole[:place] + noise + whole[place + len(noise) :], "ToySpec")
    except DataError as error:
        assert str(error)
