from pathlib import Path

import pytest
import yaml

from daam_bench.config import parse_config
from daam_bench.datasets.vader import VADER
from daam_bench.errors import ConfigError, DataError
from daam_bench.heads.presets import VARIANTS
from daam_bench.plan import make_plan

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
    assert {job.training.batch_size for job in found.jobs if job.dataset == "iemocap"} == {8}
    assert [str(error).split(":")[0] for error in found.missing] == [
        "datasets.iemocap",
        "encoders.beit-large",
    ]
