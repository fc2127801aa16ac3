"""Caches in an object store: a local S3 server."""

import json
import os
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from cache.test_extraction import QUIET, extract
from contracts.test_store_contract import ROWS, make_identity, make_layout, values
from typer.testing import CliRunner

from daam_bench.cache import stream
from daam_bench.cache.conversion import convert_cache
from daam_bench.cache.manifest import MANIFEST, read_manifest, write_manifest
from daam_bench.cache.places import place
from daam_bench.cache.reader import open_cache
from daam_bench.cache.repair import repair_cache
from daam_bench.cache.verify import verify_cache
from daam_bench.cache.writer import CacheWriter
from daam_bench.cli import app
from daam_bench.errors import CacheError, ConfigError


def command(*words):
    return CliRunner().invoke(app, ["cache", *map(str, words)])


@pytest.fixture(scope="module")
def original(tmp_path_factory, real_resources, object_store):
    """Return the folder of the manifest of a cache and the URL of the folder of caches."""
    folder, url = tmp_path_factory.mktemp("original"), "s3://original/caches"
    place("s3://original").mkdir()
    extract(folder, real_resources, "zarr", url=url)
    return folder, url


@pytest.fixture
def remote(original, tmp_path, bucket):
    """Return the folder of the manifest and the URL of a copy of the cache, which may be damaged."""
    (folder, url), copy = original, bucket()
    source = place(url)
    for file in source.fs.find(source.path):
        source.fs.copy(file, file.replace(source.path, place(copy).path, 1))
    shutil.copytree(folder, tmp_path / "here")
    facts = json.loads(json.dumps(read_manifest(folder / MANIFEST)).replace(url, copy))
    facts |= {"samples": str(tmp_path / "here" / "samples.parquet")}
    for manifest in (tmp_path / "here" / MANIFEST, place(copy) / "vader" / "minilm-l6" / MANIFEST):
        write_manifest(manifest, facts)
    return tmp_path / "here", f"{copy}/vader/minilm-l6"


def test_the_store_is_the_one_that_a_disk_would_have(remote, tmp_path, real_resources):
    folder, _ = remote
    assert not list(folder.glob("*.zarr"))
    extract(tmp_path / "disk", real_resources, "zarr")
    disk, there = open_cache(tmp_path / "disk"), open_cache(folder)
    assert there.identity == disk.identity
    assert there.path.name == disk.path.name
    assert np.array_equal(there.load(), disk.load())
    raw = [(cache.path / "embeddings" / "c" / "1" / "0" / "0").read_bytes() for cache in (disk, there)]
    assert raw[0] == raw[1]


def test_a_cache_is_opened_and_verified_by_its_url_alone(remote):
    _, url = remote
    assert verify_cache(place(url)).ok
    shown = json.loads(command("info", url, "--format", "json").output)
    assert (shown["samples"], shown["mebibytes_on_disk"] > 0) == (44, True)
    assert command("verify", url).exit_code == 0


def test_damage_is_found_and_repaired(remote):
    folder, url = remote
    file = open_cache(folder).path / "embeddings" / "c" / "2" / "0" / "0"
    clean = file.read_bytes()
    file.write_bytes(clean[:1000] + bytes([clean[1000] ^ 1]) + clean[1001:])
    assert list(verify_cache(place(url)).bad_chunks) == [2]
    assert repair_cache(folder, QUIET) == 11
    assert file.read_bytes() == clean
    store = open_cache(folder).path
    (store / "zarr.json").write_bytes(b"{}")
    assert not verify_cache(folder).ok
    assert repair_cache(folder, QUIET) == 0
    assert verify_cache(folder).ok


def test_its_manifest_says_the_url_and_a_falsified_one_is_refused(remote):
    folder, url = remote
    facts = read_manifest(folder / MANIFEST)
    assert (
        facts["spec"]["cache"]["url"] == url.rsplit("/", 2)[0]
    )  # which `plan` compares with what is asked for
    facts["spec"]["cache"]["url"] = None
    write_manifest(folder / MANIFEST, facts)
    with pytest.raises(CacheError, match="Delete the manifest and run"):
        repair_cache(folder, QUIET)


@pytest.mark.parametrize("form", ["{}", "file://{}"])
def test_the_url_may_be_a_folder_here(tmp_path, real_resources, form):
    home = tmp_path / "home"
    extract(tmp_path / "here", real_resources, "zarr", url=form.format(home))
    file = open_cache(tmp_path / "here").path / "embeddings" / "c" / "2" / "0" / "0"
    assert file.is_relative_to(home / "vader" / "minilm-l6")
    clean = file.read_bytes()
    for manifest in (tmp_path / "here", home / "vader" / "minilm-l6"):
        file.write_bytes(clean[:-1])
        assert repair_cache(manifest, QUIET) == 11
        assert file.read_bytes() == clean
        assert verify_cache(manifest).ok


def test_an_extraction_goes_on_where_it_was(remote, real_resources, tmp_path):
    folder, url = remote
    store = open_cache(folder).path
    (store / "embeddings" / "c" / "3" / "0" / "0").unlink()
    extract(tmp_path / "again", real_resources, "zarr", url=url.rsplit("/", 2)[0])
    facts = json.loads((tmp_path / "again" / "manifest.json").read_text())
    assert facts["measurements"]["last_run_computed_samples"] == 11
    assert facts["location"] == url


def test_conversion_there_and_back(remote, tmp_path, bucket):
    folder, _ = remote
    here = convert_cache(folder, tmp_path / "local", "zarr")
    assert verify_cache(here).ok
    target = bucket()
    assert command("convert", tmp_path / "local", target, "--to", "zarr").exit_code == 0
    assert np.array_equal(open_cache(place(target)).load(), open_cache(folder).load())
    with pytest.raises(CacheError, match="hdf5 cannot be written to a URL"):
        convert_cache(folder, place(bucket()), "hdf5")


def test_rows_are_read_in_any_order_and_few_chunks_are_kept(remote, monkeypatch):
    cache = open_cache(place(remote[1]))
    monkeypatch.setattr(stream, "_MOST_COPIED", 2 * cache.chunk(0).nbytes)
    reader, rows = stream.RowReader(cache), np.array([40, 3, 11, 3, 40, 25])
    assert np.array_equal(reader.read(rows), cache.load()[rows])
    assert sum(chunk is not None for chunk in reader._chunks) == 2


@pytest.mark.parametrize(
    ("url", "error", "words"),
    [
        ("nonsense://bucket/x", ConfigError, "nonsense"),
        ("s3://no-such-bucket-here/x", CacheError, "no cache here"),
    ],
)
def test_what_cannot_be_opened_is_named(url, error, words, object_store):
    result = command("info", url)
    assert isinstance(result.exception, error)
    assert words in str(result.exception)
    assert url.split("/")[2] in str(result.exception)


def test_a_place_that_cannot_be_reached_is_named_in_one_line(unused_address):
    program = Path(sys.executable).with_name("daam-bench")
    keys = {"AWS_ACCESS_KEY_ID": "testing", "AWS_SECRET_ACCESS_KEY": "testing"}
    environment = os.environ | keys | {"AWS_ENDPOINT_URL": unused_address, "AWS_MAX_ATTEMPTS": "1"}
    words = [program, "cache", "info", "s3://bucket/x"]
    found = subprocess.run(words, env=environment, capture_output=True, text=True, check=False)
    assert found.returncode == CacheError.exit_code
    assert "s3://bucket/x: the place cannot be reached" in found.stderr
    assert "Traceback" not in found.stderr


@pytest.fixture
def unused_address():
    """Return the address of a port that nobody listens at."""
    import socket

    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return f"http://127.0.0.1:{probe.getsockname()[1]}"


def test_opening_asks_the_server_as_often_for_many_chunks_as_for_few(bucket, monkeypatch):
    file_system = type(place(bucket()).fs)
    requests, call = [], file_system._call_s3

    async def counted(self, method, *words, **options):
        requests.append(method)
        return await call(self, method, *words, **options)

    asked = []
    for rows in (ROWS, ROWS // 2):
        home, layout = place(bucket()), replace(make_layout(), rows_per_chunk=rows)
        with CacheWriter(home, "zarr", layout, make_identity()) as writer:
            for index in writer.missing_chunks():
                block = values()[layout.rows_of(index)]
                writer.write_chunk(index, block, [1] * len(block), {})
            write_manifest(home / MANIFEST, writer.finish())
        with monkeypatch.context() as patch:
            patch.setattr(file_system, "_call_s3", counted)
            assert open_cache(home).layout.chunks == layout.chunks
        asked.append(len(requests))
        requests.clear()
    assert asked[0] == asked[1] > 9
