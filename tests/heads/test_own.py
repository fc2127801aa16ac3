"""Modules in a user's own file: what they must be is told before anything is trained."""

from pathlib import Path

import pytest
import torch

from daam_bench.config import Protocol, VariantConfig
from daam_bench.errors import ConfigError
from daam_bench.heads import build_model, parameter_counts
from daam_bench.heads.own import own_variant

LAYERS, FEATURES = 6, 7
CORRECTED = Protocol.model_validate("corrected")
MODULE = """
import torch
from torch import nn

class Own(nn.Module):
    def __init__(self, layers, features, protocol):
        super().__init__()
        self.gate = nn.Parameter(torch.zeros(layers, features))
        {attribute}

    def forward(self, x):
        return x * self.gate

    {method}
"""


def build(
    folder: Path, attribute: str = "pass", method: str = "", has_density: bool = False
) -> torch.nn.Module:
    file = folder / "own.py"
    file.write_text(MODULE.format(attribute=attribute, method=method))
    entry = own_variant("own", VariantConfig(module=f"{file}:Own", has_density=has_density))
    return build_model(entry, LAYERS, FEATURES, 3, CORRECTED, decoder_channels=5).attention


def test_a_module_that_keeps_to_the_contract(tmp_path: Path) -> None:
    methods = "def density(self, x): return torch.sigmoid(self.gate).expand_as(x)"
    attention = build(tmp_path, "self.heads = 3; self.out_features = 7", methods, has_density=True)
    assert attention.training and attention.out_features == FEATURES
    entry = own_variant("own", VariantConfig(module=f"{tmp_path / 'own.py'}:Own", has_density=True))
    assert parameter_counts(entry, LAYERS, FEATURES, 3, CORRECTED).attention == LAYERS * FEATURES


@pytest.mark.parametrize("name", ["density", "attention_weights", "penalty", "note"])
@pytest.mark.parametrize("value", ["nn.Parameter(torch.zeros(3))", "0.5"])
def test_names_of_methods_are_methods(tmp_path: Path, name: str, value: str) -> None:
    with pytest.raises(ConfigError, match=rf"own.py:Own: {name} is not what.*a method, or another name"):
        build(tmp_path, f"self.{name} = {value}")


@pytest.mark.parametrize(
    ("attribute", "method", "message"),
    [
        ("self.out_features = nn.Linear(2, 3)", "", "out_features .* number of features; found Linear"),
        ("self.out_features = 0", "", "out_features .* found 0"),
        ("self.mixes_samples = nn.Linear(2, 3)", "", "mixes_samples .* True or False"),
        ("self.heads = nn.ModuleList()", "def density(self, x): return x", "heads .* found ModuleList"),
        ("self.heads = 4", "def density(self, x): return x", "heads .* share the 6 layers .* found 4"),
        ("", "def density(self, x): return x.mean(0)", r"density\(x\) has another shape"),
        ("", "def attention_weights(self, x): return x", r"attention_weights\(x\) .* found Tensor"),
        ("", "def penalty(self, samples): return self.gate", r"penalty\(samples\) .* a number"),
        ("", "def density(self, x): return x @ x", r"own.py:\d+: RuntimeError.*docs/attention_modules.md"),
    ],
)
def test_what_would_fail_after_training_fails_before(
    tmp_path: Path, attribute: str, method: str, message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        build(tmp_path, attribute or "pass", method)


def test_heads_without_a_density_are_the_module_s_own_business(tmp_path: Path) -> None:
    module = build(tmp_path, "self.heads = nn.ModuleList()")
    assert len(module.heads) == 0


def test_a_density_that_was_promised_is_there(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"has_density is set, but there is no method density\(x\)"):
        build(tmp_path, has_density=True)
