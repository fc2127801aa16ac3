import subprocess
import sys
import textwrap
from pathlib import Path

import numpy as np
import pytest
from contracts.test_store_contract import ROWS, SAMPLES, fill, values

from daam_bench.cache import stream
from daam_bench.cache.reader import open_cache
from daam_bench.cache.stream import RowReader
from daam_bench.errors import CacheError

pytestmark = pytest.mark.parametrize("kind", ("zarr", "hdf5"))


@pytest.mark.parametrize("dtype", ["float32", "float16"])
def test_any_rows_in_any_order_equal_the_resident_cache(tmp_path, kind, dtype):
    cache = open_cache(fill(tmp_path, kind, dtype))
    rows = np.array([30, 0, 6, 7, 30, 13, 28])
    assert np.array_equal(RowReader(cache).read(rows), cache.load()[rows])


def test_values_come_from_a_memory_map(tmp_path, kind):
    cache = open_cache(fill(tmp_path, kind))
    file, offset = cache.place_of(2)
    raw = np.fromfile(file, "float32", offset=offset, count=ROWS * 5 * 13).reshape(ROWS, 5, 13)
    assert np.array_equal(raw, values()[2 * ROWS : 3 * ROWS])


def test_more_chunks_than_files_that_may_be_open(tmp_path, kind):
    script = textwrap.dedent(f"""
        import resource, sys
        sys.path[:0] = [{str(Path(__file__).parents[1])!r}]
        from dataclasses import replace
        from pathlib import Path
        import numpy as np
        from contracts import test_store_contract as contract
        from daam_bench.cache.reader import open_cache
        from daam_bench.cache.stream import RowReader
        layout = replace(contract.make_layout(), rows_per_chunk=1)
        contract.make_layout = lambda dtype="float32": layout
        cache = open_cache(contract.fill(Path({str(tmp_path)!r}), {kind!r}))
        expected = cache.load()
        assert cache.layout.chunks == 31
        resource.setrlimit(resource.RLIMIT_NOFILE, (24, 24))
        reader = RowReader(cache)
        reader.verify()
        rows = np.random.default_rng(1).integers(0, 31, 997)
        assert np.array_equal(reader.read(rows), expected[rows])
        print("read")
    """)
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert done.stdout == "read\n", done.stderr


def test_a_damaged_chunk_never_gives_a_value(tmp_path, kind):
    path = fill(tmp_path, kind)
    file = path if kind == "hdf5" else path / "embeddings" / "c" / "1" / "0" / "0"
    data = bytearray(file.read_bytes())
    data[data.index(values()[ROWS : 2 * ROWS].tobytes()) + 9] ^= 4
    file.write_bytes(data)
    reader = RowReader(open_cache(path))
    assert np.array_equal(reader.read(np.array([0, 20])), values()[[0, 20]])
    with pytest.raises(CacheError, match="chunk"):
        reader.read(np.array([0, 8]))
    with pytest.raises(CacheError, match="chunk"):
        reader.verify()


@pytest.mark.parametrize("order", [1, -1])
def test_many_rows_are_read_from_the_files_and_not_from_maps(tmp_path, kind, order):
    cache, rows = open_cache(fill(tmp_path, kind)), np.arange(SAMPLES)[::order]
    reader = RowReader(cache)
    reader.verify()
    reader._chunks = [np.zeros_like(cache.load()[:1])] * cache.layout.chunks  # what maps would give
    assert np.array_equal(reader.read_once(rows), cache.load()[rows])
    some = np.array([2, 3, 4, 9, 3, 30])
    assert np.array_equal(reader.read_once(some), cache.load()[some])
    assert reader.read_once(rows[:0]).shape == (0, 5, 13)


def test_a_chunk_that_changes_within_an_epoch_is_verified_before_it_is_read_again(tmp_path, kind):
    path = fill(tmp_path, kind)
    reader = RowReader(open_cache(path))
    reader.read_once(np.arange(3))
    reader.verify()
    rewrite(path, kind, lambda data: data)
    assert np.array_equal(reader.read_once(np.arange(3, 20)), values()[3:20])
    rewrite(path, kind, damaged)
    with pytest.raises(CacheError, match="was changed while it was in use"):
        reader.read_once(np.arange(ROWS, 2 * ROWS))


def rewrite(path, kind, change):
    """Replace a file of a store by a changed one, under the same name."""
    file = path if kind == "hdf5" else path / "embeddings" / "c" / "1" / "0" / "0"
    other = file.with_name("other")
    other.write_bytes(change(bytearray(file.read_bytes())))
    other.replace(file)


def damaged(data):
    data[data.index(values()[ROWS : 2 * ROWS].tobytes()) + 9] ^= 4
    return data


def test_a_chunk_that_changes_after_an_epoch_is_verified_again(tmp_path, kind):
    path = fill(tmp_path, kind)
    reader, rows = RowReader(open_cache(path)), np.arange(SAMPLES)
    assert np.array_equal(reader.read(rows), values())
    rewrite(path, kind, lambda data: data)
    for _ in range(3):
        assert np.array_equal(reader.read(rows), values())
    rewrite(path, kind, damaged)
    with pytest.raises(CacheError, match="chunk .* was changed while it was in use.*repair"):
        reader.read(rows)


def test_a_chunk_that_becomes_shorter_is_an_error_in_the_next_epoch(tmp_path, kind):
    path = fill(tmp_path, kind)
    reader, rows = RowReader(open_cache(path)), np.arange(SAMPLES)
    reader.read_once(rows)
    rewrite(path, kind, lambda data: data[:1000])
    with pytest.raises(CacheError, match="chunk .* cannot be read"):
        reader.read_once(rows)


def test_a_file_is_looked_at_once_an_epoch(tmp_path, kind, monkeypatch):
    reader, looked = RowReader(open_cache(fill(tmp_path, kind))), []
    reader.verify()
    facts = stream._facts_of
    monkeypatch.setattr(stream, "_facts_of", lambda found: looked.append(1) or facts(found))
    for epoch in range(4):
        for part in np.split(np.random.default_rng(epoch).permutation(SAMPLES), (5, 10, 23)):
            reader.read(part)
    files = 1 if kind == "hdf5" else reader.cache.layout.chunks
    assert len(looked) == 3 * files
