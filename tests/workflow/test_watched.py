"""What Snakemake watches of a dataset: files that a table names, and nothing where nothing is read."""

import subprocess

import pandas as pd
import pytest
import yaml
from PIL import Image
from workflow.whole import ROOT, command


@pytest.fixture
def folder(tmp_path):
    for name in ("config.yaml", "profiles"):
        (tmp_path / name).symlink_to(ROOT / name)
    (tmp_path / "data").mkdir()
    for shade in range(4):
        Image.new("L", (5, 3), 10 + shade).save(tmp_path / "data" / f"{shade}.png")
    table = pd.DataFrame({"image": [f"{shade}.png" for shade in range(4)], "label": list("abab")})
    table.to_csv(tmp_path / "data" / "t.csv", index=False)
    rule = {"rule": "stratified", "count": 2}
    overlay = {
        "datasets": {
            "pictures": {"kind": "table", "modality": "vision", "path": "data/t.csv", "folds": rule},
            "digits": {"kind": "digits", "path": ".", "folds": rule},
        },
        "encoders": {"model": {"modality": "vision", "model": "."}},
        "experiments": [
            {"dataset": name, "encoder": "model", "variants": ["mha"]} for name in ("pictures", "digits")
        ],
    }
    (tmp_path / "tiny.yaml").write_text(yaml.safe_dump(overlay))
    return tmp_path


def test_a_picture_that_a_table_names_is_watched_and_the_working_folder_is_not(folder):
    names = ("pictures", "digits")

    def said(*options):
        first, second = (f"results/samples/{name}.parquet" for name in names)
        program = [*command(first, *options), second]
        done = subprocess.run(program, cwd=folder, capture_output=True, text=True, check=False, timeout=400)
        assert done.returncode == 0, done.stderr
        return done.stdout + done.stderr

    def planned():
        found = said("-n", "--quiet", "host")
        return [name for name in names if f"Listing the samples of {name}" in found]

    assert planned() == list(names)
    said()
    (folder / "notes.txt").write_text("of no dataset")
    assert planned() == []
    Image.new("L", (5, 3), 99).save(folder / "data" / "2.png")
    assert planned() == ["pictures"]
