"""Encoder LoRA in the workflow: the cache's samples, and tuned anew for its own settings alone."""

import json

import yaml
from workflow.test_workflow import TINY, folder, run

__all__ = ["folder"]  # a fixture
FINISHED = "results/runs/vader/minilm-l6/encoder_lora_r4/finished.json"
EXPERIMENT = TINY["experiments"][0] | {
    "variants": ["daam_v2"],
    "seeds": [0],
    "encoder_variants": ["encoder_lora_r4"],
    "tuning": {"epochs": 1},
}


def write(folder, **changes):
    vader = {"samples_per_group": 12, "folds": {"rule": "stratified_by_group", "count": 2}}
    own = {"datasets": {"vader": vader}, "experiments": [EXPERIMENT | changes]}
    (folder / "tiny.yaml").write_text(yaml.safe_dump(TINY | own))


def test_it_is_tuned_on_the_samples_of_the_cache(folder):
    write(folder)
    done = run(folder, FINISHED)
    assert done.returncode == 0, done.stderr
    listing = json.loads((folder / FINISHED).read_text())
    assert listing["records"] == [f"fold{fold}_seed0.json" for fold in range(2)]
    manifest = json.loads((folder / "results/embeddings/vader/minilm-l6/manifest.json").read_text())
    for name in listing["records"]:
        record = json.loads((folder / FINISHED).with_name(name).read_text())
        assert (record["kind"], record["validation_samples"]) == ("encoder_tuning", 24)
        assert record["cache_identity"] == manifest["digest"]
        assert len(record["epochs"]) == 1
    planned = run(folder, "tables", "-n").stdout
    assert "tune_encoder" not in planned and "train_variant" in planned
    write(folder, tuning={"epochs": 1, "alpha": 8.0})
    planned = run(folder, "tables", "-n").stdout
    assert "tune_encoder" in planned and "extract_part" not in planned
