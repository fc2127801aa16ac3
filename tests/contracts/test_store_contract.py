"""What every cache format must do, on a disk and, for Zarr, in an object store."""

import os
import signal
import subprocess
import sys
import tempfile
import textwrap
from dataclasses import replace

import numpy as np
import pytest
from filelock import FileLock
from shared import exit_code

from daam_bench.cache.identity import SCHEMA_VERSION, CacheIdentity, digest_of_samples
from daam_bench.cache.ledger import Ledger, ledger_path
from daam_bench.cache.places import is_remote, lock_of, move, place
from daam_bench.cache.reader import open_cache
from daam_bench.cache.store import CacheLayout, rows_per_chunk, store_class
from daam_bench.cache.verify import verify_cache
from daam_bench.cache.writer import CacheWriter
from daam_bench.errors import CacheError

SAMPLES, LAYERS, FEATURES, ROWS = 31, 5, 13, 7
KINDS = ("zarr", "hdf5", "s3")
pytestmark = pytest.mark.parametrize("kind", KINDS)


@pytest.fixture
def home(kind, tmp_path, bucket):
    """Return the folder for stores of a kind: local, or in a bucket of an object store."""
    return place(bucket()) if kind == "s3" else tmp_path


def form(kind):
    return "zarr" if kind == "s3" else kind


def make_identity(**changes):
    encoder = {"name": "tiny", "weights": "abc", "pooling": "mean"} | changes.pop("encoder", {})
    fields = {"schema_version": SCHEMA_VERSION, "dataset": "toy", "stored_dtype": "float32"}
    fields["samples"] = digest_of_samples(make_layout())
    return CacheIdentity(**(fields | {"encoder": encoder} | changes))


def make_layout(dtype="float32"):
    return CacheLayout(
        samples=SAMPLES,
        layers=LAYERS,
        features=FEATURES,
        dtype=dtype,
        rows_per_chunk=ROWS,
        sample_ids=[f"caf\xe9/{i}" for i in range(SAMPLES)],
        labels=[i % 3 for i in range(SAMPLES)],
        splits=["train"] * SAMPLES,
        groups=[f"g{i % 4}" for i in range(SAMPLES)],
        contents=[f"{i:064x}" for i in range(SAMPLES)],
        attributes={"class_names": ["a", "b", "c"], "dataset": "toy"},
    )


def values(dtype="float32"):
    return np.random.default_rng(5).normal(size=(SAMPLES, LAYERS, FEATURES)).astype(dtype)


def fill(folder, kind, dtype="float32", stop_after=None, quarantined=(), identity=None):
    data = values(dtype)
    data[list(quarantined)] = np.nan
    with CacheWriter(folder, form(kind), make_layout(dtype), identity or make_identity()) as writer:
        for count, index in enumerate(writer.missing_chunks()):
            if count == stop_after:
                return writer.path
            rows = writer.layout.rows_of(index)
            bad = {f"caf\xe9/{i}": "why" for i in quarantined if rows.start <= i < rows.stop}
            lengths = [-1 if i in quarantined else i + 1 for i in range(rows.start, rows.stop)]
            writer.write_chunk(index, data[rows], lengths, bad)
        writer.finish()
        return writer.path


def files_of(store):
    if is_remote(store):
        found = store.fs.find(store.path, detail=True)
        data = store.fs.cat_ranges([*found], 0, [facts["size"] for facts in found.values()], on_error="raise")
        return {name.removeprefix(store.path): part for name, part in zip(found, data, strict=True)}
    files = store.rglob("*") if store.is_dir() else [store]
    return {str(f).removeprefix(str(store)): f.read_bytes() for f in files if f.is_file()}


@pytest.mark.parametrize("dtype", ["float32", "float16"])
def test_round_trip(home, kind, dtype):
    cache = open_cache(fill(home, kind, dtype))
    assert np.array_equal(cache.load(), values(dtype))
    assert cache.load().dtype == dtype
    assert cache.lengths.tolist() == list(range(1, SAMPLES + 1))
    for name in ("sample_ids", "labels", "splits", "groups", "contents", "rows_per_chunk"):
        assert getattr(cache.layout, name) == getattr(make_layout(), name)
    assert cache.identity == make_identity()
    assert verify_cache(cache.path).ok


def test_quarantined_rows_are_nan_and_named(home, kind):
    path = fill(home, kind, quarantined=(2, 30))
    cache = open_cache(path)
    assert np.flatnonzero(np.isnan(cache.load()).all(axis=(1, 2))).tolist() == [2, 30]
    assert cache.quarantined == {"caf\xe9/2": "why", "caf\xe9/30": "why"}
    assert verify_cache(path).ok


def test_a_chunk_of_quarantined_rows_alone_is_written(home, kind):
    path = fill(home, kind, quarantined=range(ROWS, 2 * ROWS))
    cache = open_cache(path)
    assert len(cache.quarantined) == ROWS
    assert np.isnan(cache.chunk(1)).all()
    assert verify_cache(path).ok


def test_a_chunk_never_written_is_an_error_or_nan_not_zeros(home, kind):
    path = fill(home, kind, stop_after=2)
    with store_class(form(kind)).open(path) as store:
        assert np.array_equal(store.read_chunk(1), values()[ROWS : 2 * ROWS])
        try:
            assert np.isnan(store.read_chunk(2)).all()
        except CacheError as error:
            assert "missing" in str(error)
    with pytest.raises(CacheError, match="not complete"):
        open_cache(path)


def test_a_resumed_cache_is_byte_identical(home, kind):
    whole = fill(home / "whole", kind)
    for count in (0, 1, 3):
        fill(home / "parts", kind, stop_after=count)
    assert files_of(fill(home / "parts", kind)) == files_of(whole)


def test_every_flipped_bit_in_a_chunk_is_found(home, kind):
    path = fill(home, kind)
    raw = values()[ROWS : 2 * ROWS].tobytes()
    file = path if kind == "hdf5" else path / "embeddings" / "c" / "1" / "0" / "0"
    clean = file.read_bytes()
    start = clean.index(raw)
    offsets = (0, 1, len(raw) // 2, len(raw) - 1)
    for offset in offsets[2:] if kind == "s3" else offsets:  # each asks the server a hundred times
        damaged = bytearray(clean)
        damaged[start + offset] ^= 1 << (offset % 8)
        file.write_bytes(damaged)
        assert list(verify_cache(path).bad_chunks) == [1]
        with pytest.raises(CacheError, match="chunk") as refused:
            open_cache(path).load()
        assert "daam-bench cache repair" in str(refused.value)
        assert "b'" not in str(refused.value)
    file.write_bytes(clean)
    assert verify_cache(path).ok


def test_a_damaged_chunk_alone_is_missing_for_the_writer(home, kind):
    path = fill(home, kind)
    clean = files_of(path)
    file = path if kind == "hdf5" else path / "embeddings" / "c" / "3" / "0" / "0"
    data = bytearray(file.read_bytes())
    position = data.index(values()[3 * ROWS : 4 * ROWS].tobytes())
    data[position + 5] ^= 64
    file.write_bytes(data)
    with CacheWriter(home, form(kind), make_layout(), make_identity()) as writer:
        assert writer.missing_chunks() == [3]
    assert files_of(fill(home, kind)) == clean


def test_what_a_writer_wrote_itself_it_does_not_read_again(home, kind, monkeypatch):
    path, read = fill(home, kind, stop_after=3), []
    with CacheWriter(home, form(kind), make_layout(), make_identity()) as writer:
        left = writer.missing_chunks()
        for index in left:
            rows = writer.layout.rows_of(index)
            writer.write_chunk(index, values()[rows], list(range(rows.start + 1, rows.stop + 1)), {})
        whole = type(writer.store).read_chunk
        monkeypatch.setattr(
            type(writer.store), "read_chunk", lambda store, i: read.append(i) or whole(store, i)
        )
        writer.finish()
    assert left and sorted(read) == [0, 1, 2]
    assert verify_cache(path).ok


def test_a_block_that_was_not_committed_is_found_by_the_ledger(home, kind):
    path = fill(home, kind)
    with store_class(form(kind)).open(path, writable=True) as store:
        store.write_chunk(0, values()[ROWS : 2 * ROWS])
    assert "not what was committed" in verify_cache(path).bad_chunks[0]


def test_a_torn_ledger_line_costs_its_chunk_only(home, kind):
    path = fill(home, kind, stop_after=3)
    ledger = ledger_path(path)
    file = ledger / "2" if kind == "s3" else ledger
    file.write_bytes(file.read_bytes()[:-9])
    with CacheWriter(home, form(kind), make_layout(), make_identity()) as writer:
        assert writer.missing_chunks() == [2, 3, 4]
    assert np.array_equal(open_cache(fill(home, kind)).load(), values())


def test_another_identity_at_the_same_place_names_the_field_and_both_values(home, kind):
    path = fill(home, kind)
    other = make_identity(encoder={"weights": "xyz"})
    writer = CacheWriter(home, form(kind), make_layout(), other)
    move(path, writer.path)
    with pytest.raises(CacheError, match=r"encoder\.weights: xyz here, abc there"):
        writer.__enter__()


def test_machines_that_create_one_remote_store_at_once_lose_nothing(home, kind, monkeypatch):
    if kind != "s3":
        pytest.skip("one machine, one lock")
    monkeypatch.setattr("daam_bench.cache.writer.lock_of", lambda *_: FileLock(tempfile.mktemp()))
    first, second = (
        CacheWriter(home, "zarr", make_layout(), make_identity(), (number, 2)) for number in (1, 2)
    )
    with first:
        rows = first.layout.rows_of(0)
        first.write_chunk(0, values()[rows], list(range(1, rows.stop + 1)), {})
        # The other machine looked before the store was there.
        with monkeypatch.context() as patch:
            patch.setattr("daam_bench.cache.writer._is_made", lambda _: False)
            second.__enter__()
        second.__exit__()
        assert first.missing_chunks() == [1]
    assert sorted(second.ledger.read()) == [0]


def test_another_size_of_chunks_keeps_what_is_there(home, kind):
    whole = files_of(fill(home / "whole", kind))
    fill(home, kind, stop_after=3)
    other = replace(make_layout(), rows_per_chunk=ROWS - 2)
    with CacheWriter(home, form(kind), other, make_identity()) as writer:
        assert writer.missing_chunks() == [3, 4]
    assert files_of(fill(home, kind)) == whole


def test_attributes_that_differ_are_corrected(home, kind):
    path = fill(home, kind)
    other = make_layout().with_attributes({"class_names": ["c", "b", "a"], "dataset": "toy"})
    with CacheWriter(home, form(kind), other, make_identity()) as writer:
        assert writer.missing_chunks() == []
        writer.finish()
    cache = open_cache(path)
    assert cache.class_names == ["c", "b", "a"]
    assert np.array_equal(cache.load(), values())
    assert verify_cache(path).ok


def test_a_second_writer_waits_for_the_first(home, kind):
    with CacheWriter(home, form(kind), make_layout(), make_identity()) as writer:
        second = textwrap.dedent(f"""
            from filelock import FileLock, Timeout
            try:
                FileLock({lock_of(writer.path, "1-of-1").lock_file!r}).acquire(timeout=0)
            except Timeout:
                print("locked")
        """)
        found = subprocess.run([sys.executable, "-c", second], capture_output=True, text=True, check=True)
    assert found.stdout == "locked\n"


def fill_until(home, kind, moment):
    """Fill a store, and die at a moment."""
    append = Ledger.append

    def die(*_):
        os.kill(os.getpid(), signal.SIGKILL)

    def deadly(self, entry):
        if moment == "before the ledger" and entry.chunk == 2:
            die()
        append(self, entry)
        if moment == "after the ledger" and entry.chunk == 2:
            die()

    Ledger.append = deadly
    if moment == "before the mark":
        CacheWriter.finish = die
    fill(place(home), kind)


@pytest.mark.parametrize("moment", ["before the ledger", "after the ledger", "before the mark"])
def test_a_killed_writer_loses_at_most_its_chunk(home, kind, moment):
    assert exit_code(fill_until, str(home), kind, moment) == -signal.SIGKILL
    missing = {"before the ledger": [2, 3, 4], "after the ledger": [3, 4], "before the mark": []}[moment]
    with CacheWriter(home, form(kind), make_layout(), make_identity()) as writer:
        assert writer.missing_chunks() == missing
    whole = fill(home / "whole", kind)
    assert files_of(fill(home, kind)) == files_of(whole)


def test_no_cache_is_reported_with_what_is_near(home, kind):
    path = fill(home, kind)
    with pytest.raises(CacheError, match=path.name):
        open_cache(home / "nothing")


def test_chunks_are_even_and_within_their_size(kind):
    most = 2**20 // (LAYERS * FEATURES * 4)
    assert rows_per_chunk(10 * most, LAYERS, FEATURES, "float32", 1) == most
    assert rows_per_chunk(10 * most + 1, LAYERS, FEATURES, "float32", 1) == -(-(10 * most + 1) // 11)
    assert rows_per_chunk(SAMPLES, LAYERS, FEATURES, "float32", 1) == SAMPLES
    assert rows_per_chunk(5, 40, 5120, "float16", 0.001) == 1
