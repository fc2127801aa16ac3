import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from daam_bench.cache import export
from daam_bench.cache.reader import open_cache

CACHE = "results/embeddings/vader/minilm-l6"


def test_parquet_and_npz_hold_the_chosen_layers(work, call):
    for ending in ("parquet", "npz"):
        assert call("cache", "export", CACHE, f"out/e.{ending}", "--layers", "2,5-6")[0] == 0
    cache = open_cache(Path(CACHE))
    assert cache.layout.chunks > 2
    expected = cache.load()[:, [1, 4, 5]]
    frame = pd.read_parquet("out/e.parquet")
    found = np.stack([np.stack(frame[f"layer_{layer}"]) for layer in (2, 5, 6)], axis=1)
    np.testing.assert_array_equal(found, expected)
    assert frame["sample_id"].tolist() == cache.layout.sample_ids
    with np.load("out/e.npz", allow_pickle=False) as arrays:
        np.testing.assert_array_equal(arrays["embeddings"], expected)
        assert arrays["layers"].tolist() == [2, 5, 6]
        assert arrays["class_name"].tolist() == frame["class_name"].tolist()
        assert arrays["label"].tolist() == cache.layout.labels
    assert sorted(path.name for path in Path("out").iterdir()) == ["e.npz", "e.parquet"]


def test_csv_holds_the_metadata(work, call):
    assert call("cache", "export", CACHE, "meta.csv")[0] == 0
    frame = pd.read_csv("meta.csv", keep_default_na=False)
    cache = open_cache(Path(CACHE))
    assert frame["group"].tolist() == cache.layout.groups
    assert frame["length"].tolist() == cache.lengths.tolist()


def test_export_holds_one_chunk_at_a_time(work, monkeypatch):
    alive, most = [0], [0]
    blocks = export._blocks

    def counted(cache, layers):
        for rows, block in blocks(cache, layers):
            alive[0] += len(block)
            most[0] = max(most[0], alive[0])
            yield rows, block
            alive[0] -= len(block)

    monkeypatch.setattr(export, "_blocks", counted)
    assert export.export_cache(Path(CACHE), Path("e.npz")) == 160
    assert 0 < most[0] <= open_cache(Path(CACHE)).layout.rows_per_chunk


def test_a_damaged_cache_leaves_no_half_file(work, call):
    chunk = sorted(Path(CACHE).glob("*.zarr/embeddings/c/*/0/0"))[-1]
    data = bytearray(chunk.read_bytes())
    data[100] ^= 1
    chunk.write_bytes(data)
    code, _, err = call("cache", "export", CACHE, "e.parquet")
    assert code == 5 and "checksum" in err
    assert not list(Path().glob("*e.parquet*"))


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("export", CACHE, "e.xlsx"), ".parquet"),
        (("export", CACHE, "e.npz", "--layers", "0,7"), "1 to 6"),
        (("export", CACHE, "e.npz", "--layers", "two"), "1,4-6"),
        (("plot", CACHE, "--output", "e.txt"), ".png"),
        (("plot", CACHE, "--layer", "7"), "1 to 6"),
    ],
)
def test_wrong_usage_is_one_line_and_exit_code_2(work, call, words, said):
    code, _, err = call("cache", *words)
    assert code == 2
    assert said in err and len(err.splitlines()) == 1


def test_a_plot_is_a_picture(work, call):
    code, out, _ = call("cache", "plot", CACHE, "--output", "new/cache.png", "--layer", "3", "--json")
    assert (code, json.loads(out)) == (0, {"path": "new/cache.png"})
    with Image.open("new/cache.png") as picture:
        assert picture.size[0] == 1500 and 630 < picture.size[1] < 700
        assert len(np.unique(np.asarray(picture.convert("L")))) > 20


def test_repair_and_prune_say_for_scripts_what_they_did(work, data_of):
    (store,) = Path(CACHE).glob("*.zarr")
    layout = open_cache(Path(CACHE)).layout
    (store / "embeddings/c/0/0/0").unlink()
    whole = {"path": str(store), "of_samples": 160}
    again = {"samples_extracted_again": layout.rows_per_chunk}
    assert data_of("cache", "repair", CACHE) == (0, whole | again)
    assert data_of("cache", "repair", CACHE) == (0, whole | {"samples_extracted_again": 0})
    other = store.with_name(f"{'0' * 64}.zarr")
    other.mkdir()
    (other / "zarr.json").write_text("{}")
    expected = {"path": str(other), "bytes": 2, "in_use": False}
    assert data_of("cache", "prune", CACHE) == (0, [expected | {"removed": False}])
    assert data_of("cache", "prune", CACHE, "--yes") == (0, [expected | {"removed": True}])
    assert data_of("cache", "prune", CACHE, "--yes") == (0, [])


def test_convert_and_export_say_for_scripts_what_they_wrote(work, data_of):
    _, data = data_of("cache", "convert", CACHE, "copy", "--to", "hdf5")
    assert Path(data["path"]) == next(Path("copy").glob("*.h5"))
    assert Path(data["manifest"]) == Path("copy/manifest.json")
    _, data = data_of("cache", "export", CACHE, "meta.csv")
    assert data == {"path": "meta.csv", "samples": 160}


def test_how_fast_a_cache_was_made_is_shown(work, data_of, call):
    _, data = data_of("cache", "info", CACHE)
    assert data["extraction"]["computed_samples"] == 160
    assert data["extraction"]["unit"] == "tokens"
    _, out, _ = call("cache", "info", CACHE)
    assert "extraction: computed_samples 160" in out
    Path(CACHE, "manifest.json").unlink()
    assert "extraction" not in data_of("cache", "info", next(Path(CACHE).glob("*.zarr")))[1]


def test_json_has_two_spellings(work, call):
    for words in (("cache", "info", CACHE), ("cache", "verify", CACHE), ("variants",), ("datasets",)):
        (_, short, _), (_, long, _) = call(*words, "--json"), call(*words, "--format", "json")
        assert short == long
        assert json.loads(short)
