"""Small caches of every modality, over randomly initialised encoders of the true architectures."""

import hashlib
import io
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import soundfile
from encoders.conftest import ARCHITECTURES, model_folder  # noqa: F401
from PIL import Image
from rich.progress import Progress

from daam_bench.cache.extraction import ExtractionSpec, extract_part, finish_cache
from daam_bench.config import CacheConfig, EncoderConfig, FoldRule, Protocol, TrainingConfig, TuningConfig
from daam_bench.tuning.spec import TuningSpec

QUIET = Progress(disable=True)
CLASSES = ["low", "high"]
SAMPLES = 14
BAD = 5  # the row of the sample that cannot be used
MODALITY = {name: modality for modality, names in ARCHITECTURES.items() for name in names}
TRAINING = {
    "epochs": 3,
    "batch_size": 4,
    "learning_rate": 1e-2,
    "precision": "float32",
    "inner_fraction": 0.3,
}


def text(label: int, row: int) -> dict[str, object]:
    words = [f"w{(3 * k + row) % 25 + 25 * label}" for k in range(3 + row % 4)]
    return {"text": " ".join(words) if row != BAD else " "}


def sound(label: int, row: int) -> dict[str, object]:
    time = np.arange(2400 + 160 * (row % 3)) / 16000
    noise = np.random.default_rng(row).normal(scale=0.05, size=len(time))
    buffer = io.BytesIO()
    wave = np.sin(2 * np.pi * (300 + 900 * label) * time) * 0.3 + noise
    soundfile.write(buffer, wave, 16000, format="WAV", subtype="FLOAT")
    return {"content": buffer.getvalue() if row != BAD else b"RIFF"}


def image(label: int, row: int) -> dict[str, object]:
    pixels = np.random.default_rng(row).integers(0, 60, (31, 31, 3), dtype=np.uint8)
    pixels[:, : 8 + 16 * label] += 150
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")
    return {"content": buffer.getvalue() if row != BAD else b"\x89PNG"}


CONTENTS: dict[str, Callable[[int, int], dict[str, object]]] = {
    "text": text,
    "speech": sound,
    "vision": image,
}


def table_of(modality: str) -> pd.DataFrame:
    """Return the table of samples, as `list_samples` would; one of them cannot be used."""
    rows = [
        {"sample_id": f"s{row}", "label": row % 2, "group": f"g{row // 7}", "split": ""}
        | CONTENTS[modality](row % 2, row)
        for row in range(SAMPLES)
    ]
    frame = pd.DataFrame(rows)
    column = "text" if modality == "text" else "content"
    contents = [value.strip().encode() if isinstance(value, str) else value for value in frame[column]]
    # A blank text has no content to be hashed.
    keys = [hashlib.sha256(value).hexdigest() if value else "none-s" for value in contents]
    frame["content_key"] = keys
    facts = {"class_names": CLASSES, "modality": modality, "kind": "toy", "title": "Toy", "folder": "."}
    frame.attrs = facts | {"licence": "none", "source": "made up"}
    return frame


class Work:
    """A finished cache with its table of samples, and the jobs on it."""

    def __init__(self, folder: Path, name: str, model: Path) -> None:
        self.folder, self.modality = folder, MODALITY[name]
        self.settings = EncoderConfig(modality=self.modality, model=str(model))
        self.samples, self.cache = folder / "samples.parquet", folder / "manifest.json"
        table_of(self.modality).to_parquet(self.samples)
        spec = ExtractionSpec(
            dataset="toy", encoder_name=name, encoder=self.settings, cache=CacheConfig(format="hdf5")
        )
        part = folder / "parts" / "1.json"
        extract_part(spec, pd.read_parquet(self.samples), part, (1, 1), QUIET)
        finish_cache(spec, self.samples, [part], self.cache)
        self.name = name

    def spec(
        self,
        variant: str = "encoder_lora_r4",
        protocol: dict[str, object] | None = None,
        tuning: dict[str, object] | None = None,
        **training: object,
    ) -> TuningSpec:
        return TuningSpec(
            dataset="toy",
            encoder=self.name,
            variant=variant,
            seeds=[0],
            folds=FoldRule(rule="leave_one_group_out"),
            training=TrainingConfig.model_validate(TRAINING | training),
            protocol=Protocol.model_validate(protocol or {}),
            tuning=TuningConfig.model_validate(tuning or {}),
            encoder_settings=self.settings,
        )


@pytest.fixture(scope="session")
def work_of(tmp_path_factory, model_folder) -> Callable[[str], Work]:  # noqa: F811
    """Return what gives the cache of an architecture, made once."""
    made: dict[str, Work] = {}

    def work(name: str) -> Work:
        if name not in made:
            made[name] = Work(tmp_path_factory.mktemp(name), name, model_folder(MODALITY[name], name))
        return made[name]

    return work
