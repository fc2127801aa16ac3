from pathlib import Path

import pytest
import torch
from cli.test_new_files import esc50

from daam_bench.config import DatasetConfig, EncoderConfig
from daam_bench.contents import read_sample
from daam_bench.costs import probe
from daam_bench.encoders.base import Prepared
from daam_bench.errors import DataError

ENCODER = EncoderConfig(modality="vision", model="m")
COLUMNS = {"content": "filename", "label": "category"}


class ByteCounter:
    """An encoder of one layer that reads files as others do."""

    layers, features, window = 1, 1, 7

    def prepare(self, samples, folder):
        prepared = Prepared()
        for file in samples["file"]:
            try:
                prepared.add(len(read_sample(folder, file)[0]), 1)
            except DataError as error:
                prepared.refuse(str(error))
        return prepared

    def encode(self, prepared):
        return torch.tensor(prepared, dtype=torch.float32)[:, None, None]


@pytest.fixture
def sounds(tmp_path, monkeypatch):
    """Return the dataset in the layout of ESC-50; a second passes while its samples are encoded."""
    monkeypatch.chdir(tmp_path)
    esc50()
    clock = iter([0.0, 1.0])
    monkeypatch.setattr(probe, "perf_counter", lambda: next(clock))
    monkeypatch.setattr(probe, "load_encoder", lambda *_: ByteCounter())
    settings = {"kind": "table", "modality": "vision", "path": "d/meta/esc50.csv", "columns": COLUMNS}
    return DatasetConfig.model_validate(settings | {"files": "../audio", "folds": {"rule": "stratified"}})


def test_a_probe_finds_files_where_the_dataset_says(sounds):
    assert probe.probe_encoder("e", ENCODER, sounds, "masked") == 20 - 4


def test_a_probe_counts_only_samples_that_can_be_used(sounds):
    for file in sorted(Path("d/audio").iterdir())[-3:]:
        file.unlink()
    gone = sum(not Path("d/audio", f"{1 + i % 5}-{i}-A-{i % 2}.png").exists() for i in range(4, 20))
    assert 0 < gone <= 3
    assert probe.probe_encoder("e", ENCODER, sounds, "masked") == 20 - 4 - gone


def test_a_probe_without_a_usable_sample_says_why(sounds):
    for file in Path("d/audio").iterdir():
        file.unlink()
    with pytest.raises(DataError, match="none of the probed samples can be used.*No such file"):
        probe.probe_encoder("e", ENCODER, sounds, "masked")
