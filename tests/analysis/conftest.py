"""Records as training writes them, with numbers chosen by hand."""

import io
import json

import numpy as np
import pandas as pd
import pytest

from daam_bench.config import Protocol
from daam_bench.records import (
    FINISHED,
    RunRecord,
    read_record,
    write_atomically,
    write_finished,
    write_record,
)

LAYERS, FEATURES = 5, 13
CORRECTED = Protocol.model_validate("corrected")
ENTROPIES = {
    "softmax": [
        {"kind": "softmax", "head": head, "mean": mean, "low": mean - 0.1, "high": mean + 0.1, "maximum": 2.0}
        for head, mean in enumerate((0.5, 1.5))
    ],
    "gaussian": [{"kind": "gaussian", "head": 0, "mean": 1.4, "low": -0.2, "high": 1.5}],
}


def make_record(variant, fold, seed, accuracy, **changes):
    fields = {
        "key": f"{variant}{fold}{seed}",
        "dataset": "toy_data",
        "encoder": "tiny",
        "variant": variant,
        "kind": "attention",
        "fold": fold,
        "fold_name": f"source {fold}",
        "seed": seed,
        "metric": "accuracy",
        "score": accuracy,
        "majority_score": 0.2 + 0.1 * fold,
        "train_samples": 70,
        "validation_samples": 30,
        "selected_epoch": 2,
        "parameters_attention": 16384,
        "parameters_with_decoder": 238104,
        "parameters_with_classifier": 336412,
        "protocol": {"name": "corrected"},
        "training": {"epochs": 2},
        "modality": "text",
        "cache_identity": "abc",
        "wall_seconds": 1.5,
        "cpu_seconds": 1.25,
        "environment": {"torch": "2"},
    }
    return RunRecord(**(fields | changes))


def write_predictions(folder, record):
    """Write predictions of 30 samples, the first of which are right, as many as the accuracy says."""
    right = round(30 * record.score)
    names = [f"{record.fold}/{row}" for row in range(30)]
    predictions = [1] * right + [0] * (30 - right)
    frame = pd.DataFrame({"sample_id": names, "label": 1, "prediction": predictions})
    write_atomically(folder / f"{record.stem}.parquet", frame.to_parquet(index=False))


def write_density(folder, record):
    """Write a density that grows with the layer."""
    density = np.arange(LAYERS, dtype=np.float64)[:, None] + np.zeros(FEATURES) + record.seed
    buffer = io.BytesIO()
    np.savez(buffer, density=density)
    write_atomically(folder / f"{record.stem}.density.npz", buffer.getvalue())


def with_(**switches):
    """Return the corrected protocol with switches changed."""
    return Protocol.model_validate(CORRECTED.model_dump() | switches)


def write_runs(folder, variant, scores, protocol=CORRECTED, **changes):
    """Write a variant's records: `scores` is one list a fold, with one score a seed; return the folder."""
    records = [
        make_record(variant, fold, seed, score, protocol=protocol.model_dump(), **changes)
        for fold, seeds in enumerate(scores)
        for seed, score in enumerate(seeds)
    ]
    for record in records:
        write_record(folder, record)
        write_predictions(folder, record)
    write_finished(folder, records)
    return folder


@pytest.fixture
def folders(tmp_path):
    """Return variant folders: one variant with density, one without, both baselines."""
    scores = {
        "mha": {(0, 0): 0.5, (0, 1): 0.6, (1, 0): 0.7, (1, 1): 0.8},
        "daam_v1": {(0, 0): 0.6, (0, 1): 0.6, (1, 0): 0.6, (1, 1): 0.6},
    }
    made = []
    for variant, values in scores.items():
        folder = tmp_path / "runs/toy_data/tiny" / variant
        ranges = {"mean_offset": (-0.1, 0.2), "scaled_variance": (1.9, 2.1)} if variant == "daam_v1" else {}
        entropies = ENTROPIES["softmax" if variant == "mha" else "gaussian"]
        records = [
            make_record(variant, *place, score, parameter_ranges=ranges, entropies=entropies)
            for place, score in values.items()
        ]
        for record in records:
            write_record(folder, record)
            write_predictions(folder, record)
            if variant == "daam_v1":
                write_density(folder, record)
        write_finished(folder, records)
        made.append(folder)
    for variant, shift in (("majority", 0.0), ("best_single_layer", 0.1)):
        folder = tmp_path / "runs/toy_data/tiny" / variant
        changes = {"kind": "baseline", "note": "layer 3", "protocol": {}, "training": {}}
        records = [make_record(variant, fold, 0, 0.2 + 0.1 * fold + shift, **changes) for fold in (0, 1)]
        for record in records:
            write_record(folder, record)
        write_finished(folder, records)
        made.append(folder)
    return made


def change_record(folder, record):
    """Write another record in the place of one, and its checksum into the list."""
    write_record(folder, record)
    names = json.loads((folder / FINISHED).read_bytes())["records"]
    write_finished(folder, [read_record(folder / name) for name in names])
