import json
import sys
from pathlib import Path

import pytest
import yaml
from snakemake.utils import update_config

from daam_bench.config import PROTOCOLS, Config, Protocol, parse_config, training_of
from daam_bench.config.merge import load_merged
from daam_bench.errors import ConfigError

ROOT = Path(__file__).parents[1]


def embedded():
    return yaml.safe_load((ROOT / "config.yaml").read_text())


def test_embedded_default_is_valid():
    config = load_merged(ROOT / "config.yaml")
    assert config.experiments[0].dataset in config.datasets
    assert config.protocol.name == "corrected"


def test_unknown_key_is_named_with_the_nearest_valid_one():
    data = embedded()
    data["training"]["epoch"] = 3
    with pytest.raises(ConfigError, match=r"training.epoch: unknown key 'epoch'.*'epochs'"):
        parse_config(data)


def test_unknown_key_inside_a_named_dataset_offers_the_keys_of_datasets():
    data = embedded()
    data["datasets"]["vader"]["pth"] = "x"
    with pytest.raises(ConfigError, match=r"datasets\.vader\.pth: unknown key 'pth'.*'path'"):
        parse_config(data)


def test_value_out_of_range_is_named_with_what_was_found():
    data = embedded()
    data["training"]["epochs"] = 0
    with pytest.raises(ConfigError, match=r"training\.epochs: .*found 0\)"):
        parse_config(data)


@pytest.mark.parametrize("name", PROTOCOLS)
def test_a_protocol_name_sets_every_switch(name):
    assert Protocol.model_validate(name).model_dump() == PROTOCOLS[name] | {"name": name}


def test_one_switch_can_be_set_alone():
    protocol = Protocol.model_validate({"name": "released", "select": "last"})
    assert (protocol.select, protocol.attention_axis) == ("last", "batch")


@pytest.mark.parametrize(
    ("protocol", "kind", "model", "rate"),
    [
        ("paper", "iemocap", "microsoft/wavlm-large", 1e-4),
        ("paper", "ag_news", "meta-llama/Llama-2-13b-hf", 5e-5),
        ("corrected", "huggingface", "models/llama-2-7b", 5e-5),
        ("paper", "cifar100", "models/beit-large", 1e-4),
        ("released", "iemocap", "microsoft/wavlm-large", 1e-4),
        ("released", "cifar100", "models/beit-large", 1e-5),
        ("released", "ag_news", "meta-llama/Llama-2-13b-hf", 5e-5),
        ("released", "vader", "resources/minilm-l6", 1e-4),
    ],
)
def test_d4_the_learning_rate_is_the_protocol_s_unless_one_is_given(protocol, kind, model, rate):
    data = embedded() | {"protocol": protocol}
    data["datasets"]["vader"] = {"kind": kind, "path": "."}
    data["encoders"]["minilm-l6"]["model"] = model
    for given, expected in ((None, rate), (7e-4, 7e-4)):
        data["training"]["learning_rate"] = given
        config = parse_config(data)
        assert training_of(config, config.experiments[0]).learning_rate == expected
    data["training"]["learning_rate"] = None
    data["experiments"][0]["training"] = {"learning_rate": 3e-4}
    config = parse_config(data)
    assert training_of(config, config.experiments[0]).learning_rate == 3e-4


@pytest.mark.parametrize(("kind", "heads"), [("cifar100", 1), ("iemocap", 8), ("table", 8)])
def test_d7_as_released_follows_from_the_dataset(kind, heads):
    assert Protocol.model_validate("released").for_dataset(kind).gqdaam_heads == heads
    one = Protocol.model_validate({"name": "paper", "gqdaam_heads": 1})
    assert one.for_dataset(kind) == one


def test_a_name_alone_replaces_a_protocol_and_a_mapping_adds_to_it(tmp_path):
    """As Snakemake merges overlays: a string is the whole protocol, a mapping keeps inherited switches."""
    base, overlay = tmp_path / "config.yaml", tmp_path / "over.yaml"
    data = embedded() | {"protocol": {"name": "corrected", "weight_decay": 0.03}}
    base.write_text(yaml.safe_dump(data))
    overlays = {"protocol: released": 0.01, "protocol: {name: released}": 0.03, "protocol: paper": 0.1}
    for text, decay in overlays.items():
        overlay.write_text(text)
        snakemake = yaml.safe_load(base.read_text())
        update_config(snakemake, yaml.safe_load(text))
        for found in (load_merged(base, [overlay]), parse_config(snakemake)):
            assert found.protocol.weight_decay == decay
            assert found.protocol.name == ("released" if "released" in text else "paper")


def test_the_paper_s_overlay_is_the_whole_protocol_of_the_paper():
    config = load_merged(ROOT / "config.yaml", [ROOT / "config/paper.yaml"])
    assert config.protocol == Protocol.model_validate("paper")
    rates = {e.dataset: training_of(config, e).learning_rate for e in config.experiments}
    assert rates == {"iemocap": 1e-4, "ag_news": 5e-5, "cifar100": 1e-4}


def test_experiment_settings_win_over_the_common_ones():
    data = embedded()
    data["experiments"][0]["training"] = {"epochs": 11}
    config = parse_config(data)
    training = training_of(config, config.experiments[0])
    assert (training.epochs, training.batch_size) == (11, config.training.batch_size)


def test_a_wrong_experiment_setting_is_refused():
    data = embedded()
    data["experiments"][0]["training"] = {"epochz": 11}
    config = parse_config(data)
    with pytest.raises(ConfigError, match="'epochs'"):
        training_of(config, config.experiments[0])


def test_the_same_pair_twice_is_refused():
    data = embedded()
    data["experiments"] *= 2
    with pytest.raises(ConfigError, match="listed twice"):
        parse_config(data)


def test_names_cannot_leave_the_results_folder():
    data = embedded()
    data["datasets"]["../up"] = data["datasets"]["vader"]
    with pytest.raises(ConfigError, match=r"\.\./up"):
        parse_config(data)


def test_missing_and_broken_files_are_named(tmp_path):
    with pytest.raises(ConfigError, match="nothing.yaml"):
        load_merged(tmp_path / "nothing.yaml")
    broken = tmp_path / "broken.yaml"
    broken.write_text("a: [")
    with pytest.raises(ConfigError, match="not valid YAML"):
        load_merged(broken)


def test_schema_in_the_workflow_is_the_model_s():
    stored = json.loads((ROOT / "workflow/schemas/config.schema.json").read_text())
    cure = "run: daam-bench schema --output workflow/schemas/config.schema.json"
    assert stored == Config.model_json_schema(), cure


def bomb(inside, levels=12):
    """Return lines of YAML, each an alias of ten times the line above."""
    form = {"[": "a{0}: &a{0} [{1}]", "<": "a{0}: &a{0} {{<<: [{1}]}}"}[inside]
    first = {"[": "a0: &a0 [x]", "<": "a0: &a0 {k: v}"}[inside]
    return [first, *(form.format(n, ", ".join([f"*a{n - 1}"] * 10)) for n in range(1, levels))]


HUGE = {
    "aliases": "\n".join([*bomb("["), "notes: [*a11]"]),
    "merged keys": "\n".join(bomb("<")),
    "options": "variants:\n  x:\n    module: x.py:X\n    options:\n      "
    + "\n      ".join(bomb("["))
    + "\n",
    "itself": "variants: {x: {module: x.py:X, options: &o {again: *o}}}",
    "brackets": "[" * 900,
    "more brackets": "[" * 100_000,
    "mappings": "{a: " * 900,
    "levels": "\n".join(" " * n + "a:" for n in range(900)),
    "just too deep": "a: " + "[" * 61 + "]" * 61,
    "JSON": '{"notes": ' + "[" * 100_000,
    "a long number": "training: {epochs: " + "1" * 5000 + "}",
    "a long number in another base": "training: {epochs: 0x" + "f" * 9000 + "}",
}


@pytest.fixture(params=[1_000, 20_000])
def recursion_limit(request):
    """Libraries raise it: what is refused must not depend on it."""
    before = sys.getrecursionlimit()
    sys.setrecursionlimit(request.param)
    yield
    sys.setrecursionlimit(before)


@pytest.mark.usefixtures("recursion_limit")
@pytest.mark.parametrize("text", HUGE.values(), ids=HUGE)
def test_what_is_huge_or_deep_is_refused_at_once(tmp_path, text):
    file = tmp_path / "huge.yaml"
    file.write_text(text)
    for base, overlays in ((file, []), (ROOT / "config.yaml", [file])):
        with pytest.raises(ConfigError, match=r"too (many|deep)|recursion depth|digits"):
            load_merged(base, overlays)


def test_python_in_a_configuration_is_not_evaluated(tmp_path):
    ran = tmp_path / "ran"
    for text in (f"__use_yte__: true\ntitle: ?open({str(ran)!r}, 'w')\n", '{"__use_yte__": true}'):
        (tmp_path / "evil.yaml").write_text(text)
        with pytest.raises(ConfigError, match="__use_yte__ is refused"):
            load_merged(tmp_path / "evil.yaml")
    assert not ran.exists()


@pytest.mark.parametrize(
    ("place", "value"),
    [
        ("experiments.0.seeds", [-1]),
        ("experiments.0.seeds", [4, 1, 4]),
        ("experiments.0.seeds", [2**32]),
        ("datasets.vader.folds", {"rule": "stratified", "seed": 2**32}),
        ("datasets.vader.folds", {"rule": "stratified", "count": 10**9}),
        ("datasets.vader.sampling_seed", 2**32),
        ("datasets.vader.samples_per_group", 2**70),
        ("datasets.vader.clip_seconds", 1e-9),
        ("datasets.vader.clip_seconds", float("inf")),
        ("encoders.minilm-l6.max_length", 2**70),
        ("training.epochs", 2**70),
        ("training.epochs", True),
        ("training.learning_rate", True),
        ("training.batch_size", 2**70),
        ("training.decoder_channels", 2**70),
        ("training.density_heads", 2**70),
        ("training.learning_rate", float("inf")),
        ("training.learning_rate", float("nan")),
        ("training.focal_gamma", float("inf")),
        ("training.shuffle_mebibytes", 1e300),
        ("tuning.alpha", float("inf")),
        ("tuning.epochs", 2**70),
        ("protocol", {"weight_decay": float("inf")}),
        ("variants", {"x": {"module": "x.py:X", "options": {"a": float("nan")}}}),
        ("variants", {"x": {"module": "x.py:X", "options": {"a": b"bytes"}}}),
        ("studies", [{"kind": "layer_ablation", "random_draws": 10**9}]),
    ],
)
def test_absurd_numbers_are_refused_before_any_job(place, value):
    data = embedded()
    *holders, key = place.split(".")
    holder = data
    for name in holders:
        holder = holder[int(name)] if isinstance(holder, list) else holder.setdefault(name, {})
    holder[key] = value
    with pytest.raises(ConfigError, match=r"is not valid"):
        parse_config(data)
