"""Caches of strangers: what is not stored as here is refused before a value of it is read."""

import errno
import json
import os
import struct
from pathlib import Path

import google_crc32c
import h5py
import numpy as np
import pytest
from contracts.test_store_contract import SAMPLES, fill, make_identity, make_layout
from numcodecs.pickles import Pickle

from daam_bench.cache import zarr_store
from daam_bench.cache.extraction import _read_part
from daam_bench.cache.manifest import MANIFEST, read_manifest, store_of, write_manifest
from daam_bench.cache.rates import read_journals
from daam_bench.cache.reader import open_cache
from daam_bench.cache.store import reading
from daam_bench.cache.structure import check_structure
from daam_bench.cache.verify import verify_cache
from daam_bench.cache.writer import CacheWriter
from daam_bench.errors import CacheError, MachineError


def edit(file, **changes):
    facts = json.loads(file.read_bytes())
    file.write_text(json.dumps(facts | changes))


ZSTD = {"name": "zstd", "configuration": {"level": 3, "checksum": False}}
BYTES, CRC32C = {"name": "bytes", "configuration": {"endian": "little"}}, {"name": "crc32c"}
BIG = {"name": "bytes", "configuration": {"endian": "big"}}


@pytest.mark.parametrize(
    ("array", "change"),
    [
        ("label", {"codecs": [BYTES, ZSTD]}),
        ("label", {"codecs": [BYTES]}),
        ("length", {"data_type": "int32"}),
        ("length", {"codecs": [BIG, CRC32C]}),
        ("label", {"fill_value": 1}),
        ("group", {"fill_value": "x" * 1000}),
        ("sample", {"codecs": [{"name": "vlen-utf8"}, ZSTD]}),
        ("split", {"chunk_grid": {"name": "regular", "configuration": {"chunk_shape": [10**12]}}}),
        ("embeddings", {"codecs": [BYTES, ZSTD]}),
        ("embeddings", {"data_type": "float64"}),
        ("embeddings", {"chunk_grid": {"name": "regular", "configuration": {"chunk_shape": [7, 5, 12]}}}),
        ("embeddings", {"chunk_key_encoding": {"name": "v2", "configuration": {"separator": "."}}}),
        ("label", {"node_type": "group", "attributes": {}}),
    ],
)
def test_an_array_that_is_stored_otherwise_is_refused(tmp_path, array, change):
    path = fill(tmp_path, "zarr")
    edit(path / array / "zarr.json", **change)
    with pytest.raises(CacheError, match=f"{array} (is none|are none) of a cache|{array} cannot be opened"):
        open_cache(path).load()
    assert not verify_cache(path).ok


def test_consolidated_metadata_bring_in_no_other_arrays(tmp_path, monkeypatch):
    path, decoded = fill(tmp_path, "zarr"), []
    monkeypatch.setattr(Pickle, "decode", lambda *_: decoded.append(1))
    old = {"zarr_format": 2, "shape": [SAMPLES], "chunks": [SAMPLES], "dtype": "|O", "fill_value": 0}
    old |= {"order": "C", "filters": [{"id": "pickle", "protocol": 5}], "compressor": None}
    metadata = {
        name: json.loads((path / name / "zarr.json").read_bytes()) for name in ("embeddings", "group")
    }
    inline = {"kind": "inline", "must_understand": False, "metadata": metadata | {"label": old}}
    edit(path / "zarr.json", consolidated_metadata=inline)
    (path / "label" / "0").write_bytes(b"anything")
    assert open_cache(path).layout.labels == make_layout().labels
    assert decoded == []


def test_a_chunk_that_claims_more_texts_than_it_has_is_refused(tmp_path):
    path = fill(tmp_path, "zarr")
    file = path / "group" / "c" / "0"
    data = struct.pack("<I", 2**31) + file.read_bytes()[4:-4]
    file.write_bytes(data + struct.pack("<I", google_crc32c.value(data)))
    with pytest.raises(CacheError, match="another number of them.*group"):
        open_cache(path)


def replace(file, name, kind=None, dtype=None, **options):
    values = file[name][:] if kind is None else file[name][:].astype(kind)
    del file[name]
    file.create_dataset(name, data=values, dtype=dtype, **options)


def make_virtual(file):
    del file["label"]
    layout = h5py.VirtualLayout((SAMPLES,), "i8")
    layout[:] = h5py.VirtualSource("elsewhere.h5", "label", (SAMPLES,))
    file.create_virtual_dataset("label", layout)


def make_external(file):
    del file["label"]
    file.create_dataset("label", (SAMPLES,), "i8", external=[("/etc/hostname", 0, h5py.h5f.UNLIMITED)])


def make_link(file):
    del file["embeddings"]
    file["embeddings"] = h5py.ExternalLink("elsewhere.h5", "embeddings")


CHANGES = {
    "gzip": lambda file: replace(file, "label", compression="gzip"),
    "no checksum": lambda file: replace(file, "label"),
    "another type": lambda file: replace(file, "length", dtype="i4", fletcher32=True),
    "text of fixed length": lambda file: replace(file, "group", "S100", "S100"),
    "compressed text": lambda file: replace(file, "split", dtype=h5py.string_dtype(), compression="gzip"),
    "compressed values": lambda file: replace(file, "embeddings", compression="gzip", fletcher32=True),
    "chunks of a layer": lambda file: replace(file, "embeddings", chunks=(7, 1, 13), fletcher32=True),
    "virtual": make_virtual,
    "external": make_external,
    "link": make_link,
    "attributes": lambda file: file.attrs.update({f"a{number}": 1 for number in range(200)}),
    "an attribute of many values": lambda file: file.attrs.update(a=np.zeros(7)),
}


@pytest.mark.parametrize("change", CHANGES)
def test_an_hdf5_file_that_is_stored_otherwise_is_refused(tmp_path, change):
    path = fill(tmp_path, "hdf5")
    with h5py.File(path, "r+") as file:
        CHANGES[change](file)
    reason = "is not stored as in a cache|in another file|attribute"
    with pytest.raises(CacheError, match=reason):
        open_cache(path)


def test_many_texts_in_one_place_are_no_more_than_the_file(tmp_path):
    path = fill(tmp_path, "hdf5")
    with h5py.File(path, "r+") as file:
        del file["group"]
        file.create_dataset("group", data=["x" * 60000] + ["y"] * (SAMPLES - 1), dtype=h5py.string_dtype())
        start = file["group"].id.get_offset()
    data = bytearray(path.read_bytes())
    for row in range(1, SAMPLES):
        data[start + 16 * row : start + 16 * (row + 1)] = data[start : start + 16]
    path.write_bytes(data)
    with pytest.raises(CacheError, match="more text than it can hold"):
        open_cache(path)


DEEP = "[" * 100000
WHOLE = {"store": "0" * 12 + ".zarr", "chunk_sha256": []}


@pytest.mark.parametrize(
    "changes",
    [
        {"location": 5},
        {"store": ".."},
        {"store": "a/.."},
        {"store": "x" * 5000 + ".zarr"},
        {"store": 5},
        {"store": "notes.txt"},
    ],
)
def test_what_a_manifest_cannot_say_is_refused(tmp_path, changes):
    write_manifest(tmp_path / MANIFEST, WHOLE | changes)
    with pytest.raises(CacheError, match="not the manifest of a cache"):
        read_manifest(tmp_path / MANIFEST)


def test_a_location_that_cannot_be_opened_is_named(tmp_path):
    write_manifest(tmp_path / MANIFEST, WHOLE | {"location": "reference:///x"})
    with pytest.raises(CacheError, match="reference:///x.*cannot be reached"):
        store_of(tmp_path / MANIFEST, read_manifest(tmp_path / MANIFEST))


def test_json_without_end_is_no_manifest_no_part_and_no_journal(tmp_path):
    (tmp_path / MANIFEST).write_text(DEEP)
    with pytest.raises(CacheError, match="not the manifest"):
        read_manifest(tmp_path / MANIFEST)
    with pytest.raises(CacheError, match="a part of the cache is not there"):
        _read_part(tmp_path / MANIFEST)
    (tmp_path / "s.zarr.1-of-1.rates.jsonl").write_text(
        f'{DEEP}\n{{"seconds": "x"}}\n[1]\n{{"seconds": 2}}\n'
    )
    assert read_journals(tmp_path, "s.zarr") == [{"seconds": 2}]


@pytest.mark.parametrize("facts", ["{}", "[]", '{"store": "..", "measurements": {}}', '{"store": "a.zarr"}'])
def test_what_is_no_part_is_refused(tmp_path, facts):
    (tmp_path / "1.json").write_text(facts)
    with pytest.raises(CacheError, match="a part of the cache is not there"):
        _read_part(tmp_path / "1.json")


MACHINE = [OSError(number, os.strerror(number)) for number in (errno.EIO, errno.ESTALE, errno.EMFILE)]


@pytest.mark.parametrize("error", [*MACHINE, MemoryError(), ConnectionResetError(), TimeoutError()], ids=repr)
def test_what_cannot_be_read_now_is_not_damaged(error):
    with pytest.raises(MachineError, match="cannot be read now"), reading("it is damaged", "x"):
        raise error


@pytest.mark.parametrize("error", [FileNotFoundError(errno.ENOENT, "no"), OSError("filter"), KeyError("x")])
def test_what_libraries_say_of_a_damaged_file_is_damage(error):
    with pytest.raises(CacheError, match="it is damaged"), reading("it is damaged", "x"):
        raise error


def test_a_chunk_that_cannot_be_read_now_is_not_missing(tmp_path, monkeypatch):
    path = fill(tmp_path, "zarr")

    def fail(*_):
        raise MACHINE[0]

    with CacheWriter(tmp_path, "zarr", make_layout(), make_identity()) as writer:
        monkeypatch.setattr(zarr_store, "head_of", fail)
        with pytest.raises(MachineError):
            writer.missing_chunks()
    monkeypatch.setattr(Path, "read_bytes", fail)
    with pytest.raises(MachineError):
        check_structure(path, {"places": [], "sha256": "0"})
