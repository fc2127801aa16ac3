"""The life of an extraction job, with a stand-in encoder: resumed, healed, stopped, measured."""

import gc
import json
import logging

import numpy as np
import pandas as pd
import pytest
import torch
from cache.test_extraction import QUIET, Lengths
from filelock import FileLock
from typer.testing import CliRunner

from daam_bench.cache import extraction, repair
from daam_bench.cache.batches import batching_difference, encode_runs
from daam_bench.cache.extraction import ExtractionSpec, extract_part, finish_cache
from daam_bench.cache.ledger import Ledger
from daam_bench.cache.manifest import read_manifest, write_manifest
from daam_bench.cache.prune import prune_cache
from daam_bench.cache.reader import open_cache
from daam_bench.cache.repair import repair_cache
from daam_bench.cache.verify import verify_cache
from daam_bench.cli import app
from daam_bench.config import CacheConfig, EncoderConfig
from daam_bench.errors import CacheError, DataError, EncoderError

ROWS = 3
MEBIBYTES = ROWS * 3 * 5 * 4 / 2**20


class StandIn(Lengths):
    """An encoder whose every value is the sample's size; it keeps the sizes that it computed."""

    def __init__(self):
        self.computed, self.fail_at, self.weights = [], None, "a"

    def encode(self, prepared):
        if self.fail_at in prepared:
            raise KeyboardInterrupt
        self.computed += prepared
        return super().encode(prepared)

    def settings(self):
        return {"pooling": "none", "dtype": "float32", "weights": self.weights}


@pytest.fixture
def encoder(monkeypatch):
    made = StandIn()
    monkeypatch.setattr(extraction, "load_encoder", lambda *_: made)
    monkeypatch.setattr(repair, "load_encoder", lambda *_: made)
    return made


def table(sizes, classes=("low", "high")):
    names = [f"s{row}" for row in range(len(sizes))]
    frame = pd.DataFrame({"sample_id": names, "size": sizes, "label": [row % 2 for row in range(len(sizes))]})
    frame = frame.assign(group="", split="", content_key=[f"{size:x}" for size in sizes])
    facts = dict.fromkeys(("title", "licence", "source", "folder"), "")
    frame.attrs = {"class_names": list(classes), **facts}
    return frame


def spec_of(**settings):
    cache = CacheConfig(**{"chunk_mebibytes": MEBIBYTES} | settings)
    encoder = EncoderConfig(modality="text", model="nowhere/model", revision="0" * 40)
    return ExtractionSpec(dataset="sizes", encoder_name="stand-in", encoder=encoder, cache=cache)


def outputs_of(folder, parts=1):
    return [folder / "parts" / f"{number}.json" for number in range(1, parts + 1)]


def extract(folder, samples, parts=1, **settings):
    """Run both steps; return what was measured."""
    folder.mkdir(exist_ok=True)
    samples.to_parquet(folder / "samples.parquet")
    for number, output in enumerate(outputs_of(folder, parts), 1):
        extract_part(spec_of(**settings), samples, output, (number, parts), QUIET)
    return finish(folder, parts, **settings)


def finish(folder, parts=1, **settings):
    manifest = folder / "manifest.json"
    finish_cache(spec_of(**settings), folder / "samples.parquet", outputs_of(folder, parts), manifest)
    return json.loads(manifest.read_bytes())["measurements"]


SIZES = [7, 2, 3, 11, 5, 13, 17]


def test_what_is_loaded_is_not_searched_for_garbage_while_samples_are_encoded(tmp_path, encoder, monkeypatch):
    spared, encode = [], encoder.encode
    monkeypatch.setattr(
        encoder, "encode", lambda some: (spared.append(gc.get_freeze_count()), encode(some))[1]
    )
    extract(tmp_path, table(SIZES))
    assert max(spared) > 1000
    assert gc.get_freeze_count() == 0


@pytest.mark.parametrize("kind", ["zarr", "hdf5"])
def test_another_size_of_chunks_computes_nothing(tmp_path, encoder, kind):
    extract(tmp_path, table(SIZES), format=kind)
    encoder.computed.clear()
    for _ in range(2):
        measured = extract(tmp_path, table(SIZES), format=kind, chunk_mebibytes=2 * MEBIBYTES)
    assert measured["last_run_computed_samples"] == 0
    assert verify_cache(tmp_path).ok
    assert open_cache(tmp_path).layout.rows_per_chunk == ROWS
    (ledger,) = tmp_path.glob("*.ledger.jsonl")
    entries = Ledger(ledger).read()
    Ledger(ledger).rewrite([entries[0], entries[2]])
    encoder.computed.clear()
    assert repair_cache(tmp_path, QUIET) == 0
    assert Ledger(ledger).read() == entries
    assert verify_cache(tmp_path).ok


@pytest.mark.parametrize("kind", ["zarr", "hdf5"])
def test_corrected_class_names_reach_the_cache_and_compute_nothing(tmp_path, encoder, kind):
    extract(tmp_path, table(SIZES, ("positive", "negative")), format=kind)
    before = open_cache(tmp_path).load()
    measured = extract(tmp_path, table(SIZES, ("negative", "positive")), format=kind)
    assert measured["last_run_computed_samples"] == 0
    cache = open_cache(tmp_path)
    assert cache.class_names == ["negative", "positive"]
    assert read_manifest(tmp_path / "manifest.json")["attributes"]["class_names"] == ["negative", "positive"]
    assert np.array_equal(cache.load(), before)
    assert verify_cache(tmp_path).ok


def test_a_changed_sample_and_an_appended_one_compute_only_their_own_rows(tmp_path, encoder, monkeypatch):
    monkeypatch.setattr(extraction, "batching_difference", lambda *_: None)
    extract(tmp_path, table(SIZES))
    encoder.computed.clear()
    changed = [19 if size == 3 else size for size in SIZES]
    extract(tmp_path, table(changed))
    assert encoder.computed == [19]
    encoder.computed.clear()
    extract(tmp_path, table([*changed, 23]))
    assert encoder.computed == [23]
    assert open_cache(tmp_path).load()[:, 0, 0].tolist() == [*changed, 23]


def test_another_format_takes_over_the_rows(tmp_path, encoder, monkeypatch):
    monkeypatch.setattr(extraction, "batching_difference", lambda *_: None)
    extract(tmp_path, table(SIZES))
    encoder.computed.clear()
    extract(tmp_path, table(SIZES), format="hdf5")
    assert encoder.computed == []
    assert open_cache(tmp_path).path.suffix == ".h5"


def test_an_older_store_of_something_else_is_named_with_both_values(tmp_path, encoder, caplog):
    extract(tmp_path, table(SIZES))
    encoder.weights = "b"
    extract(tmp_path, table(SIZES))
    assert "encoder.weights: b here, a there" in caplog.text


def test_a_failed_end_is_healed_by_the_same_command(tmp_path, encoder):
    extract(tmp_path, table(SIZES))
    (chunk,) = tmp_path.glob("*.zarr/embeddings/c/1/0/0")
    chunk.unlink()
    with pytest.raises(CacheError, match=r"missing chunks \[1\].*Run the same command again"):
        finish(tmp_path)
    assert not outputs_of(tmp_path)[0].exists()
    with pytest.raises(CacheError, match="a part of the cache is not there.*Run the same command again"):
        finish(tmp_path)
    assert extract(tmp_path, table(SIZES))["last_run_computed_samples"] == 3
    assert verify_cache(tmp_path).ok


def test_stop_stops_for_samples_that_an_earlier_run_left_out(tmp_path, encoder):
    sizes = [7, 2, 3, -11, 5, 13, 17]
    extract(tmp_path, table(sizes))
    assert list(open_cache(tmp_path).quarantined) == ["s3"]
    with pytest.raises(DataError, match="s3: a sample cannot be used"):
        extract(tmp_path, table(sizes), on_bad_sample="stop")
    extract_part(spec_of(), table(sizes), outputs_of(tmp_path)[0], (1, 1), QUIET)
    with pytest.raises(DataError, match="s3: a sample cannot be used"):
        finish(tmp_path, on_bad_sample="stop")
    assert not outputs_of(tmp_path)[0].exists()
    # Once the encoder can use it, its chunk alone is computed again.
    encoder.encode = lambda prepared: StandIn.encode(encoder, [abs(size) for size in prepared])
    assert extract(tmp_path, table(sizes), on_bad_sample="stop")["last_run_computed_samples"] == 3
    assert not open_cache(tmp_path).quarantined


def test_what_interrupted_runs_measured_is_counted(tmp_path, encoder, monkeypatch):
    now = iter(range(10**6))
    monkeypatch.setattr("daam_bench.cache.rates.perf_counter", lambda: float(next(now)))
    encoder.fail_at = 13
    with pytest.raises(KeyboardInterrupt):
        extract(tmp_path, table(SIZES))
    encoder.fail_at = None
    measured = extract(tmp_path, table(SIZES))
    assert (measured["computed_samples"], measured["last_run_computed_samples"]) == (7, 4)
    assert measured["units"] == sum(SIZES) / 2
    assert measured["samples_per_second"] == pytest.approx(7 / measured["seconds"])
    again = extract(tmp_path, table(SIZES))
    assert again | {"last_run_computed_samples": 4} == measured
    assert again["last_run_computed_samples"] == 0


def test_parts_one_after_another_are_no_faster_than_one(tmp_path, encoder, monkeypatch):
    now = iter(range(10**6))
    monkeypatch.setattr("daam_bench.cache.rates.perf_counter", lambda: float(next(now)))
    measured = extract(tmp_path, table(SIZES), parts=2)
    lines = [
        json.loads(line)
        for file in (tmp_path / "parts").glob("*.rates.jsonl")
        for line in file.read_text().split("\n")[1:]
    ]
    assert len(lines) == 3
    assert measured["seconds"] == sum(line["seconds"] for line in lines)
    assert measured["samples_per_second"] == 7 / measured["seconds"]
    assert measured["units_per_second"] == sum(SIZES) / 2 / measured["seconds"]


def test_prune_shows_and_removes_what_the_manifest_does_not_name(tmp_path, encoder):
    extract(tmp_path, table(SIZES[:5]))
    old = open_cache(tmp_path).path
    extract(tmp_path, table(SIZES))
    kept = open_cache(tmp_path).path
    shown = CliRunner().invoke(app, ["cache", "prune", str(tmp_path)]).stdout
    assert f"{old}: 0.0 MiB, would be removed (--yes)\n" == shown
    assert old.exists()
    with FileLock(old.with_name(f"{old.name}.1-of-1.lock")):
        (busy,) = prune_cache(tmp_path, delete=True)
    assert busy.in_use and old.exists()
    assert "removed" in CliRunner().invoke(app, ["cache", "prune", str(tmp_path), "--yes"]).stdout
    assert not list(tmp_path.rglob(f"{old.name}*"))
    assert prune_cache(tmp_path, delete=True) == []
    assert kept.exists() and verify_cache(tmp_path).ok


def test_repair_in_another_folder_says_what_is_not_there(tmp_path, encoder, monkeypatch):
    monkeypatch.chdir(tmp_path)
    extract(tmp_path, table(SIZES))
    facts = read_manifest(tmp_path / "manifest.json")
    write_manifest(tmp_path / "manifest.json", facts | {"samples": "samples.parquet"})
    assert repair_cache(tmp_path, QUIET) == 0
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    with pytest.raises(CacheError, match=r"table of samples is not here.*elsewhere.*folder in which"):
        repair_cache(tmp_path, QUIET)


def test_hidden_files_of_others_are_no_damage(tmp_path, encoder):
    extract(tmp_path, table(SIZES))
    store = open_cache(tmp_path).path
    for place in (store, store / "label"):
        (place / ".DS_Store").write_bytes(b"x")
        (place / ".nfs00001").write_bytes(b"x")
    assert verify_cache(tmp_path).ok
    (store / "stranger").write_bytes(b"x")
    assert not verify_cache(tmp_path).ok


class Spread(Lengths):
    """An encoder whose window holds all samples; it notes its batches, and may leak padding."""

    window = 97
    leak = 0.0

    def __init__(self):
        self.batches = []

    def encode(self, prepared):
        self.batches.append(list(prepared))
        longest = max(abs(size) for size in prepared)
        padding = torch.tensor([float(longest - abs(size)) for size in prepared])
        return super().encode(prepared) + self.leak * padding[:, None, None]


def test_the_difference_of_batching_is_measured_within_the_budget():
    encoder = Spread()
    assert batching_difference(encoder, table([*range(1, 40), 180]), ".") == 0
    together = encoder.batches[0]
    assert (len(together), min(together), max(together)) == (4, 1, 180)
    encoder = Spread()
    assert batching_difference(encoder, table([1, 400, 401]), ".") == 0
    assert encoder.batches[0] == [1, 401]


def test_a_sample_that_is_not_finite_does_not_hide_the_difference(caplog):
    encoder = Spread()
    encoder.leak = 1.0
    found = batching_difference(encoder, table([3, -5, 7]), ".")
    rms = np.sqrt((3**2 + 7**2) / 2)
    assert found == pytest.approx(4 / rms)
    assert "differ by" in caplog.text
    assert batching_difference(Spread(), table([-3, -5]), ".") is None


class SmallGpu(Lengths):
    """An encoder that can take few positions at once."""

    window = 4
    room = 20

    def __init__(self):
        self.failed = 0

    def encode(self, prepared):
        if len(prepared) * max(prepared) > self.room:
            self.failed += 1
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate\nmore")
        return super().encode(prepared)


def test_batches_are_halved_where_memory_does_not_suffice(caplog):
    caplog.set_level(logging.WARNING)
    encoder, frame = SmallGpu(), table([7, 2, 3, 11, 5, 13, 17, 1, 4, 9, 6, 8])
    (found,) = encode_runs(encoder, [frame], ".")
    assert found.block[:, 1, 2].tolist() == frame["size"].tolist()
    assert not found.quarantined
    first = encoder.failed
    assert 0 < first < 8
    assert "out of GPU memory" in caplog.text


def test_what_did_not_fit_is_not_tried_again():
    encoder = SmallGpu()
    list(encode_runs(encoder, [table([9, 9, 9, 9])] * 5, "."))
    assert encoder.failed == 1


def test_one_sample_that_does_not_fit_is_named():
    with pytest.raises(EncoderError, match="a single sample of 21 positions does not fit"):
        list(encode_runs(SmallGpu(), [table([21])], "."))
