"""The table of what a switch touches agrees with what the modules do."""

import pytest
import torch

from daam_bench.adapters.presets import ENCODER_VARIANTS
from daam_bench.config import Protocol, TrainingConfig, parse_config
from daam_bench.heads import build_attention
from daam_bench.heads.presets import VARIANTS
from daam_bench.plan import make_plan
from daam_bench.specs import training_spec, tuning_spec
from daam_bench.studies.switches import SWITCHES

LAYERS, FEATURES = 6, 16
OF_MODULES = (
    "density_exponent",
    "scaled_variance",
    "mixture_normalisation",
    "attention_axis",
    "grouped_queries",
    "gqdaam_heads",
)


def outputs(variant: str, protocol: Protocol) -> dict[str, torch.Tensor]:
    """Return what a module gives with parameters at which every switch of its own matters."""
    torch.manual_seed(0)
    module = build_attention(variant, LAYERS, FEATURES, protocol).eval()
    x = torch.randn(5, LAYERS, FEATURES, generator=torch.Generator().manual_seed(1))
    values = {"scaled_variance": -200.0, "mean_offset": 9.0, "spread": 0.5}
    found = {"start": module(x).detach()}
    with torch.no_grad():
        for name, parameter in module.named_parameters():
            if name.rsplit(".", 1)[-1] in values:
                parameter.fill_(values[name.rsplit(".", 1)[-1]])
    return found | {"moved": module(x).detach()}


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("field", OF_MODULES)
def test_a_switch_touches_the_variants_that_the_table_says(field: str, variant: str) -> None:
    base = Protocol.model_validate("corrected")
    (other,) = SWITCHES[field].others(base)
    changed = Protocol.model_validate(base.model_dump() | {field: other})
    before, after = outputs(variant, base), outputs(variant, changed)
    differs = any(not torch.equal(before[key], after[key]) for key in before)
    assert differs == SWITCHES[field].touches(variant, TrainingConfig())


def test_every_switch_of_training_time_is_in_the_table() -> None:
    # The other one concerns the extraction (D10).
    assert set(Protocol.model_fields) - set(SWITCHES) == {"name", "short_clips"}
    assert {switch.label for switch in SWITCHES.values()} >= {f"D{n}" for n in (*range(1, 10), 11)}


def test_others_are_all_values_but_the_own_one() -> None:
    protocol = Protocol.model_validate({"name": "corrected", "weight_decay": 0.03})
    assert SWITCHES["select"].others(protocol) == ["last", "best_validation"]
    assert SWITCHES["weight_decay"].others(protocol) == [0.1, 0.01]


def test_encoder_lora_is_touched_by_its_own_switches_alone() -> None:
    training = TrainingConfig(epochs=4)
    touched = {f for f, switch in SWITCHES.items() if switch.touches("encoder_lora_plus_r4", training)}
    own = {field for field in Protocol.model_fields if field.startswith("encoder_lora")}
    assert touched == own | {"optimizer", "weight_decay", "select"}


def specs(tuning: dict[str, int] | None = None, **protocol: object) -> dict[str, dict[str, object]]:
    """Return what every variant's job computes under a protocol."""
    cell = {"dataset": "vader", "encoder": "minilm-l6"}
    data = {
        "datasets": {"vader": {"kind": "vader", "path": "resources/vader"}},
        "encoders": {"minilm-l6": {"modality": "text", "model": "resources/minilm-l6"}},
        "experiments": [cell | {"encoder_variants": list(ENCODER_VARIANTS)}],
        "protocol": protocol,
        "training": {"epochs": 12, "learning_rate": 1e-3},
        "tuning": tuning or {},
    }
    config = parse_config(data)
    plan = make_plan(config)
    made = {v: training_spec(config, plan, *cell.values(), v) for v in VARIANTS}
    return made | {v: tuning_spec(config, plan, *cell.values(), v) for v in ENCODER_VARIANTS}


@pytest.mark.parametrize("name", ["corrected", "released"])
@pytest.mark.parametrize("field", SWITCHES)
def test_a_switch_changes_the_jobs_that_it_touches_and_no_other(name: str, field: str) -> None:
    base, switch = specs(name=name), SWITCHES[field]
    of_vader = Protocol.model_validate(name).for_dataset("vader")
    for other in switch.others(of_vader):
        changed = specs(name=name, **{field: other})
        differ = {variant for variant in base if changed[variant] != base[variant]}
        training = TrainingConfig(epochs=12)
        touched = {variant for variant in base if switch.touches(variant, training)}
        assert differ == touched
        assert all(changed[variant]["protocol"][field] == other for variant in differ)
        assert all(spec["protocol"]["name"] == name for spec in changed.values())


def test_the_schedule_touches_encoder_lora_by_the_epochs_of_its_own() -> None:
    for epochs, differ in ((12, set()), (13, set(ENCODER_VARIANTS))):
        base = specs({"epochs": epochs}, name="corrected")
        changed = specs({"epochs": epochs}, name="corrected", schedule="plateau")
        assert {variant for variant in base if changed[variant] != base[variant]} == differ
