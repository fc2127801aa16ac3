"""Each switch alone: what it changes, in numbers that follow from its definition."""

import math

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from daam_bench.config import PROTOCOLS, Protocol, TrainingConfig, parse_config
from daam_bench.errors import ConfigError
from daam_bench.heads import ConvolutionalDecoder, build_attention, build_model, parameter_counts
from daam_bench.records import EpochRecord
from daam_bench.training.losses import focal_loss
from daam_bench.training.optimization import build_optimizer, build_schedule, selection_score, watched_score
from daam_bench.training.prediction import predict
from daam_bench.training.replica import Evaluation, Replica, Split
from daam_bench.training.source import Buffer
from daam_bench.training.together import train_replica

LAYERS, FEATURES, CLASSES = 6, 11, 3


def protocol(**switches: object) -> Protocol:
    return Protocol.model_validate(switches)


def attention(variant: str, switches: Protocol, layers: int = LAYERS, features: int = FEATURES) -> nn.Module:
    torch.manual_seed(0)
    return build_attention(variant, layers, features, switches)


def resident(x: Tensor) -> Buffer:
    return Buffer(0, np.arange(len(x)), x, x.device)


def set_to(module: nn.Module, **values: float) -> nn.Module:
    with torch.no_grad():
        for name, parameter in module.named_parameters():
            if name.rsplit(".", 1)[-1] in values:
                parameter.fill_(values[name.rsplit(".", 1)[-1]])
    return module


def sample(*shape: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(1))


def test_d1_squaring_c_halves_the_logarithm_of_the_first_density() -> None:
    # c starts at 2: z^2 / (2 c) = z^2 / 4 against z^2 / (2 c^2) = z^2 / 8.
    narrow, wide = (
        attention("daam_v1", protocol(density_exponent=e)).density(sample(5, LAYERS, FEATURES))  # type: ignore[operator]
        for e in ("2c", "2c2")
    )
    torch.testing.assert_close(wide.log(), narrow.log() / 2)
    assert (narrow < 0.99).any()


def test_scaled_variance_decides_what_a_negative_c_does() -> None:
    x = torch.tensor([[[1.0], [3.0]]])  # z = -1 and 1, apart from the epsilons
    free, positive = (
        set_to(attention("daam_v2", protocol(scaled_variance=s), 2, 1), scaled_variance=-2.0).density(x)  # type: ignore[operator]
        for s in ("free", "positive")
    )
    torch.testing.assert_close(free, torch.full_like(x, math.exp(1 / 4)), rtol=1e-4, atol=0)
    assert positive.eq(0).all()


def test_scaled_variance_does_not_touch_a_positive_c() -> None:
    x = sample(5, LAYERS, FEATURES)
    free, positive = (
        set_to(attention("daam_v1", protocol(scaled_variance=s)), scaled_variance=1e-5)(x)
        for s in ("free", "positive")
    )
    assert torch.equal(free, positive)


def test_mixture_normalisation_decides_what_becomes_of_a_far_mixture() -> None:
    # Three layers at z = -1, 0, 1, four Gaussians 5 away with spread 1: the exponents are -4 (z - 5)^2 / 2.
    x = torch.tensor([[[1.0], [2.0], [3.0]]])
    exact, clamped = (
        set_to(attention("mixture", protocol(mixture_normalisation=n), 3, 1), spread=1.0, mean_offset=5.0)
        for n in ("exact", "clamped")
    )
    powers = torch.tensor([math.exp(-2 * (z - 5) ** 2) for z in (-1, 0, 1)]).reshape(1, 3, 1)
    torch.testing.assert_close(exact.density(x), powers / powers.sum())  # type: ignore[operator]
    constant = (2 * math.pi) ** -2
    torch.testing.assert_close(clamped.density(x), constant * powers / 1e-8, rtol=1e-4, atol=0)  # type: ignore[operator]


def test_mixture_normalisation_does_not_touch_a_near_mixture() -> None:
    x = sample(5, LAYERS, FEATURES)
    exact, clamped = (
        set_to(attention("mixture", protocol(mixture_normalisation=n)), spread=1.0)(x)
        for n in ("exact", "clamped")
    )
    torch.testing.assert_close(exact, clamped)


@pytest.mark.parametrize("variant", ["mha", "lora_r4"])
def test_d2_over_a_batch_of_equal_samples_layers_stay_apart(variant: str) -> None:
    # Samples that are alike give attention nothing to choose from: each layer is projected by itself.
    over_batch = attention(variant, protocol(attention_axis="batch"))
    over_layers = attention(variant, protocol(attention_axis="layers"))
    alike = sample(1, LAYERS, FEATURES).expand(5, -1, -1)
    each_layer_alone = over_layers(alike[0].unsqueeze(1)).reshape(LAYERS, FEATURES)
    torch.testing.assert_close(over_batch(alike), each_layer_alone.expand(5, -1, -1))
    assert (over_layers(alike) - over_batch(alike)).abs().max() > 1e-2


def test_d2_holds_in_validation_with_the_batches_of_training() -> None:
    model = build_model(
        "mha", LAYERS, FEATURES, CLASSES, protocol(attention_axis="batch"), decoder_channels=5
    )
    x, labels = sample(7, LAYERS, FEATURES), torch.arange(7) % CLASSES
    training = TrainingConfig(batch_size=3, precision="float32")
    replica = Replica(
        model, labels, Split(np.arange(2), None, np.arange(7)), training, protocol(select="last"), (0, 0)
    )
    replica.pending = (1, 1e-4, 0.0)
    found = Evaluation(replica, later=False)
    found.see(resident(x))
    replica.end_epoch(found)
    with torch.no_grad():
        expected = torch.cat([model(part) for part in x.split(3)])
        at_once = cross_entropy(model(x), labels)
    loss = replica.epochs[0].validation_loss
    assert loss == pytest.approx(float(cross_entropy(expected, labels)), rel=1e-4)
    assert abs(float(at_once) - loss) > 1e-5
    assert torch.equal(replica.best_predictions, expected.argmax(dim=1))


def test_d2_over_layers_validation_does_not_depend_on_the_batch_size() -> None:
    model = build_model(
        "mha", LAYERS, FEATURES, CLASSES, protocol(attention_axis="layers"), decoder_channels=5
    )
    x, rows = sample(7, LAYERS, FEATURES), np.arange(7)
    found = [
        predict(model, resident(x), rows, TrainingConfig(batch_size=b, precision="float32")) for b in (1, 3)
    ]
    torch.testing.assert_close(found[0], found[1])


def test_d3_summing_the_query_heads_narrows_the_output_projection() -> None:
    summed, separate = (attention("gqa", protocol(grouped_queries=g)) for g in ("summed", "separate"))
    shapes = [tuple(module.get_parameter("attention.output.weight").shape) for module in (summed, separate)]
    assert shapes == [(512, 128), (512, 512)]


def test_d3_equal_query_heads_attend_alike_when_a_group_s_scale_makes_up_for_it() -> None:
    # 4 equal query heads of size 64 sum to 4 q; scaled twice: 4 q k / 64. Separate: q' k / 8, so q' = q / 2.
    torch.manual_seed(0)
    summed, separate = (
        attention("gqa", protocol(grouped_queries=g)).attention for g in ("summed", "separate")
    )
    query = torch.randn(2, 1, 64, 512).expand(2, 4, 64, 512).reshape(512, 512)
    with torch.no_grad():
        for part in ("key", "value"):
            separate.get_submodule(part).load_state_dict(summed.get_submodule(part).state_dict())
        summed.query.weight.copy_(query)
        separate.query.weight.copy_(query / 2)
    joined: list[Tensor] = []
    for module in (summed, separate):
        module.norm.register_forward_pre_hook(lambda _, inputs: joined.append(inputs[0]))
        module(sample(3, LAYERS, 512) / 20)
    repeated = joined[0].unflatten(-1, (2, 1, 64)).expand(-1, -1, 2, 4, 64).flatten(2)
    torch.testing.assert_close(joined[1], repeated, rtol=1e-4, atol=1e-5)


def test_d4_adam_adds_the_decay_to_the_gradient_and_adamw_takes_it_off_the_weight() -> None:
    # One step on a weight of 3 whose own gradient is tiny: Adam normalises gradient + decay to a step of lr;
    # AdamW steps by lr along the gradient's sign and shrinks the weight by lr * decay.
    steps = {}
    for kind in ("adam", "adamw"):
        model = nn.Linear(1, 1, bias=False)
        nn.init.constant_(model.weight, 3.0)
        switches = protocol(optimizer=kind, weight_decay=0.1)
        optimizer = build_optimizer(model, TrainingConfig(learning_rate=0.01), switches)
        model.weight.grad = torch.tensor([[-1e-3]])
        optimizer.step()
        steps[kind] = float(model.weight.detach()) - 3.0
    assert steps["adam"] == pytest.approx(-0.01, rel=1e-3)
    assert steps["adamw"] == pytest.approx(0.01 - 0.01 * 0.1 * 3.0, rel=1e-3)


def test_d5_the_eleventh_epoch_without_a_better_accuracy_divides_the_rate_by_ten() -> None:
    model = nn.Linear(1, 1)
    optimizer = build_optimizer(model, TrainingConfig(learning_rate=1e-3), protocol(schedule="plateau"))
    schedule = build_schedule(optimizer, protocol(schedule="plateau"))
    assert schedule is not None
    # Best in epoch 2; 0.50004 is no improvement by a ten-thousandth of 0.5; epoch 13 is the 11th in vain.
    accuracies = [0.4, 0.5, 0.50004, *[0.3] * 10, *[0.5] * 11, 0.6]
    rates = []
    for accuracy in accuracies:
        optimizer.step()
        schedule.step(accuracy)
        rates.append(optimizer.param_groups[0]["lr"])
    assert rates == pytest.approx([1e-3] * 12 + [1e-4] * 11 + [1e-5] * 2)
    assert build_schedule(optimizer, protocol(schedule="constant")) is None


def test_d5_and_d6_look_at_the_same_samples() -> None:
    record = EpochRecord(epoch=3, learning_rate=1, train_loss=1, validation_score=0.9, inner_score=0.2)
    watched = {s: watched_score(record, protocol(select=s)) for s in ("inner", "last", "best_validation")}
    assert watched == {"inner": 0.2, "last": 0.9, "best_validation": 0.9}
    ranked = {s: selection_score(record, protocol(select=s)) for s in watched}
    assert ranked == {"inner": 0.2, "last": 3.0, "best_validation": 0.9}


def test_d6_the_published_choice_reports_the_highest_validation_score() -> None:
    x = sample(60, LAYERS, FEATURES)
    labels = x[:, 2, :CLASSES].argmax(dim=1)
    split = Split(np.arange(40), None, np.arange(40, 60))
    training = TrainingConfig(epochs=6, batch_size=8, learning_rate=3e-3, precision="float32")
    outcomes = {}
    for select in ("last", "best_validation"):
        switches = protocol(select=select, weight_decay=0.0)
        torch.manual_seed(0)
        model = build_model("daam_v2", LAYERS, FEATURES, CLASSES, switches, decoder_channels=5)
        outcomes[select] = train_replica(model, x, labels, split, training, switches, (0, 0))
    curve = [epoch.validation_score for epoch in outcomes["last"].epochs]
    assert curve == [epoch.validation_score for epoch in outcomes["best_validation"].epochs]
    for select, epoch in (("last", 6), ("best_validation", 1 + curve.index(max(curve)))):
        assert outcomes[select].selected_epoch == epoch
        accuracy = (outcomes[select].predictions == labels[40:]).double().mean()
        assert accuracy == pytest.approx(curve[epoch - 1])


def test_d7_one_head_inside_gqdaam_saves_seven_pairs_of_parameters_a_feature() -> None:
    eight, one = (parameter_counts("gqdaam", 24, 1024, 4, protocol(gqdaam_heads=h)).attention for h in (8, 1))
    assert eight - one == 7 * 2 * 1024


def test_d7_one_head_takes_its_statistics_over_all_layers() -> None:
    x = sample(5, LAYERS, FEATURES)
    alone = attention("daam_v2", protocol()).density(x)  # type: ignore[operator]
    one, eight = (attention("gqdaam", protocol(gqdaam_heads=h)).density(x) for h in (1, 8))  # type: ignore[operator]
    assert torch.equal(one, alone)
    torch.testing.assert_close(eight, attention("daam_v1", protocol()).density(x))  # type: ignore[operator]
    assert (one - eight).abs().max() > 0.01


@pytest.mark.parametrize(
    ("switch", "values"),
    {
        "gqdaam_heads": (8, 8, "by_dataset"),
        "encoder_lora_targets": ("query_key", "query_key", "query_value"),
        "encoder_lora_scale": ("alpha_over_r", "alpha_over_r", "alpha"),
        "encoder_lora_classifier": ("trained", "trained", "as_released"),
        "short_clips": ("masked", "masked", "zero_padded"),
        "encoder_lora_budget": ("as_others", "as_others", "released"),
        "scaled_variance": ("positive", "free", "free"),
        "mixture_normalisation": ("exact", "clamped", "clamped"),
    }.items(),
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_switches_of_the_protocols(switch: str, values: tuple[object, ...]) -> None:
    found = tuple(getattr(protocol(name=name), switch) for name in ("corrected", "paper", "released"))
    assert found == values


def test_every_switch_is_described_and_set_by_every_protocol() -> None:
    fields = {name: field for name, field in Protocol.model_fields.items() if name != "name"}
    assert all(set(switches) == set(fields) for switches in PROTOCOLS.values())
    descriptions = " ".join(str(field.description) for field in fields.values())
    assert all(f"D{number}:" in descriptions or f"D{number}," in descriptions for number in range(1, 12))
    assert all(field.description for field in fields.values())


def test_a_switch_refuses_other_values() -> None:
    data = {"datasets": {}, "encoders": {}, "experiments": [{"dataset": "a", "encoder": "b"}]}
    with pytest.raises(ConfigError, match=r"protocol\.gqdaam_heads"):
        parse_config(data | {"protocol": {"gqdaam_heads": 2}})


def test_no_switch_of_d1_to_d7_touches_the_decoder() -> None:
    shapes = []
    for name in PROTOCOLS:
        model = build_model("daam_v1", LAYERS, FEATURES, CLASSES, protocol(name=name), decoder_channels=5)
        assert isinstance(model.decoder, ConvolutionalDecoder)
        shapes.append({key: value.shape for key, value in model.decoder.state_dict().items()})
    assert shapes[0] == shapes[1] == shapes[2]


def test_released_weight_of_a_hard_sample_in_the_focal_loss() -> None:
    # Against cross-entropy, a sample at p = 1/4 weighs 0.25 * (3/4 + 1e-6)^2.5.
    logits = torch.log(torch.tensor([[0.25, 0.75]]))
    labels = torch.tensor([0])
    ratio = focal_loss(logits, labels) / cross_entropy(logits, labels)
    assert float(ratio) == pytest.approx(0.25 * (0.75 + 1e-6) ** 2.5, rel=1e-6)
