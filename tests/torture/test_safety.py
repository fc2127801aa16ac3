"""Nothing that is opened can run code, lead elsewhere, or take what it does not hold."""

import json
import pickle
import runpy
import shutil
from pathlib import Path

import h5py
import numpy as np
import pytest
import yte
import zarr
from contracts.test_store_contract import SAMPLES, fill
from encoders.conftest import model_folder
from hypothesis import given
from hypothesis import strategies as st
from torture.listening import Bomb

from daam_bench.cache.reader import open_cache
from daam_bench.cache.verify import verify_cache
from daam_bench.config import EncoderConfig, parse_config
from daam_bench.config.merge import load_merged
from daam_bench.datasets.inert_pickle import read_inert
from daam_bench.encoders.base import load_encoder
from daam_bench.errors import CacheError, ConfigError, DaamBenchError, DataError, EncoderError

__all__ = ["model_folder"]  # a fixture
# What would run code where it is read by another, and what is said of it.
CONFIGURATIONS = {
    "!!python/object/apply:os.system ['true']": "not valid YAML",
    "__use_yte__: true\ntitle: ?1 + 1": "__use_yte__ is refused",
}


def test_the_hook_hears(audited):
    with pytest.raises(SystemExit, match="it ran"):
        pickle.loads(pickle.dumps(Bomb()))
    assert audited[0][0] == "pickle.find_class"


@pytest.mark.parametrize(
    "run",
    [
        lambda file: eval("1 + 1"),
        lambda file: exec("x = 1"),
        lambda file: exec(compile("x = 1", "<unknown>", "exec")),
        lambda file: yte.process_yaml("a: ?1 + 1"),
        lambda file: runpy.run_path(str(file)),
    ],
    ids=["eval", "exec", "compile", "a template", "a file"],
)
def test_the_hook_hears_code_of_data(run, tmp_path, audited):
    (tmp_path / "evil.py").write_text("x = 1")
    run(tmp_path / "evil.py")
    assert "exec" in [event for event, _ in audited]


@pytest.mark.parametrize("kind", ["zarr", "hdf5"])
def test_opening_and_verifying_a_cache_runs_nothing(kind, tmp_path, audited):
    path = fill(tmp_path, kind)
    cache = open_cache(path)
    cache.load()
    verify_cache(path)
    assert not audited


def test_a_model_folder_with_code_and_pickle_runs_nothing(tmp_path, audited):
    settings = {"model_type": "bert", "auto_map": {"AutoModel": "modeling.Mine", "AutoConfig": "modeling.C"}}
    (tmp_path / "config.json").write_text(json.dumps(settings | {"architectures": ["Mine"]}))
    (tmp_path / "modeling.py").write_text("raise SystemExit('it ran')")
    (tmp_path / "pytorch_model.bin").write_bytes(pickle.dumps(Bomb(), protocol=2))
    with pytest.raises(DaamBenchError):
        load_encoder("stranger", EncoderConfig(modality="text", model=str(tmp_path)))
    assert not audited


def add_code(folder):
    """Have every file of settings of a model's folder name code that lies beside it."""
    (folder / "evil.py").write_text("raise SystemExit('it ran')")
    (folder / "training_args.bin").write_bytes(pickle.dumps(Bomb()))
    classes = ("AutoConfig", "AutoModel", "AutoProcessor", "AutoImageProcessor", "AutoFeatureExtractor")
    named = dict.fromkeys(classes, "evil.Mine") | {"AutoTokenizer": ["evil.Mine", "evil.Mine"]}
    for file in folder.glob("*config.json"):
        change(file, auto_map=named)


def change(file, **settings):
    file.write_text(json.dumps(json.loads(file.read_text()) | settings))


@pytest.mark.parametrize("kind", [("text", "bert"), ("speech", "wavlm"), ("vision", "beit")], ids="-".join)
def test_code_beside_a_model_is_ignored(kind, model_folder, tmp_path, audited):
    folder = shutil.copytree(model_folder(*kind), tmp_path / "model")
    config = EncoderConfig(modality=kind[0], model=str(folder))
    clean = load_encoder("one", config)
    add_code(folder)
    found = load_encoder("one", config)
    assert type(found) is type(clean)
    # The processor's settings are another text now.
    assert found.settings() | {"processor": ""} == clean.settings() | {"processor": ""}
    assert not audited


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"attn_implementation": "kernels-community/evil"}, "names code that would be fetched"),
        ({"_attn_implementation": "stranger/evil@main"}, "names code that would be fetched"),
        ({"attn_implementation": {"": "stranger/evil"}}, "names code that would be fetched"),
        ({"attn_implementation": 5}, "cannot open it"),
        ({"num_hidden_layers": 10**9}, "more layers than a model has"),
        ({"model_type": "evil"}, "cannot open it"),
        ({"hidden_size": "__import__('os')"}, "cannot open it"),
        ({"dtype": "os.system"}, "cannot open it"),
        ({"quantization_config": 5}, "cannot open it"),
    ],
    ids=str,
)
def test_settings_of_a_model_that_lead_to_code_or_to_nothing_are_refused(
    settings, said, model_folder, tmp_path, audited
):
    folder = shutil.copytree(model_folder("text", "bert"), tmp_path / "model")
    add_code(folder)
    change(folder / "config.json", **settings)
    with pytest.raises(EncoderError, match=said):
        load_encoder("stranger", EncoderConfig(modality="text", model=str(folder)))
    assert not audited


def test_a_store_of_zarr_with_codecs_that_unpickle_runs_nothing(tmp_path, audited):
    path = fill(tmp_path, "zarr")
    for name in ("numcodecs.pickle", "numcodecs.json2"):
        change(path / "group" / "zarr.json", codecs=[{"name": name, "configuration": {"protocol": 5}}])
        (path / "group" / "c" / "0").write_bytes(pickle.dumps(Bomb()))
        with pytest.raises(CacheError, match="group"):
            open_cache(path)
        assert not verify_cache(path).ok
    assert not audited


def test_a_file_of_hdf5_with_a_filter_or_type_of_its_own_loads_no_code(tmp_path, audited, monkeypatch):
    path = fill(tmp_path, "hdf5")
    monkeypatch.setenv("HDF5_PLUGIN_PATH", str(tmp_path))
    (tmp_path / "libevil.so").write_bytes(b"\x7fELF, or so it says")
    with h5py.File(path, "r+") as file:
        settings = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
        settings.set_chunk((SAMPLES,))
        settings.set_filter(32999, h5py.h5z.FLAG_OPTIONAL, (1, 2))
        kinds = {"label": h5py.h5t.NATIVE_INT64, "group": h5py.h5t.create(h5py.h5t.OPAQUE, 8)}
        for name, kind in kinds.items():
            del file[name]
            h5py.h5d.create(file.id, name.encode(), kind, h5py.h5s.create_simple((SAMPLES,)), settings)
    with pytest.raises(CacheError, match="not stored as in a cache"):
        open_cache(path)
    assert not verify_cache(path).ok
    assert not audited


def test_a_dataset_or_configuration_runs_nothing(tmp_path, audited):
    (tmp_path / "batch").write_bytes(pickle.dumps({"data": Bomb()}))
    with pytest.raises(DataError, match="cannot be read safely"):
        read_inert(tmp_path / "batch")
    for text, said in CONFIGURATIONS.items():
        (tmp_path / "config.yaml").write_text(text)
        with pytest.raises(ConfigError, match=said):
            load_merged(tmp_path / "config.yaml")
    assert not [event for event in audited if event[0] != "pickle.find_class"]


def test_a_pickle_cannot_take_memory_by_a_place_number(tmp_path):
    (tmp_path / "batch").write_bytes(b"\x80\x02}r\xff\xff\xff\x7f.")
    with pytest.raises(DataError, match="place number 2147483647"):
        read_inert(tmp_path / "batch")


def test_a_link_in_a_store_is_refused(tmp_path):
    path = fill(tmp_path, "zarr")
    chunk = path / "embeddings" / "c" / "0" / "0" / "0"
    chunk.rename(tmp_path / "elsewhere")
    chunk.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(CacheError, match="a link in the store"):
        open_cache(path)


def test_an_array_in_another_file_is_refused(tmp_path):
    path = fill(tmp_path, "hdf5")
    with h5py.File(path, "r+") as file:
        shape, dtype = file["label"].shape, file["label"].dtype
        del file["label"]
        (tmp_path / "secret").write_bytes(bytes(np.prod(shape) * dtype.itemsize))
        file.create_dataset(
            "label", shape, dtype, external=[(str(tmp_path / "secret"), 0, h5py.h5f.UNLIMITED)]
        )
    with pytest.raises(CacheError, match="lies in another file"):
        open_cache(path)


def test_sizes_that_a_store_cannot_hold_are_refused(tmp_path):
    path = fill(tmp_path, "zarr")
    group = zarr.open_group(path, mode="r+")
    for name in ("embeddings", "label", "length", "sample", "split", "group", "content"):
        array = group[name]
        array.resize((10**11, *array.shape[1:]))
    with pytest.raises(CacheError, match="declares more values than it can hold"):
        open_cache(path)


@given(st.text(max_size=80))
def test_names_never_lead_out_of_the_results(name):
    base = {"encoders": {"e": {"modality": "text", "model": "m"}}}
    base |= {"datasets": {name: {"kind": "table", "path": "p"}}}
    base |= {"experiments": [{"dataset": name, "encoder": "e"}]}
    try:
        (accepted,) = parse_config(base).datasets
    except ConfigError:
        return
    place = Path("/results/embeddings", accepted, "e")
    assert place.resolve() == place
    assert place.relative_to("/results/embeddings").parts == (accepted, "e")
