import json
import re
from itertools import pairwise
from pathlib import Path
from threading import Event

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from rich.progress import Progress

from daam_bench.cache.batches import batches_by_length, batching_difference, encode_runs
from daam_bench.cache.extraction import ExtractionSpec, extract_part, finish_cache
from daam_bench.cache.inspect import describe_cache
from daam_bench.cache.reader import open_cache
from daam_bench.config import CacheConfig, DatasetConfig, EncoderConfig
from daam_bench.datasets.listing import list_samples
from daam_bench.encoders.base import Prepared, load_encoder
from daam_bench.errors import RecordError

QUIET = Progress(disable=True)


class Lengths:
    """An encoder whose every value is the sample's length; negative lengths give NaN, zero is refused."""

    layers, features, window = 3, 5, 2
    unit, units_per_position = "lengths", 0.5

    def prepare(self, samples, folder):
        prepared = Prepared()
        for size in samples["size"]:
            prepared.add(size, abs(size)) if size else prepared.refuse("nothing there")
        return prepared

    def encode(self, prepared):
        sizes = torch.tensor(prepared, dtype=torch.float32)
        sizes[sizes < 0] = torch.nan
        return sizes[:, None, None].expand(-1, self.layers, self.features)

    def settings(self):
        return {}


@given(st.lists(st.integers(1, 97), min_size=1, max_size=61), st.integers(1, 307))
def test_batches_hold_every_row_once_within_the_budget(lengths, positions):
    batches = list(batches_by_length(lengths, positions))
    assert sorted(row for batch in batches for row in batch) == list(range(len(lengths)))
    for batch in batches:
        assert len(batch) == 1 or max(lengths[row] for row in batch) * len(batch) <= positions
    for batch, following in pairwise(batches):
        longest = [max(lengths[row] for row in rows) for rows in (batch, following)]
        assert longest[0] * (len(batch) + 1) > positions
        assert longest[1] <= min(lengths[row] for row in batch)


@pytest.mark.parametrize("window", [2, 7])
def test_rows_stay_with_their_samples_and_bad_ones_are_quarantined(window):
    frame = pd.DataFrame({"sample_id": list("abcdefg"), "size": [7, 2, -3, 11, 0, 5, 13]})
    encoder = Lengths()
    encoder.window = window  # all in one batch, or not
    first, empty, last = encode_runs(encoder, [frame[:5], frame[:0], frame[5:]], Path())
    assert first.block[:, 1, 2].tolist()[:2] == [7, 2]
    assert np.isnan(first.block[[2, 4]]).all()
    assert first.lengths.tolist() == [7, 2, -1, 11, -1]
    assert first.quarantined == {"c": "the encoder's output is not finite in float32", "e": "nothing there"}
    assert empty.block.shape == (0, 3, 5)
    assert last.block[:, 0, 0].tolist() == [5, 13]


def test_batches_and_runs_without_any_usable_row_are_whole_runs_of_quarantined_ones():
    frame = pd.DataFrame({"sample_id": list("abcde"), "size": [-3, -2, -7, 0, 5]})
    seen = []
    runs = encode_runs(Lengths(), [frame[:3], frame[3:4], frame[4:]], Path(), lambda *done: seen.append(done))
    bad, refused, last = runs
    assert np.isnan(bad.block).all()
    assert np.isnan(refused.block).all()
    assert last.block[0].tolist() == [[5] * 5] * 3
    assert [*bad.quarantined, *refused.quarantined, *last.quarantined] == list("abcd")
    assert np.sum(seen, axis=0).tolist() == [5, 3 + 2 + 7 + 5]


@pytest.mark.parametrize("threads", [1, 2, 3])
def test_values_do_not_depend_on_the_number_of_streams(real_resources, threads):
    config = EncoderConfig(modality="text", model=str(real_resources / "minilm-l6"))
    encoder = load_encoder("minilm-l6", config)
    texts = ["word " * (number * 37 % 83) for number in range(1, 42)]
    runs = [pd.DataFrame({"sample_id": part, "text": part}) for part in (texts[:29], texts[29:])]
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(1)
        expected = list(encode_runs(encoder, runs, Path()))
        torch.set_num_threads(threads)
        found = list(encode_runs(encoder, runs, Path()))
        assert torch.get_num_threads() == threads
    finally:
        torch.set_num_threads(before)
    for one, other in zip(found, expected, strict=True):
        assert np.array_equal(one.block, other.block)
        assert np.isfinite(one.block).all()


def test_the_next_samples_are_encoded_while_a_chunk_is_written():
    begun = Event()

    class Noting(Lengths):
        def encode(self, prepared):
            if 11 in prepared:
                begun.set()
            return super().encode(prepared)

    frame = pd.DataFrame({"sample_id": list("abcd"), "size": [7, 2, 11, 3]})
    runs = encode_runs(Noting(), [frame[:2], frame[2:]], Path())
    assert next(runs).lengths.tolist() == [7, 2]
    assert begun.wait(60)
    assert next(runs).lengths.tolist() == [11, 3]


def test_an_error_of_one_batch_ends_the_run():
    class Broken(Lengths):
        def encode(self, prepared):
            if 11 in prepared:
                raise RuntimeError("out of memory")
            return super().encode(prepared)

    frame = pd.DataFrame({"sample_id": list("abcde"), "size": [7, 2, 11, 3, 5]})
    with pytest.raises(RuntimeError, match="out of memory"):
        list(encode_runs(Broken(), [frame], Path()))


def test_a_value_that_the_stored_precision_cannot_hold_is_quarantined():
    frame = pd.DataFrame({"sample_id": list("abc"), "size": [65504, 65536, 7]})
    (found,) = encode_runs(Lengths(), [frame], Path(), dtype="float16")
    assert found.block.dtype == np.float16
    assert found.block[[0, 2], 1, 3].tolist() == [65504, 7]
    assert np.isnan(found.block[1]).all()
    assert found.lengths.tolist() == [65504, -1, 7]
    assert found.quarantined == {"b": "the encoder's output is not finite in float16"}


@pytest.mark.parametrize("dtype", ["float32", "float16"])
def test_the_largest_values_are_kept_and_infinite_ones_are_not_whatever_their_signs(dtype):
    largest = float(np.finfo(dtype).max)

    class Signed(Lengths):
        def encode(self, prepared):
            values = torch.full((len(prepared), self.layers, self.features), largest)
            for row, size in enumerate(prepared):
                if size == 2:
                    values[row, 0, 0], values[row, 2, 4] = torch.inf, -torch.inf
            return values

    frame = pd.DataFrame({"sample_id": list("abc"), "size": [7, 2, 3]})
    (found,) = encode_runs(Signed(), [frame], Path(), dtype=dtype)
    assert list(found.quarantined) == ["b"]
    assert (found.block[[0, 2]] == np.dtype(dtype).type(largest)).all()


def extract(folder, real_resources, kind, samples_per_group=11, parts=1, **settings):
    path = str(real_resources / "vader")
    dataset = DatasetConfig(kind="vader", path=path, samples_per_group=samples_per_group)
    samples = list_samples("vader", dataset)
    folder.mkdir(exist_ok=True)
    samples.to_parquet(folder / "samples.parquet")
    spec = ExtractionSpec(
        dataset="vader",
        encoder_name="minilm-l6",
        encoder=EncoderConfig(modality="text", model=str(real_resources / "minilm-l6")),
        cache=CacheConfig(format=kind, chunk_mebibytes=0.1, **settings),
    )
    outputs = [folder / "parts" / f"{number}.json" for number in range(1, parts + 1)]
    for number, output in enumerate(outputs, 1):
        extract_part(spec, samples, output, (number, parts), QUIET)
    finish_cache(spec, folder / "samples.parquet", outputs, folder / "manifest.json")
    return samples, open_cache(folder)


def measured(folder):
    return json.loads((folder / "manifest.json").read_text())["measurements"]


def test_real_model_and_data_equal_plain_single_forwards(tmp_path, real_resources):
    samples, cache = extract(tmp_path, real_resources, "zarr")
    encoder = load_encoder("m", EncoderConfig(modality="text", model=str(real_resources / "minilm-l6")))
    stored = cache.load()
    assert cache.layout.shape == (44, 6, 384)
    for row in (0, 17, 43):
        tokens = encoder.tokenizer(samples["text"][row], return_tensors="pt")
        with torch.inference_mode():
            states = encoder.model(**tokens, output_hidden_states=True).hidden_states[1:]
        plain = np.stack([state[0].mean(dim=0).numpy() for state in states])
        scale = np.sqrt((plain**2).mean(axis=1, keepdims=True))
        assert (np.abs(stored[row] - plain) / scale).max() < 1e-5
    assert batching_difference(encoder, samples, Path()) < 1e-5


def test_formats_hold_equal_values_and_one_identity(tmp_path, real_resources):
    caches = [extract(tmp_path / kind, real_resources, kind)[1] for kind in ("zarr", "hdf5")]
    assert np.array_equal(caches[0].load(), caches[1].load())
    assert caches[0].identity == caches[1].identity


def test_a_second_extraction_computes_nothing(tmp_path, real_resources):
    extract(tmp_path, real_resources, "zarr")
    assert measured(tmp_path)["computed_samples"] == 44
    extract(tmp_path, real_resources, "zarr")
    assert measured(tmp_path)["last_run_computed_samples"] == 0


def test_parts_make_the_same_cache_as_one_process(tmp_path, real_resources):
    _, whole = extract(tmp_path / "whole", real_resources, "zarr")
    _, dealt = extract(tmp_path / "dealt", real_resources, "zarr", parts=3)
    assert whole.layout.chunks == 4
    files = [
        {f.relative_to(c.path): f.read_bytes() for f in c.path.rglob("*") if f.is_file()}
        for c in (whole, dealt)
    ]
    assert files[0] == files[1]


def test_only_new_samples_are_computed(tmp_path, real_resources):
    _, few = extract(tmp_path, real_resources, "zarr", samples_per_group=11)
    _, more = extract(tmp_path, real_resources, "zarr", samples_per_group=13)
    shared = set(few.layout.contents) & set(more.layout.contents)
    assert measured(tmp_path)["reused_samples"] == len(shared) > 0
    assert measured(tmp_path)["computed_samples"] == 52 - len(shared)
    at = {content: row for row, content in enumerate(few.layout.contents)}
    old, new = few.load(), more.load()
    for row, content in enumerate(more.layout.contents):
        if content in at:
            assert np.array_equal(new[row], old[at[content]])


def test_another_precision_is_another_store(tmp_path, real_resources):
    _, first = extract(tmp_path, real_resources, "zarr")
    _, second = extract(tmp_path, real_resources, "zarr", dtype="float16")
    assert first.path != second.path
    assert first.path.exists()
    np.testing.assert_allclose(second.load(), first.load(), atol=2e-3)


def test_description_agrees_with_the_values(tmp_path, real_resources):
    _, cache = extract(tmp_path, real_resources, "hdf5")
    found = describe_cache(tmp_path, rows=3)
    values = cache.load()
    assert found["samples_per_group"] == {"amazon": 11, "movies": 11, "news": 11, "tweets": 11}
    assert sum(found["samples_per_class"].values()) == 44
    layer = found["layer_statistics"][4]
    assert layer["layer"] == 5
    np.testing.assert_allclose(layer["mean"], values[:, 4].mean(), atol=1e-6)
    np.testing.assert_allclose(layer["standard_deviation"], values[:, 4].std(), rtol=1e-5)
    np.testing.assert_allclose(layer["mean_norm"], np.linalg.norm(values[:, 4], axis=1).mean(), rtol=1e-5)
    assert [row["sample"] for row in found["first_rows"]] == cache.layout.sample_ids[:3]


def test_a_text_that_is_not_what_was_listed_is_never_encoded(tmp_path, real_resources):
    dataset = DatasetConfig(kind="vader", path=str(real_resources / "vader"), samples_per_group=11)
    samples = list_samples("vader", dataset)
    samples.loc[17, "text"] = samples.loc[17, "text"][:-1] + "~"
    spec = ExtractionSpec(
        dataset="vader",
        encoder_name="minilm-l6",
        encoder=EncoderConfig(modality="text", model=str(real_resources / "minilm-l6")),
        cache=CacheConfig(chunk_mebibytes=0.1),
    )
    with pytest.raises(RecordError, match="table of samples is damaged.*Delete results/samples"):
        extract_part(spec, samples, tmp_path / "parts" / "1.json", (1, 1), QUIET)
    (ledger,) = tmp_path.glob("*.ledger.jsonl")
    in_a_chunk = int(0.1 * 2**20) // (6 * 384 * 4)  # rows
    assert 17 // in_a_chunk == 1
    assert set(re.findall(r'"chunk":(\d+)', ledger.read_text())) <= {"0"}
