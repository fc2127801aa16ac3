"""What lies in a stranger's folders runs nothing: checkpoints, records, predictions, tables, samples."""

import hashlib
import io
import json
import pickle
import shutil

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
import torch
from datasets import config as datasets_config
from encoders.conftest import model_folder
from pyarrow import parquet
from safetensors.torch import save
from torture.listening import Bomb
from training.test_layers import cache, spec
from tuning.conftest import QUIET, work_of
from tuning.test_tuning_run import KilledError, facts_of

from daam_bench.analysis.importance import read_density
from daam_bench.analysis.predictions import read_predictions
from daam_bench.config import DatasetConfig
from daam_bench.datasets.listing import list_samples
from daam_bench.errors import DataError, RecordError
from daam_bench.provenance.address import find_cell
from daam_bench.records import read_record, read_records
from daam_bench.training import run as training_run
from daam_bench.training.checkpoint import save_checkpoint
from daam_bench.training.run import run_job
from daam_bench.tuning import run as tuning_run
from daam_bench.tuning.run import run_tuning

__all__ = ["cache", "model_folder", "work_of"]  # fixtures
CODE = "__import__('os').system('true')"


@pytest.fixture(params=["training", "tuning"])
def stopped(request, tmp_path, monkeypatch):
    """Return what does a job of one replica in a folder, and a folder where it was killed after an epoch."""
    if request.param == "training":
        store, wanted = request.getfixturevalue("cache"), spec(epochs=2)
        plateau = wanted.protocol.model_copy(update={"schedule": "plateau"})
        wanted = wanted.model_copy(update={"seeds": [0], "protocol": plateau})
        module, job = training_run, lambda folder: run_job(wanted, store, folder, QUIET, only_fold=0)
    else:
        work = request.getfixturevalue("work_of")("bert")
        wanted, places = work.spec(protocol={"schedule": "plateau"}, epochs=2), (work.cache, work.samples)
        module, job = tuning_run, lambda folder: run_tuning(wanted, *places, folder, QUIET, only_fold=0)

    def killing(*arguments):
        save_checkpoint(*arguments)
        raise KilledError

    with monkeypatch.context() as patched, pytest.raises(KilledError):
        patched.setattr(module, "save_checkpoint", killing)
        job(tmp_path / "stopped")
    return job, tmp_path / "stopped"


def forge(folder, data=None, **changes):
    """Change a checkpoint as somebody would who knows its checksums."""
    if data is not None:
        next(folder.glob("*.1.checkpoint")).write_bytes(data)
        changes["sha256"] = hashlib.sha256(data).hexdigest()
    text = json.dumps(json.loads(json.loads(facts_file(folder).read_bytes())["facts"]) | changes)
    checked = {"facts": text, "checksum": hashlib.sha256(text.encode()).hexdigest()}
    facts_file(folder).write_text(json.dumps(checked))


def facts_file(folder):
    return folder / "fold0_seed0.checkpoint.json"


def torch_file():
    buffer = io.BytesIO()
    torch.save({"model.weight": Bomb()}, buffer)
    return buffer.getvalue()


IGNORED = {
    "tensors that are a pickle": lambda folder: forge(folder, pickle.dumps(Bomb())),
    "tensors that are torch's file": lambda folder: forge(folder, torch_file()),
    "tensors that lie elsewhere": lambda folder: forge(folder, tensors="../clean/fold0_seed0.json"),
    "objects by the name of a class": lambda folder: forge(folder, epochs=[{"__class__": "os.system"}]),
    "code for a number": lambda folder: forge(folder, best_epoch=CODE),
    "a pickle": lambda folder: facts_file(folder).write_bytes(pickle.dumps(Bomb())),
    "no end": lambda folder: facts_file(folder).write_text("[" * 100_000),
    "a list": lambda folder: facts_file(folder).write_text("[]"),
}
REFUSED = {
    "another model": lambda folder: forge(folder, save({"noise": torch.zeros(3), "model.x": torch.zeros(3)})),
    "methods of the schedule": lambda folder: forge(folder, plateau={"step": CODE, "_reduce_lr": CODE}),
}


def test_a_stranger_s_checkpoint_is_ignored_or_refused(stopped, tmp_path, audited):
    job, folder = stopped
    expected = facts_of(job(tmp_path / "clean"))
    audited.clear()  # the first record asks git for the version
    # Both kinds of jobs read checkpoints by one function; tuning takes long.
    ignored = IGNORED if expected[0]["kind"] == "attention" else dict(list(IGNORED.items())[:1])
    for name, change in ignored.items():
        changed = shutil.copytree(folder, tmp_path / name)
        change(changed)
        assert facts_of(job(changed)) == expected, name
    for name, change in REFUSED.items():
        changed = shutil.copytree(folder, tmp_path / name)
        change(changed)
        with pytest.raises(RecordError, match="checkpoint is not one of this replica") as refused:
            job(changed)
        assert len(str(refused.value).splitlines()) == 1
    assert not audited


@pytest.fixture
def records(cache, tmp_path):
    """Return the folder of a variant with its records."""
    run_job(spec(epochs=1).model_copy(update={"seeds": [0]}), cache, tmp_path / "daam_v1", QUIET)
    return tmp_path / "daam_v1"


@pytest.mark.parametrize("text", [pickle.dumps(Bomb()), b"[" * 100_000, b"{}", CODE.encode()])
def test_what_is_no_record_is_refused(records, text, audited):
    (records / "fold0_seed0.json").write_bytes(text)
    with pytest.raises(RecordError, match="not a run record"):
        read_record(records / "fold0_seed0.json")
    (records / "finished.json").write_bytes(text)
    with pytest.raises(RecordError, match="not a list of run records"):
        read_records(records)
    assert not audited


@pytest.mark.parametrize("name", ["../fold0_seed0.json", "/etc/passwd", CODE, ["fold0_seed0.json"], None])
def test_a_list_of_records_leads_nowhere_else(records, name, audited):
    (records / "finished.json").write_text(json.dumps({"records": [name], "keys": [""]}))
    with pytest.raises(RecordError, match="not a list of run records"):
        read_records(records)
    assert not audited


def write_parquet(file, frame, column):
    """Write a table that says of a column that its type, and an object beside it, are pickles."""
    table = pa.Table.from_pandas(frame)
    field = table.schema.field(column).with_metadata(
        {"ARROW:extension:name": "arrow.py_extension_type", "ARROW:extension:metadata": pickle.dumps(Bomb())}
    )
    place = table.schema.get_field_index(column)
    schema = table.schema.set(place, field).with_metadata(
        {**table.schema.metadata, b"PYTHON:pickle": pickle.dumps(Bomb())}
    )
    parquet.write_table(table.cast(schema), file)


def test_predictions_and_densities_unpickle_nothing(records, audited):
    (record, *_) = read_records(records)
    expected = read_predictions(records, record)
    write_parquet(records / f"{record.stem}.parquet", expected, "sample_id")
    pd.testing.assert_frame_equal(read_predictions(records, record), expected)
    np.savez(records / f"{record.stem}.density.npz", density=np.array([Bomb()], dtype=object))
    with pytest.raises(RecordError, match=r"no density beside the record .*allow_pickle=False"):
        read_density(records, record)
    for damaged in (b"", b"PK\x03\x04 no more", pickle.dumps(expected)):
        (records / f"{record.stem}.density.npz").write_bytes(damaged)
        with pytest.raises(RecordError, match="no density beside the record"):
            read_density(records, record)
    for file in records.glob("*.parquet"):
        file.write_bytes(pickle.dumps(expected))
    with pytest.raises(RecordError, match="no predictions"):
        read_predictions(records, record)
    assert not audited


def test_the_cells_of_a_table_are_texts(tmp_path, audited):
    (tmp_path / "tables").mkdir()
    row = {
        "dataset": f"@{CODE}",
        "encoder": "=cmd|' /C true'!A0",
        "variant": "{0.__class__}",
        "mean_percent": CODE,
    }
    pd.DataFrame([row]).to_csv(tmp_path / "tables/accuracy_summary.csv", index=False)
    named = {name: row[name] for name in ("dataset", "encoder", "variant")}
    assert find_cell("accuracy_summary", named, "mean_percent", tmp_path).value == CODE
    assert not audited


@pytest.mark.parametrize("ending", ["csv", "parquet"])
def test_the_cells_of_a_dataset_are_texts(ending, tmp_path, audited):
    words = [CODE, "=1+1", "{{ 7*7 }}", "!!python/name:os.system", "lambda: 0", "@x"]
    frame = pd.DataFrame({"text": words, "label": words})
    file = tmp_path / f"table.{ending}"
    frame.to_csv(file, index=False) if ending == "csv" else write_parquet(file, frame, "text")
    found = list_samples("mine", DatasetConfig(kind="table", path=str(file), modality="text"))
    assert found["text"].tolist() == words
    assert found.attrs["class_names"] == sorted(words)
    assert not audited


def test_code_in_the_folder_of_a_dataset_is_ignored_or_refused(tmp_path, audited, monkeypatch):
    monkeypatch.setattr(datasets_config, "HF_DATASETS_CACHE", tmp_path / "datasets")
    folder, frame = tmp_path / "reviews", pd.DataFrame({"text": ["good", "bad"], "label": ["a", "b"]})
    (folder / "data").mkdir(parents=True)
    write_parquet(folder / "data/train-00000-of-00001.parquet", frame, "text")
    for name in ("reviews.py", "data/reviews.py", "__init__.py"):
        (folder / name).write_text("raise SystemExit('it ran')")
    (folder / "dataset.pkl").write_bytes(pickle.dumps(Bomb()))
    config = DatasetConfig(kind="huggingface", path=str(folder), modality="text")
    with pytest.raises(DataError, match="scripts are no longer supported"):
        list_samples("mine", config)
    (folder / "reviews.py").unlink()
    assert list_samples("mine", config)["text"].tolist() == ["good", "bad"]
    for said in ("configs: !!python/object/apply:os.system ['true']", "configs: 5", "configs: [5]"):
        (folder / "README.md").write_text(f"---\n{said}\n---\n")
        with pytest.raises(DataError, match="cannot be loaded"):
            list_samples("mine", config)
    assert not audited
