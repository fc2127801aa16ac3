from pathlib import Path

import pytest
import yaml

from daam_bench.adapters.presets import ENCODER_VARIANTS
from daam_bench.config import parse_config
from daam_bench.datasets.vader import VADER
from daam_bench.errors import ConfigError, DataError
from daam_bench.heads.presets import VARIANTS
from daam_bench.plan import make_plan
from daam_bench.specs import training_spec, tuning_spec

ROOT = Path(__file__).parents[1]


def embedded():
    return yaml.safe_load((ROOT / "config.yaml").read_text())


def plan_of(data):
    plan = make_plan(parse_config(data))
    plan.require_files()
    return plan


def test_embedded_default_trains_every_variant_once():
    plan = plan_of(embedded())
    assert plan.variants_of("vader", "minilm-l6") == list(VARIANTS)
    assert plan.caches == [("vader", "minilm-l6")]
    assert plan.assets == ["minilm-l6", "vader"]


def test_chosen_variants_come_in_the_order_of_the_presets():
    data = embedded()
    data["experiments"][0]["variants"] = ["mixture", "mha"]
    assert plan_of(data).variants_of("vader", "minilm-l6") == ["mha", "mixture"]


def test_encoder_variants_are_asked_for_by_name_and_have_settings_of_their_own():
    assert plan_of(embedded()).tunings == []
    data = embedded() | {"tuning": {"alpha": 11.0, "epochs": 7}}
    wanted = {"encoder_variants": ["encoder_lora_plus_r8", "encoder_lora_r4"], "tuning": {"epochs": 5}}
    data["experiments"][0] |= wanted
    plan = plan_of(data)
    assert plan.encoder_variants_of("vader", "minilm-l6") == ["encoder_lora_r4", "encoder_lora_plus_r8"]
    assert plan.variants_of("vader", "minilm-l6") == list(VARIANTS)
    spec = tuning_spec(parse_config(data), plan, "vader", "minilm-l6", "encoder_lora_r4")
    assert (spec["tuning"]["alpha"], spec["tuning"]["epochs"], spec["seeds"]) == (11.0, 5, [0, 1, 2])
    assert spec["training"]["epochs"] == 4
    data["experiments"][0]["encoder_variants"] = "all"
    assert plan_of(data).encoder_variants_of("vader", "minilm-l6") == list(ENCODER_VARIANTS)


def test_an_experiment_may_have_encoder_variants_alone():
    data = embedded() | {"studies": []}
    data["experiments"][0] |= {"variants": [], "encoder_variants": ["encoder_lora_r4"]}
    config = parse_config(data)
    assert training_spec(config, make_plan(config), "vader", "minilm-l6", "majority")["seeds"] == [0]


@pytest.mark.parametrize(
    ("name", "where"), [("encoder_lora_r5", "encoder_variants"), ("lora_r4", "encoder_variants")]
)
def test_unknown_encoder_variant_names_the_nearest(name, where):
    data = embedded()
    data["experiments"][0]["encoder_variants"] = [name]
    with pytest.raises(ConfigError, match=rf"{where}: unknown encoder variant '{name}'.*'encoder_lora_r4'"):
        plan_of(data)


def test_an_encoder_variant_is_no_cached_variant():
    data = embedded()
    data["experiments"][0]["variants"] = ["encoder_lora_r4"]
    with pytest.raises(ConfigError, match="unknown variant 'encoder_lora_r4'"):
        plan_of(data)
    data = embedded() | {"variants": {"encoder_lora_r4": {"module": "mine.py:Mine"}}}
    with pytest.raises(ConfigError, match="taken by an encoder variant"):
        plan_of(data)


def test_a_wrong_tuning_setting_is_refused():
    data = embedded()
    data["experiments"][0] |= {"encoder_variants": "all", "tuning": {"epochz": 5}}
    with pytest.raises(ConfigError, match=r"tuning: (.|\n)*'epochs'"):
        plan_of(data)


@pytest.mark.parametrize(
    ("key", "wrong", "right"),
    [("dataset", "vadr", "vader"), ("encoder", "minilm", "minilm-l6")],
)
def test_unknown_reference_names_the_nearest(key, wrong, right):
    data = embedded()
    data["experiments"][0][key] = wrong
    with pytest.raises(ConfigError, match=f"{wrong}.*Did you mean '{right}'"):
        plan_of(data)


def test_unknown_variant_names_the_nearest():
    data = embedded()
    data["experiments"][0]["variants"] = ["dam_v1"]
    with pytest.raises(ConfigError, match=r"variants: unknown variant 'dam_v1'.*'daam_v1'"):
        plan_of(data)


def test_unknown_kind_names_its_place():
    data = embedded()
    data["datasets"]["vader"]["kind"] = "vaderr"
    with pytest.raises(ConfigError, match=r"datasets\.vader\.kind: .*'vader'"):
        plan_of(data)


def test_missing_path_stops_the_plan(tmp_path):
    data = embedded()
    data["datasets"]["vader"]["path"] = str(tmp_path / "absent")
    with pytest.raises(DataError, match=r"datasets\.vader: path does not exist.*absent"):
        plan_of(data)


def test_missing_file_of_a_dataset_stops_the_plan_with_the_nearest_name(tmp_path):
    for name in VADER.files:
        (tmp_path / name.replace("tweets_G", "tweets-G")).write_text("")
    data = embedded()
    data["datasets"]["vader"]["path"] = str(tmp_path)
    with pytest.raises(DataError, match=r"tweets_GroundTruth\.txt.*tweets-GroundTruth\.txt"):
        plan_of(data)


def test_mistyped_path_names_the_nearest(tmp_path):
    (tmp_path / "snippets").mkdir()
    data = embedded()
    data["datasets"]["vader"]["path"] = str(tmp_path / "snipets")
    with pytest.raises(DataError, match=r"Did you mean '.*snippets'"):
        plan_of(data)


def test_mistyped_asset_names_the_nearest():
    data = embedded()
    data["datasets"]["vader"]["path"] = "resources/vadre"
    with pytest.raises(ConfigError, match="'vader'"):
        plan_of(data)


def test_modalities_must_match():
    data = embedded()
    data["encoders"]["minilm-l6"]["modality"] = "vision"
    with pytest.raises(ConfigError, match="modality does not match"):
        plan_of(data)


def test_the_papers_experiment_is_planned_without_its_data():
    root = Path(__file__).parent.parent
    base, paper = (yaml.safe_load((root / name).read_text()) for name in ("config.yaml", "config/paper.yaml"))
    merged = base | {
        key: {**base.get(key, {}), **v} if isinstance(v, dict) else v for key, v in paper.items()
    }
    found = make_plan(parse_config(merged))
    assert found.caches == [
        ("iemocap", "wavlm-large"),
        ("ag_news", "llama-2-13b"),
        ("cifar100", "beit-large"),
    ]
    assert len(found.jobs) == 3 * len(VARIANTS)
    assert len(found.tunings) == 3 * len(ENCODER_VARIANTS)
    assert {job.training.batch_size for job in found.jobs if job.dataset == "iemocap"} == {8}
    assert [str(error).split(":")[0] for error in found.missing] == [
        "datasets.iemocap",
        "encoders.beit-large",
    ]


TOUCHED = {
    "epochs": {"softmax_sum", "mha", "daam_v1", "daam_v2", "lora_plus_r4", "mine", "encoder_lora_plus_r4"},
    "decoder_channels": {"mha", "daam_v1", "daam_v2", "lora_plus_r4", "mine"},
    "density_heads": {"daam_v1"},
    "lora_plus_ratio": {"lora_plus_r4", "encoder_lora_plus_r4"},
    "focal_gamma": set(),
    "focal_alpha": set(),
}


@pytest.mark.parametrize("setting", TOUCHED)
def test_a_setting_changes_the_jobs_of_the_variants_that_have_a_use_for_it(tmp_path, setting):
    module = tmp_path / "mine.py"
    module.write_text("")
    own = {"variants": {"mine": {"module": f"{module}:Mine"}}}
    value = {"epochs": 7, "density_heads": 3, "lora_plus_ratio": 2.0}.get(setting, 0.5)
    found = []
    for training in ({}, {setting: 9 if setting == "decoder_channels" else value}):
        config = parse_config(embedded() | own | {"training": embedded()["training"] | training})
        plan = make_plan(config)
        found.append(
            {
                name: (tuning_spec if name.startswith("encoder") else training_spec)(
                    config, plan, "vader", "minilm-l6", name
                )
                for name in (*TOUCHED["epochs"], "majority")
            }
        )
    assert {name for name, spec in found[0].items() if spec != found[1][name]} == TOUCHED[setting]
