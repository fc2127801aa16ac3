"""Verify, repair and convert real caches."""

import errno
import json
import os
import shutil
import signal

import pytest
import zarr
from cache.test_extraction import QUIET, extract, measured
from filelock import FileLock, Timeout
from shared import exit_code
from typer.testing import CliRunner

from daam_bench.cache import repair
from daam_bench.cache.conversion import convert_cache
from daam_bench.cache.ledger import Ledger, ledger_path
from daam_bench.cache.manifest import read_manifest, write_manifest
from daam_bench.cache.reader import open_cache
from daam_bench.cache.repair import repair_cache
from daam_bench.cache.reuse import ReusableRows
from daam_bench.cache.verify import verify_cache
from daam_bench.cache.writer import CacheWriter
from daam_bench.cli import app
from daam_bench.encoders.text import TextEncoder
from daam_bench.errors import CacheError, EncoderError, MachineError

FORMATS = ("zarr", "hdf5")


def files_of(folder):
    return {
        str(f.relative_to(folder)): f.read_bytes()
        for f in sorted(folder.rglob("*"))
        if f.is_file() and f.suffix != ".lock"
    }


@pytest.fixture(scope="module", params=FORMATS)
def original(request, real_resources, tmp_path_factory):
    folder = tmp_path_factory.mktemp(request.param)
    extract(folder, real_resources, request.param)
    return folder


@pytest.fixture
def cache(original, tmp_path):
    """Return a copy that may be damaged; its table of samples stays where the manifest says."""
    shutil.copytree(original, tmp_path / "copy")
    return tmp_path / "copy"


def flip(path, position):
    data = bytearray(path.read_bytes())
    data[position] ^= 16
    path.write_bytes(data)


def store_of(folder):
    return open_cache(folder).path


def damage_chunk(folder):
    store = store_of(folder)
    if store.is_dir():
        flip(store / "embeddings" / "c" / "2" / "0" / "0", 1000)
    else:
        raw = open_cache(folder).chunk(2).tobytes()
        flip(store, store.read_bytes().index(raw) + 1000)
    return 11  # samples of a chunk


def damage_labels(folder):
    store = store_of(folder)
    if store.is_dir():
        flip(store / "label" / "c" / "0", 3)
    else:
        flip(store, store.read_bytes().index(json.dumps("positive").encode()) + 3)
    return 0


def damage_ledger(folder):
    (ledger,) = folder.glob("*.jsonl")
    flip(ledger, 100)
    return 0


def remove_ledger(folder):
    (ledger,) = folder.glob("*.jsonl")
    ledger.unlink()
    return 0


def damage_structure(folder):
    store = store_of(folder)
    if store.is_dir():
        (store / "zarr.json").write_text("{}")
    else:
        flip(store, 1)
    return 0


def remove_store(folder):
    store = store_of(folder)
    shutil.rmtree(store) if store.is_dir() else store.unlink()
    return 44


def _change_manifest(folder, change):
    """Change what a manifest says, with a right checksum."""
    facts = read_manifest(folder / "manifest.json")
    change(facts)
    write_manifest(folder / "manifest.json", facts)


def change_attribute_in_manifest(folder):
    _change_manifest(folder, lambda facts: facts["attributes"].update(dataset="other"))
    return 0


def change_structure_in_manifest(folder):
    _change_manifest(folder, lambda facts: facts["structure"].update(places=[[3, 5]], sha256="0" * 64))
    return 0


def change_chunk_in_manifest(folder):
    _change_manifest(folder, lambda facts: facts["chunk_sha256"].__setitem__(1, "0" * 64))
    return 11


def add_reason_to_ledger(folder):
    """Falsify a line whose own checksum is right."""
    (file,) = folder.glob("*.jsonl")
    ledger = Ledger(file)
    entries = ledger.read()
    entries[1] = entries[1].model_copy(update={"quarantined": {"nobody": "no reason"}})
    ledger.rewrite(list(entries.values()))
    return 0


DAMAGES = (
    damage_chunk,
    damage_labels,
    damage_ledger,
    remove_ledger,
    damage_structure,
    remove_store,
    change_attribute_in_manifest,
    change_structure_in_manifest,
    change_chunk_in_manifest,
    add_reason_to_ledger,
)


@pytest.mark.parametrize("damage", DAMAGES, ids=lambda f: f.__name__)
def test_damage_is_found_and_repair_restores_every_byte(cache, original, damage):
    assert verify_cache(cache).ok
    expected = damage(cache)
    assert files_of(cache) != files_of(original)
    assert not verify_cache(cache).ok
    assert repair_cache(cache, QUIET) == expected
    assert verify_cache(cache).ok
    assert files_of(cache) == files_of(original)


def test_repair_of_a_whole_cache_computes_nothing(cache, original):
    assert repair_cache(cache, QUIET) == 0
    assert files_of(cache) == files_of(original)


def repair_until(cache, moment):
    """Repair, and die as soon as the writer has done something."""
    whole = getattr(CacheWriter, moment)

    def killed(self, *arguments):
        whole(self, *arguments)
        os.kill(os.getpid(), signal.SIGKILL)

    setattr(CacheWriter, moment, killed)
    repair_cache(cache, QUIET)


@pytest.mark.parametrize(
    "moment", ["_create", "take_over", "finish"], ids=["new store", "chunks taken over", "all is there"]
)
def test_a_killed_repair_loses_nothing_that_was_good(cache, original, moment):
    damage_structure(cache)
    if store_of_format := next(cache.glob("*.zarr"), None):
        flip(store_of_format / "embeddings" / "c" / "1" / "0" / "0", 7)
    assert exit_code(repair_until, cache, moment) == -signal.SIGKILL
    again = 0 if moment == "finish" or store_of_format is None else 11
    assert repair_cache(cache, QUIET) == again
    assert verify_cache(cache).ok
    assert files_of(cache) == files_of(original)


def test_a_repair_moves_nothing_before_it_holds_the_lock(cache, monkeypatch):
    damage_structure(cache)
    set_aside, held = repair._set_aside, []

    def watched(store):
        with pytest.raises(Timeout):
            FileLock(store.with_name(f"{store.name}.1-of-1.lock")).acquire(timeout=0)
        held.append(store)
        return set_aside(store)

    monkeypatch.setattr(repair, "_set_aside", watched)
    repair_cache(cache, QUIET)
    assert len(held) == 1
    assert verify_cache(cache).ok


def test_values_that_came_out_otherwise_are_told(cache, caplog, monkeypatch):
    damage_chunk(cache)
    encode = TextEncoder.encode
    monkeypatch.setattr(TextEncoder, "encode", lambda self, inputs: encode(self, inputs) + 0.01)
    repair_cache(cache, QUIET)
    assert "chunks [2] are not the bytes that were lost" in caplog.text


@pytest.mark.parametrize("kind", ["link", "pipe"])
def test_a_store_that_leads_elsewhere_is_refused_before_it_is_read(cache, kind):
    store = store_of(cache)
    if store.is_file():
        store.unlink()
        place = store
    else:
        place = store / "label" / "more"
    place.symlink_to("/dev/zero") if kind == "link" else os.mkfifo(place)
    with pytest.raises(CacheError, match="(a link|no file) in the store"):
        open_cache(cache)


def test_an_older_store_whose_samples_were_changed_gives_no_rows(original, real_resources, tmp_path):
    shutil.copytree(original, tmp_path / "copy")
    store = store_of(tmp_path / "copy")
    if store.is_file():
        pytest.skip("HDF5's own checksums find it")
    group = zarr.open_group(store, mode="r+")
    group["content"][:] = group["content"][:][::-1]
    assert not ReusableRows(store.with_name("other.zarr"), open_cache(original).identity)._places


def test_a_changed_manifest_is_refused(cache):
    manifest = cache / "manifest.json"
    manifest.write_text(manifest.read_text().replace('"positive"', '"negative"'))
    assert "manifest was changed" in verify_cache(cache).problems[0]
    with pytest.raises(CacheError, match="Delete it and run"):
        open_cache(cache)


def test_a_changed_class_name_is_found(cache):
    store = store_of(cache)
    if store.is_dir():
        group = zarr.open_group(store, mode="r+")
        group.attrs["class_names"] = ["negative", "neutral", "pozitive"]
    else:
        text = store.read_bytes()
        store.write_bytes(text.replace(b'"neutral"', b'"neutrul"'))
    with pytest.raises(CacheError, match="(structure|class_names) is not what was committed"):
        open_cache(cache)


def test_repair_with_another_encoder_is_refused(cache, tmp_path, real_resources):
    model = tmp_path / "model"
    shutil.copytree(real_resources / "minilm-l6", model)
    settings = json.loads((model / "config.json").read_text())
    (model / "config.json").write_text(json.dumps(settings | {"layer_norm_eps": 1e-5}))
    facts = read_manifest(cache / "manifest.json")
    facts["spec"]["encoder"]["model"] = str(model)
    write_manifest(cache / "manifest.json", facts)
    with pytest.raises(CacheError, match=r"encoder\.weights: \w{64} here, \w{64} there.*reuses"):
        repair_cache(cache, QUIET)
    facts["spec"]["encoder"]["model"] = str(tmp_path)
    write_manifest(cache / "manifest.json", facts)
    with pytest.raises(EncoderError, match="transformers cannot open it"):
        repair_cache(cache, QUIET)


def test_conversion_there_and_back_gives_the_same_bytes(cache, original, tmp_path):
    cache_format = {".zarr": "zarr", ".h5": "hdf5"}
    first = store_of(cache)
    other = next(kind for kind in FORMATS if kind != cache_format[first.suffix])
    there = convert_cache(cache, tmp_path / "there", other)
    assert verify_cache(there).ok
    assert (open_cache(there).load() == open_cache(cache).load()).all()
    back = convert_cache(there, tmp_path / "back", cache_format[first.suffix])
    extracted = files_of(original)
    assert {name: extracted[name] for name in files_of(back.parent)} == files_of(back.parent)
    assert measured(tmp_path / "back") == measured(cache)
    with pytest.raises(CacheError, match="there is a cache already"):
        convert_cache(cache, tmp_path / "there", other)


def test_conversion_needs_the_ledger_and_leaves_nothing_without_it(cache, tmp_path):
    store = open_cache(cache).path
    ledger_path(store).unlink()
    with pytest.raises(CacheError, match=r"its ledger lacks chunks.*cache repair"):
        convert_cache(cache, tmp_path / "there", "zarr")
    assert not (tmp_path / "there").exists()


def test_command_line_of_care(cache, tmp_path):
    run = CliRunner().invoke
    assert run(app, ["cache", "verify", str(cache)]).exit_code == 0
    damage_chunk(cache)
    found = run(app, ["cache", "verify", str(cache), "--format", "json"])
    assert isinstance(found.exception, CacheError)
    report = json.loads(found.stdout)
    assert (report["ok"], list(report["bad_chunks"])) == (False, ["2"])
    assert "11 samples extracted again" in run(app, ["cache", "repair", str(cache)]).stdout
    made = run(app, ["cache", "convert", str(cache), str(tmp_path / "x"), "--to", "hdf5"])
    assert made.exit_code == 0
    assert verify_cache(tmp_path / "x").ok


def test_a_store_that_a_killed_repair_set_aside_is_named_with_the_remedy(cache, original):
    store = store_of(cache)
    repair._set_aside(store)
    with pytest.raises(CacheError, match="repair of the store was interrupted.*daam-bench cache repair"):
        open_cache(cache)
    assert repair_cache(cache, QUIET) == 0
    remove_store(cache)
    with pytest.raises(CacheError, match="store is missing.*daam-bench cache repair"):
        open_cache(cache)


@pytest.mark.parametrize(
    "change",
    [
        lambda facts: facts["spec"].update(cache={}),
        lambda facts: facts["spec"]["cache"].update(
            format={"zarr": "hdf5", "hdf5": "zarr"}[facts["spec"]["cache"]["format"]]
        ),
        lambda facts: facts["spec"]["cache"].update(url="x"),
        lambda facts: facts.update(chunk_sha256={}),
        lambda facts: facts.update(chunk_sha256=["x"]),
        lambda facts: facts["chunk_sha256"].extend(["0" * 64] * 400),
    ],
    ids=["no settings", "other format", "other place", "no checksums", "no hash", "more chunks than samples"],
)
def test_a_falsified_manifest_is_refused_with_the_remedy_and_nothing_is_touched(cache, original, change):
    manifest = cache / "manifest.json"
    facts = read_manifest(manifest)
    change(facts)
    write_manifest(manifest, facts)
    before = files_of(cache)
    with pytest.raises(CacheError, match="Delete the manifest and run"):
        repair_cache(cache, QUIET)
    assert files_of(cache) == before


def test_a_machine_that_cannot_read_makes_repair_move_nothing(cache, original, monkeypatch):
    def fail(*_):
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr("daam_bench.cache.structure._digest", fail)
    with pytest.raises(MachineError, match="Input/output error"):
        repair_cache(cache, QUIET)
    assert files_of(cache) == files_of(original)
