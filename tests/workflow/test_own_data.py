"""A user's own images, recordings and table become rows by YAML alone, in HDF5, one bad file among them."""

import numpy as np
import pandas as pd
import pytest
import soundfile
import yaml
from PIL import Image
from typer.testing import CliRunner
from workflow.whole import ROOT, run

from daam_bench.analysis.report import write_report
from daam_bench.analysis.tables import write_tables
from daam_bench.cache.reader import open_cache
from daam_bench.cli import app
from daam_bench.records import read_record

CLASSES = ("low", "high")


@pytest.fixture
def folder(tmp_path, real_resources, real_asset):
    for name in ("dinov2-small-shaped", "whisper-tiny-en"):
        real_asset(name)
    for name in ("config.yaml", "profiles"):
        (tmp_path / name).symlink_to(ROOT / name)
    (tmp_path / "resources").symlink_to(real_resources)
    rng = np.random.default_rng(2)
    for number in range(16):
        label = CLASSES[number % 2]
        picture = tmp_path / "images" / label / f"it's {number}.png"
        picture.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(rng.integers(0, 100 + 155 * (number % 2), (9, 7, 3), dtype=np.uint8)).save(picture)
    for number in range(8):
        label, speaker = CLASSES[number % 2], f"s{number // 2}"
        sound = tmp_path / "sounds" / label / f"{speaker}_{number}.wav"
        sound.parent.mkdir(parents=True, exist_ok=True)
        tone = np.sin(np.arange(3000 + 100 * number) * (0.05 + 0.2 * (number % 2)))
        soundfile.write(sound, 0.3 * tone, 8000)
    (tmp_path / "images" / "low" / "broken.png").write_bytes(b"\x89PNG no more")
    texts = [f"review {n}: {'awful' if n % 2 else 'lovely'}" for n in range(24)]
    table = pd.DataFrame({"review": texts, "stars": [1 + 4 * (n % 2) for n in range(24)]})
    table.to_csv(tmp_path / "reviews.csv", index=False)
    overlay = {
        "datasets": {
            "images": {
                "kind": "class_folders",
                "modality": "vision",
                "path": "images",
                "folds": {"rule": "stratified", "count": 2},
            },
            "sounds": {
                "kind": "class_folders",
                "modality": "speech",
                "path": "sounds",
                "group_pattern": r"^(s\d)_",
            },
            "reviews": {
                "kind": "table",
                "modality": "text",
                "path": "reviews.csv",
                "columns": {"content": "review", "label": "stars"},
                "labels": {1: "good", 5: "bad"},
                "folds": {"rule": "stratified", "count": 2},
            },
        },
        "encoders": {
            "dinov2": {"modality": "vision", "model": "resources/dinov2-small-shaped"},
            "whisper": {"modality": "speech", "model": "resources/whisper-tiny-en"},
        },
        "experiments": [
            {"dataset": dataset, "encoder": encoder, "variants": ["daam_v2"], "seeds": [0]}
            for dataset, encoder in (("images", "dinov2"), ("sounds", "whisper"), ("reviews", "minilm-l6"))
        ],
        "cache": {"format": "hdf5"},
        "training": {"epochs": 1, "decoder_channels": 8, "inner_fraction": 0.3},
    }
    (tmp_path / "tiny.yaml").write_text(yaml.safe_dump(overlay))
    return tmp_path


def test_each_is_a_row_and_the_bad_file_is_reported(folder, monkeypatch):
    monkeypatch.chdir(folder)
    done = run(folder, "results/runs/images/dinov2/daam_v2/finished.json")
    assert done.returncode == 0, done.stderr
    # The others without Snakemake, into the same folder.
    pairs = ("images/dinov2", "reviews/minilm-l6", "sounds/whisper")
    for pair in pairs[1:]:
        words = ["run", *pair.split("/"), "daam_v2", "--configfile", "tiny.yaml", "--output", "results"]
        assert CliRunner().invoke(app, words, catch_exceptions=False).exit_code == 0
    folders = [folder / "results/runs" / pair / "daam_v2" for pair in pairs]
    write_tables(folders, folder / "tables")
    summary = pd.read_csv(folder / "tables/accuracy_summary.csv")
    assert list(summary["dataset"]) == ["images", "reviews", "sounds"]
    assert list(summary["folds"]) == [2, 2, 4]
    caches = [folder / "results/embeddings" / pair for pair in pairs]
    images = open_cache(caches[0])
    assert images.path.suffix == ".h5"
    assert list(images.quarantined) == ["low/broken.png"]
    page = folder / "report.html"
    write_report(folders, folder / "figures", [cache / "manifest.json" for cache in caches], page, "Own", [])
    assert "low/broken.png" in page.read_text()
    assert "image cannot be read" in page.read_text()
    sizes = [read_record(folders[0] / f"fold{fold}_seed0.json").validation_samples for fold in (0, 1)]
    assert sum(sizes) == 16
