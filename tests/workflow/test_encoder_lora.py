"""Encoder LoRA in the workflow: the cache's samples, and tuned anew for its own settings alone."""

import json

import yaml
from workflow.whole import TINY, run

FINISHED = "results/runs/vader/minilm-l6/encoder_lora_r4/finished.json"
TUNED = {"encoder_variants": ["encoder_lora_r4"], "tuning": {"epochs": 1}}


def write(folder, **changes):
    (experiment,) = TINY["experiments"]
    own = {"experiments": [experiment | {"seeds": [0]} | TUNED | changes]}
    (folder / "tiny.yaml").write_text(yaml.safe_dump(TINY | own))


def test_it_is_tuned_on_the_samples_of_the_cache(copied):
    folder = copied
    write(folder)
    planned = run(folder, FINISHED, "-n").stdout
    assert "tune_encoder" in planned and "extract_part" not in planned
    done = run(folder, FINISHED)
    assert done.returncode == 0, done.stderr
    listing = json.loads((folder / FINISHED).read_text())
    assert listing["records"] == [f"fold{fold}_seed0.json" for fold in range(4)]
    manifest = json.loads((folder / "results/embeddings/vader/minilm-l6/manifest.json").read_text())
    for name in listing["records"]:
        record = json.loads((folder / FINISHED).with_name(name).read_text())
        assert (record["kind"], record["validation_samples"]) == ("encoder_tuning", 24)
        assert record["cache_identity"] == manifest["digest"]
        assert len(record["epochs"]) == 1
    planned = run(folder, "tables", "-n").stdout
    assert "tune_encoder" not in planned and "write_tables" in planned
    write(folder, tuning={"epochs": 1, "alpha": 8.0})
    planned = run(folder, "tables", "-n").stdout
    assert "tune_encoder" in planned and "extract_part" not in planned
