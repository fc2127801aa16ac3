"""Nothing that is opened can run code, lead elsewhere, or take what it does not hold."""

import json
import pickle
import runpy
import sys
import sysconfig
from pathlib import Path

import h5py
import numpy as np
import pytest
import yte
import zarr
from contracts.test_store_contract import fill
from hypothesis import given
from hypothesis import strategies as st

from daam_bench.cache.reader import open_cache
from daam_bench.cache.verify import verify_cache
from daam_bench.config import EncoderConfig, parse_config
from daam_bench.config.merge import load_merged
from daam_bench.datasets.inert_pickle import read_inert
from daam_bench.encoders.base import load_encoder
from daam_bench.errors import CacheError, ConfigError, DaamBenchError, DataError

_SEEN: list[tuple[str, str]] = []
_WATCHED: list[Path] = []
# Where code may come from: what is installed, and the project.
_TRUSTED = (*sysconfig.get_paths().values(), sys.prefix, sys.base_prefix, str(Path(__file__).parents[2]))
# What writes code out of names and annotations in installed code, or parses some (ast).
_WRITERS = (
    "/ast.py",
    "/collections/__init__.py",
    "/dataclasses.py",
    "/typing.py",
    "/jaxtyping/_decorator.py",
)


def _listen(event, arguments):
    if not _WATCHED:
        return
    if event in {"pickle.find_class", "os.system", "subprocess.Popen"}:
        _SEEN.append((event, str(arguments[:2])))
    elif event in {"exec", "compile"}:
        file = str(arguments[1] if event == "compile" else arguments[0].co_filename)
        if not _is_trusted(file, sys._getframe(1)):
            _SEEN.append((event, f"{file}: {str(arguments)[:200]}"))
    elif event == "import" and str(_WATCHED[0]) in str(arguments):
        _SEEN.append((event, str(arguments)[:200]))


def _is_trusted(file, caller):
    if file.startswith("<frozen "):
        return True
    if not file.startswith("/"):  # such as <string>
        return caller.f_code.co_filename.endswith(_WRITERS) or _imports(caller)
    return file.startswith(_TRUSTED) and not file.startswith(str(_WATCHED[0]))


sys.addaudithook(_listen)


def _imports(frame):
    """Return whether a module is being imported: many write some of their code."""
    while frame is not None:
        if frame.f_code.co_filename == "<frozen importlib._bootstrap>":
            return True
        frame = frame.f_back
    return False


@pytest.fixture
def audited(tmp_path):
    """Return the dangerous events while a test runs: unpickling, commands, code that nobody installed."""
    _SEEN.clear()
    _WATCHED.append(tmp_path)
    yield _SEEN
    _WATCHED.clear()


# What would run code where it is read by another, and what is said of it.
CONFIGURATIONS = {
    "!!python/object/apply:os.system ['true']": "not valid YAML",
    "__use_yte__: true\ntitle: ?1 + 1": "__use_yte__ is refused",
}


class Bomb:
    def __reduce__(self):
        return (exec, ("raise SystemExit('it ran')",))


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
