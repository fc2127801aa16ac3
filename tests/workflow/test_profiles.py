import re
from pathlib import Path

import yaml

ROOT = Path(__file__).parents[2]
RULES = "\n".join(path.read_text() for path in sorted((ROOT / "workflow/rules").glob("*.smk")))


def heavy_rules():
    """Rules whose jobs run an encoder or train: they call these steps."""
    found = re.findall(r"^(?: {4})?rule (\w+):(.*?)(?=^(?: {4})?rule |\Z)", RULES, re.MULTILINE | re.DOTALL)
    return {name for name, text in found if re.search("step (extract-part|train-variant|tune-encoder)", text)}


def test_every_rule_that_needs_a_gpu_asks_slurm_for_one():
    profile = yaml.safe_load((ROOT / "profiles/slurm/config.yaml").read_text())
    assert heavy_rules() >= {"extract_part", "train_variant", "train_on_layers", "tune_study"}
    asking = {name for name, wanted in profile["set-resources"].items() if wanted.get("gpu")}
    assert asking == heavy_rules()
    for name in asking:
        assert {"mem_mb", "runtime"} <= profile["set-resources"][name].keys()
