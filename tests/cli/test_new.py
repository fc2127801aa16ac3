import importlib.util
import json
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import soundfile
import yaml
from PIL import Image

from daam_bench.config import parse_config
from daam_bench.config.merge import load_merged
from daam_bench.errors import ConfigError
from daam_bench.plan import make_plan
from daam_bench.specs import training_spec
from daam_bench.training.spec import TrainingSpec

WORDS = ("--configfile", "tiny.yaml", "--configfile", "my_gate.yaml")
PLACE = ("vader", "minilm-l6", "my_gate")


def overlay_of(file):
    return yaml.safe_load(Path(file).read_text())


def write_media(folder, count=6):
    for label in ("cat", "dog"):
        (folder / label).mkdir(parents=True)
        for number in range(count):
            pixels = np.full((3, 5, 3), number, dtype=np.uint8)
            Image.fromarray(pixels).save(folder / label / f"{label}{number}.png")


def test_a_table_is_understood_by_looking(here, data_of):
    rows = [
        {
            "nr": i,
            "Review": f"a text of number {i}",
            "Stars": 1 + i // 2 % 3,
            "shop": "x",
            "speaker": "ab"[i % 2],
        }
        for i in range(30)
    ]
    pd.DataFrame(rows).to_csv("reviews.csv", index=False)
    code, draft = data_of("new", "dataset", "reviews", "reviews.csv")
    assert code == 0
    block = overlay_of("config/reviews.yaml")["datasets"]["reviews"]
    assert block["columns"] == {"content": "Review", "label": "Stars", "group": "speaker"}
    assert block["folds"] == {"rule": "leave_one_group_out"}
    assert draft["samples"] == 30
    assert draft["classes"] == {"1": 10, "2": 10, "3": 10}
    assert draft["groups"] == {"a": 15, "b": 15}
    assert parse_config(overlay_of("config/reviews.yaml")).experiments[0].encoder == "minilm-l6"


def test_a_table_with_splits_and_paths_of_images(here, data_of):
    write_media(here / "media")
    rows = [
        {"file": f"{label}/{label}{i}.png", "kind": label, "split": "train" if i < 4 else "test"}
        for label in ("cat", "dog")
        for i in range(6)
    ]
    pd.DataFrame(rows).to_csv("media/list.csv", index=False)
    _, draft = data_of("new", "dataset", "pets", "media/list.csv")
    block = draft["overlay"]["datasets"]["pets"]
    assert block["modality"] == "vision"
    assert block["columns"] == {"content": "file", "label": "kind", "split": "split"}
    assert block["folds"] == {"rule": "split_column"}
    assert draft["splits"] == {"train": 8, "validation": 4}


def test_class_folders_of_images_and_of_recordings(here, data_of):
    write_media(here / "pets")
    (here / "pets/notes.txt").write_text("no picture")
    _, draft = data_of("new", "dataset", "pets", "pets")
    assert draft["classes"] == {"cat": 6, "dog": 6}
    assert draft["overlay"]["datasets"]["pets"]["kind"] == "class_folders"
    assert list(draft["overlay"]["encoders"]) == ["dinov2-small-shaped"]
    for label in ("yes", "no"):
        (here / "words" / label).mkdir(parents=True)
        for speaker in range(3):
            sound = 0.1 * np.sin(np.arange(800) * (speaker + 1))
            soundfile.write(here / "words" / label / f"s{speaker}_a.wav", sound, 8000)
    _, draft = data_of("new", "dataset", "words", "words", "--group-pattern", r"^(s\d)_")
    assert draft["overlay"]["datasets"]["words"]["modality"] == "speech"
    assert draft["overlay"]["datasets"]["words"]["folds"] == {"rule": "leave_one_group_out"}
    assert draft["groups"] == {"s0": 2, "s1": 2, "s2": 2}


def test_a_saved_hugging_face_dataset(here, data_of):
    from datasets import ClassLabel, Dataset, DatasetDict, Features, Value

    features = Features({"sentence": Value("string"), "mood": ClassLabel(names=["sad", "glad"])})
    parts = {
        split: Dataset.from_dict(
            {"sentence": [f"{split} {i}" for i in range(count)], "mood": [i % 2 for i in range(count)]},
            features=features,
        )
        for split, count in (("train", 10), ("test", 6))
    }
    DatasetDict(parts).save_to_disk("moods")
    _, draft = data_of("new", "dataset", "moods", "moods")
    block = draft["overlay"]["datasets"]["moods"]
    assert (block["kind"], block["modality"]) == ("huggingface", "text")
    assert block["columns"] == {"content": "sentence", "label": "mood"}
    assert draft["classes"] == {"sad": 8, "glad": 8}
    assert draft["splits"] == {"train": 10, "validation": 6}


def test_leakage_and_uneven_classes_are_noted(here, data_of):
    rows = [
        {"text": f"t{i}", "label": "rare" if i < 3 else "common", "speaker": "ab"[i % 2]} for i in range(30)
    ]
    rows += [
        {"text": "t7", "label": "common", "speaker": "a"},
        {"text": "t7", "label": "common", "speaker": "b"},
    ]
    pd.DataFrame(rows).to_csv("t.csv", index=False)
    _, draft = data_of("new", "dataset", "t", "t.csv", "--group", "speaker")
    assert any("balanced_accuracy" in note for note in draft["notes"])
    assert any("accept_leakage" in note for note in draft["notes"])


@pytest.mark.parametrize(
    ("text", "words", "code", "said"),
    [
        ("text,label\na,x\nb,y\nc,x\nd,y\n", ("--label", "lable"), 2, "Did you mean 'label'"),
        ("number\n1\n2\n3\n", (), 3, "--label with one of number"),
        ("text,label\na,x\nb,x\nc,x\n", ("--label", "label"), 3, "at least two classes"),
        ("", (), 3, "cannot be read as a table"),
    ],
)
def test_what_cannot_be_told_is_asked_for(here, call, text, words, code, said):
    Path("t.csv").write_text(text)
    found, _, err = call("new", "dataset", "t", "t.csv", *words)
    assert found == code
    assert said in err and len(err.splitlines()) == 1
    assert not Path("config/t.yaml").exists()


def test_nothing_is_overwritten_without_force(here, call):
    Path("t.csv").write_text("text,label\n" + "".join(f"t{i},{i % 2}\n" for i in range(10)))
    assert call("new", "dataset", "t", "t.csv")[0] == 0
    code, _, err = call("new", "dataset", "t", "t.csv")
    assert code == 2 and "--force" in err
    assert call("new", "dataset", "t", "t.csv", "--force")[0] == 0
    assert call("new", "variant", "my_gate")[0] == 0
    assert call("new", "variant", "my_gate")[0] == 2
    assert call("new", "variant", "mha")[0] == 2
    assert call("new", "variant", "My Gate")[0] == 2


def test_the_scaffold_passes_its_own_test(here, call, monkeypatch):
    call("new", "variant", "my_gate")
    monkeypatch.syspath_prepend(str(here))
    spec = importlib.util.spec_from_file_location("test_my_gate", here / "test_my_gate.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    tests = [value for name, value in vars(module).items() if name.startswith("test_")]
    assert len(tests) == 3
    for test in tests:
        test()
    sys.modules.pop("my_gate")


def test_an_own_module_goes_through_plan_training_and_importance(work, call, data_of):
    call("new", "variant", "my_gate")
    Path("list.yaml").write_text(
        "experiments: [{dataset: vader, encoder: minilm-l6, variants: [my_gate, mha], seeds: [0]}]"
    )
    _, (row,) = data_of("plan", *WORDS, "--configfile", "list.yaml")
    assert row["variants"] == 2
    code, (first,) = data_of("run", *PLACE, "--fold", 0, "--seed", 0, *WORDS)
    assert code == 0
    assert first["parameters_attention"] == 6 * 384
    with np.load("results/cells/runs/vader/minilm-l6/my_gate/fold0_seed0.density.npz") as arrays:
        assert arrays["density"].shape == (6, 384)
    _, (again,) = data_of("run", *PLACE, "--fold", 0, "--seed", 0, *WORDS)
    assert again["wall_seconds"] == first["wall_seconds"]  # the finished record was taken
    module = Path("my_gate.py")
    module.write_text(module.read_text().replace("torch.zeros(layers", "torch.ones(layers"))
    _, (edited,) = data_of("run", *PLACE, "--fold", 0, "--seed", 0, *WORDS)
    assert edited["key"] != first["key"]
    code, _, err = call(
        "run",
        "--record",
        "results/cells/runs/vader/minilm-l6/my_gate/fold0_seed0.json",
        "--cache",
        "results/embeddings/vader/minilm-l6",
        "--output",
        "again",
    )
    assert code == 0, err
    module.write_text(module.read_text() + "\n")
    code, _, err = call(
        "run",
        "--record",
        "results/cells/runs/vader/minilm-l6/my_gate/fold0_seed0.json",
        "--cache",
        "results/embeddings/vader/minilm-l6",
        "--output",
        "third",
    )
    assert code == 2 and "the file changed since" in err


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("return x * self", "return y * self", "my_gate.py:31: NameError"),
        ("return x * self.density(x)", "return x[:1]", "forward(x) has another shape"),
        ("def density", "def densities", "no method density"),
        ("class MyGate", "class MyGat", "Did you mean 'MyGat'"),
        ("class MyGate(nn.Module):", "class MyGate(nn.Module:", "my_gate.py:"),
        ("super().__init__()", "pass", "before Module.__init__() call"),
        ("import torch\n", "import no_such_package\n", "ModuleNotFoundError"),
    ],
)
def test_a_mistake_in_an_own_module_names_its_place(work, call, old, new, said):
    call("new", "variant", "my_gate")
    module = Path("my_gate.py")
    assert old in module.read_text()
    module.write_text(
        module.read_text().replace(old, new).replace("self.density(x)", "self.densities(x)")
        if new == "def densities"
        else module.read_text().replace(old, new)
    )
    code, _, err = call("run", *PLACE, "--fold", 0, "--seed", 0, *WORDS)
    assert code == 2
    assert said in err
    assert "Traceback" not in err


@pytest.mark.parametrize(
    ("name", "module", "said"),
    [("mha", "m.py:M", "taken"), ("majority", "m.py:M", "taken"), ("mine", "no.py:M", "new variant mine")],
)
def test_a_declaration_is_checked_when_planning(work, name, module, said):
    Path("m.py").write_text("")
    Path("own.yaml").write_text(yaml.safe_dump({"variants": {name: {"module": module}}}))
    with pytest.raises(ConfigError, match=said):
        make_plan(load_merged(Path("config.yaml"), [Path("own.yaml")]))


def test_planning_does_not_execute_an_own_module(work):
    Path("m.py").write_text("raise SystemExit(9)")
    Path("own.yaml").write_text("variants: {mine: {module: 'm.py:M', has_density: true}}")
    config = load_merged(Path("config.yaml"), [Path("own.yaml")])
    plan = make_plan(config)
    assert plan.variants["mine"].has_density
    assert plan.variants_of("vader", "minilm-l6")[-1] == "mine"
    spec = training_spec(config, plan, "vader", "minilm-l6", "mine")
    assert json.loads(TrainingSpec.model_validate(spec).model_dump_json())["own"]["module"] == "m.py:M"
