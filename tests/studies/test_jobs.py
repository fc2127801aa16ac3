"""Studies become jobs: each once, none for what is an ordinary run, and nothing that only a run can know."""

import json
from pathlib import Path

import pytest
import yaml

from daam_bench.config import Protocol, parse_config
from daam_bench.config.merge import load_merged
from daam_bench.errors import ConfigError
from daam_bench.plan import make_plan
from daam_bench.specs import extraction_spec, study_spec, training_spec, tuning_spec
from daam_bench.studies.names import Pick, StudyName
from daam_bench.studies.switches import SWITCHES

ROOT = Path(__file__).parents[2]
VARIANTS = ["mha", "gqa", "daam_v1", "mixture"]


def studies_of(*studies, **changes):
    data = yaml.safe_load((ROOT / "config.yaml").read_text())
    data["experiments"] = [
        {"dataset": "vader", "encoder": "minilm-l6", "variants": VARIANTS, "seeds": [3, 5]}
    ]
    return make_plan(parse_config(data | {"studies": list(studies)} | changes)).studies


def names_of(jobs):
    return sorted({str(job.name) for job in jobs})


@pytest.mark.parametrize(
    "pick", [Pick("top", 3), Pick("bottom", 11, block=True), Pick("random", 2, draw=7)], ids=lambda p: p.name
)
def test_a_pick_comes_back_from_its_name_and_its_folder(pick):
    assert Pick.parse(pick.name) == pick
    assert Pick.parse(StudyName.parse(str(StudyName("layers", pick.name))).subject) == pick


def test_a_switch_comes_back_from_its_folder():
    name = StudyName("switch", "weight_decay", "0.1")
    assert StudyName.parse(str(name)) == name


def test_protocols_are_every_variant_under_the_others_than_the_configured_one():
    jobs = studies_of({"kind": "protocols"})
    assert names_of(jobs) == ["protocol-paper", "protocol-released"]
    assert len(jobs) == 2 * len(VARIANTS)
    released = next(job for job in jobs if str(job.name) == "protocol-released")
    assert released.protocol == Protocol.model_validate("released").for_dataset("vader")
    assert released.seeds == (3, 5)


def test_a_switch_changes_one_field_of_the_configured_protocol_and_only_what_it_touches():
    base = {"name": "corrected", "weight_decay": 0.01}
    jobs = studies_of({"kind": "switches"}, protocol=base)
    own = Protocol.model_validate(base).model_dump()
    for job in jobs:
        changed = {key for key, value in job.protocol.model_dump().items() if value != own[key]}
        assert changed == {job.name.subject}
    touched = {}
    for job in jobs:
        touched.setdefault(job.name.subject, set()).add(job.variant)
    assert touched["attention_axis"] == {"mha"}
    assert touched["grouped_queries"] == {"gqa"}
    assert touched["density_exponent"] == {"daam_v1"}
    assert touched["mixture_normalisation"] == {"mixture"}
    assert touched["select"] == set(VARIANTS)
    # Four epochs never lower the learning rate, GQDAAM and encoder LoRA are not trained.
    assert not {"schedule", "gqdaam_heads", "encoder_lora_scale"} & set(touched)


def test_the_schedule_is_a_job_once_there_are_enough_epochs():
    few, enough = (
        studies_of({"kind": "switches", "switches": ["schedule"]}, training={"epochs": epochs})
        for epochs in (12, 13)
    )
    assert few == []
    assert {job.variant for job in enough} == set(VARIANTS)


@pytest.mark.parametrize(("epochs", "tuned", "touched"), [(13, 2, VARIANTS), (4, 13, ["encoder_lora_r4"])])
def test_the_schedule_is_a_job_of_encoder_lora_by_its_own_epochs(epochs, tuned, touched):
    experiment = {"dataset": "vader", "encoder": "minilm-l6", "variants": VARIANTS}
    jobs = studies_of(
        {"kind": "switches", "switches": ["schedule"]},
        experiments=[experiment | {"encoder_variants": ["encoder_lora_r4"]}],
        training={"epochs": epochs},
        tuning={"epochs": tuned},
    )
    assert [job.variant for job in jobs] == touched


def test_heads_that_cannot_share_the_layers_are_refused_before_anything_runs():
    with pytest.raises(ConfigError, match=r"density_heads .vader x minilm-l6, daam_v1.*a divisor of 6"):
        studies_of(training={"density_heads": 5})
    studies_of(training={"density_heads": 3})


def test_an_ablation_is_planned_by_size_and_side_before_any_layer_is_known():
    jobs = studies_of({"kind": "layer_ablation", "sizes": [3, 1], "random_draws": 2})
    assert {job.variant for job in jobs} == {"daam_v1"}
    assert [job.pick.name for job in jobs] == [
        *("top-1", "bottom-1", "random-1-1", "random-1-2"),
        *("top-3", "bottom-3", "random-3-1", "random-3-2"),
    ]
    blocks = studies_of({"kind": "layer_ablation", "sizes": [3], "blocks": True})
    assert [job.pick.name for job in blocks] == ["top_block-3", "bottom_block-3", "random_block-3-1"]


@pytest.mark.parametrize(("layers", "sizes", "left"), [(4, {1, 3}, ""), (3, {1}, "3"), (1, set(), "1 or 3")])
def test_an_ablation_leaves_layers_out_or_is_no_job(tmp_path, layers, sizes, left):
    (tmp_path / "config.json").write_text(json.dumps({"num_hidden_layers": layers, "hidden_size": 8}))
    data = yaml.safe_load((ROOT / "config.yaml").read_text())
    data["encoders"]["minilm-l6"]["model"] = str(tmp_path)
    plan = make_plan(parse_config(data))
    assert {job.pick.size for job in plan.studies} == sizes
    line = f"layer ablation of vader x minilm-l6: no runs on {left} layers, as the encoder has {layers}"
    assert plan.notes == ([line] if left else [])


def test_an_ablation_on_an_encoder_of_unknown_depth_has_every_size():
    hub = {"minilm-l6": {"modality": "text", "model": "owner/name", "revision": "0" * 40}}
    jobs = studies_of({"kind": "layer_ablation", "sizes": [1, 99]}, encoders=hub)
    assert {job.pick.size for job in jobs} == {1, 99}


def test_the_same_job_of_two_studies_is_one():
    once = studies_of({"kind": "protocols", "protocols": ["paper"]})
    assert (
        studies_of({"kind": "protocols", "protocols": ["paper"]}, {"kind": "protocols"})[: len(once)] == once
    )
    assert len(studies_of({"kind": "protocols"}, {"kind": "protocols"})) == 2 * len(VARIANTS)


@pytest.mark.parametrize(
    ("study", "expected"),
    [
        ({"kind": "switches", "switches": ["optimiser"]}, "Did you mean 'optimizer'"),
        ({"kind": "protocols", "dataset": "vadr"}, "Did you mean 'vader x minilm-l6'"),
        ({"kind": "protocols", "variants": ["daam_v9"]}, "unknown variant 'daam_v9'"),
        ({"kind": "protocols", "dataset": "vader", "variants": ["daam_v2"]}, "unknown variant of the exp"),
        ({"kind": "protocols", "seeds": [4]}, "seeds that its experiment has"),
        ({"kind": "layer_ablation", "variants": ["mha"]}, "no density to choose layers by"),
        ({"kind": "layer_ablation", "sizs": [2]}, "Did you mean 'sizes'"),
        ({"kind": "layer_ablation", "sizes": [0]}, "greater than or equal to 1"),
    ],
)
def test_mistakes_are_named(study, expected):
    with pytest.raises(ConfigError, match=expected):
        studies_of(study)


def test_a_study_for_every_experiment_takes_the_variants_that_there_are():
    assert studies_of({"kind": "protocols", "variants": ["daam_v2"]}) == []


def test_the_same_runs_with_other_seeds_are_refused():
    with pytest.raises(ConfigError, match="other seeds"):
        studies_of({"kind": "protocols"}, {"kind": "protocols", "seeds": [3]})


SPEECH = {
    "datasets": {"voices": {"kind": "asterisk", "path": "resources/asterisk-prompts"}},
    "encoders": {"whisper": {"modality": "speech", "model": "resources/whisper-tiny-en"}},
    "experiments": [
        {
            "dataset": "voices",
            "encoder": "whisper",
            "variants": ["gqdaam"],
            "encoder_variants": ["encoder_lora_r4"],
        }
    ],
}


@pytest.mark.parametrize("clips", ["masked", "zero_padded"])
def test_a_study_has_the_clips_of_the_cache_that_it_trains_on(clips):
    data = SPEECH | {"protocol": {"short_clips": clips}, "studies": [{"kind": "protocols"}]}
    config = parse_config(data)
    plan = make_plan(config)
    cached = extraction_spec(config, plan, "voices", "whisper")["short_clips"]
    ordinary = [training_spec(config, plan, "voices", "whisper", v) for v in ("gqdaam", "majority")]
    ordinary.append(tuning_spec(config, plan, "voices", "whisper", "encoder_lora_r4"))
    derived = [study_spec(config, plan, job) for job in plan.studies]
    assert len(derived) == 4
    assert {spec["protocol"]["short_clips"] for spec in [*ordinary, *derived]} == {cached} == {clips}


def test_text_has_no_clips_and_trains_nothing_again_for_their_sake():
    study = {"kind": "protocols"}
    masked, padded = (studies_of(study, protocol={"short_clips": c}) for c in ("masked", "zero_padded"))
    assert masked == padded


def test_a_study_learns_at_the_rate_of_its_own_protocol():
    """D4 and D7 on CIFAR-100: what the released script alone has."""
    vision = {"modality": "vision", "model": "x/beit-large", "revision": "0" * 40}
    data = {
        "datasets": {"cifar": {"kind": "cifar100", "path": "x/cifar", "revision": "0" * 40}},
        "encoders": {"beit": vision},
        "experiments": [{"dataset": "cifar", "encoder": "beit", "variants": ["gqdaam"]}],
        "protocol": "paper",
        "studies": [{"kind": "protocols"}, {"kind": "switches", "switches": ["gqdaam_heads", "select"]}],
    }
    config = parse_config(data)
    plan = make_plan(config)
    found = {str(job.name): study_spec(config, plan, job) for job in plan.studies}
    seen = {n: (s["training"]["learning_rate"], s["protocol"]["gqdaam_heads"]) for n, s in found.items()}
    assert seen == {
        "protocol-corrected": (1e-4, 8),
        "protocol-released": (1e-5, 1),
        "switch-gqdaam_heads-1": (1e-4, 1),
        "switch-select-inner": (1e-4, 8),
        "switch-select-best_validation": (1e-4, 8),
    }
    fixed = parse_config(data | {"training": {"learning_rate": 3e-3}})
    rates = {study_spec(fixed, plan, job)["training"]["learning_rate"] for job in make_plan(fixed).studies}
    assert rates == {3e-3}


def test_the_overlay_measures_every_switch():
    jobs = make_plan(load_merged(ROOT / "config.yaml", [ROOT / "config/studies.yaml"])).studies
    assert {job.name.subject for job in jobs if job.name.kind == "switch"} == {*SWITCHES}
    assert {job.pick.size for job in jobs if job.pick} == {1, 2, 3, 4, 5}


@pytest.mark.parametrize("has_density", [True, False])
def test_studies_reach_modules_of_ones_own(tmp_path, has_density):
    (tmp_path / "own.py").write_text("")
    own = {"mine": {"module": f"{tmp_path}/own.py:Mine", "has_density": has_density}}
    tried = [{"dataset": "vader", "encoder": "minilm-l6", "variants": ["mine"], "seeds": [3]}]
    settings = {"variants": own, "experiments": tried}
    assert {j.variant for j in studies_of({"kind": "protocols", "variants": ["mine"]}, **settings)} == {
        "mine"
    }
    layers = {"kind": "layer_ablation", "variants": ["mine"]}
    if has_density:
        assert {job.pick.size for job in studies_of(layers, **settings)} == {1, 3}
    else:
        with pytest.raises(ConfigError, match="no density"):
            studies_of(layers, **settings)


def test_studies_reach_encoder_variants_by_name_and_as_part_of_all():
    experiment = {"dataset": "vader", "encoder": "minilm-l6", "variants": ["mha"], "seeds": [3]}
    tuned = [experiment | {"encoder_variants": ["encoder_lora_plus_r4"]}]
    switches = {"kind": "switches", "switches": ["encoder_lora_scale", "attention_axis"]}
    found = studies_of(
        switches, {"kind": "protocols", "variants": ["encoder_lora_plus_r4"]}, experiments=tuned
    )
    assert {(str(job.name), job.variant) for job in found} == {
        ("switch-encoder_lora_scale-alpha", "encoder_lora_plus_r4"),
        ("switch-attention_axis-batch", "mha"),
        ("protocol-paper", "encoder_lora_plus_r4"),
        ("protocol-released", "encoder_lora_plus_r4"),
    }
    ablation = {"kind": "layer_ablation", "variants": ["encoder_lora_plus_r4"]}
    with pytest.raises(ConfigError, match="no density"):
        studies_of(ablation, experiments=tuned)
