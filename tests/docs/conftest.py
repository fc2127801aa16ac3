"""A folder as a reader of the pages has it: a small real run, and data of one's own."""

import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import soundfile
import yaml
from PIL import Image

from daam_bench.config.merge import merge_configs

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="session")
def made(tmp_path_factory, whole_run):
    """Return a folder in which everything was made once."""
    folder = tmp_path_factory.mktemp("made") / "copy"
    shutil.copytree(whole_run, folder, symlinks=True)
    for name in ("Snakefile", "workflow"):
        (folder / name).symlink_to(ROOT / name)
    shutil.copytree(ROOT / "config", folder / "config")
    # The overlay becomes the default, which the pages speak of.
    base = merge_configs(folder / "config.yaml", [folder / "tiny.yaml"])
    for name in ("config.yaml", "tiny.yaml"):
        (folder / name).unlink()
    (folder / "config.yaml").write_text(yaml.safe_dump(base, sort_keys=False))
    write_own_data(folder / "data")
    return folder


@pytest.fixture
def sandbox(made, tmp_path, monkeypatch):
    """Return a copy for one page, as the current folder."""
    folder = tmp_path / "sandbox"
    shutil.copytree(made, folder, symlinks=True)
    monkeypatch.chdir(folder)
    return folder


def write_own_data(folder):
    """Write what the pages call the reader's own: class folders of images and recordings, a table."""
    rng = np.random.default_rng(3)
    for number in range(12):
        picture = folder / "pets" / ("cat", "dog")[number % 2] / f"{number}.png"
        picture.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(rng.integers(0, 256, (11, 7, 3), dtype=np.uint8)).save(picture)
        speaker, mood = ("anna", "boris", "cleo")[number // 4], ("angry", "calm")[number % 2]
        sound = folder / "voices" / mood / f"{speaker}_{number:02}.wav"
        sound.parent.mkdir(parents=True, exist_ok=True)
        soundfile.write(sound, rng.normal(0, 0.1, 8000 + 100 * number), 8000)
    reviews = [
        {
            "title": f"title {n}",
            "body": f"review number {n}",
            "stars": (1, 2, 4, 5)[n % 4],
            "shop": "ab"[n // 6],
        }
        for n in range(12)
    ]
    pd.DataFrame(reviews).to_csv(folder / "reviews.csv", index=False)
