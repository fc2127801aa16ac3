"""The table of variants, the divisors, the decoder and the lazy package."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch import nn

from daam_bench import heads
from daam_bench.config import Protocol
from daam_bench.errors import ConfigError
from daam_bench.heads import (
    VARIANTS,
    AttentionClassifier,
    ConvolutionalDecoder,
    GroupedQueryAttention,
    MixtureOfDensities,
    ProjectedGroupedQueryAttention,
    SelectedMixtureOfDensities,
    Variant,
    build_model,
    density_heads,
    feature_heads,
    find_variant,
    grid_shape,
)

CORRECTED = Protocol.model_validate("corrected")


@pytest.mark.parametrize(
    ("layers", "expected"),
    [(24, 8), (40, 8), (16, 8), (12, 6), (8, 4), (6, 3), (4, 2), (7, 1), (2, 1), (1, 1)],
)
def test_density_heads_leave_two_layers_each(layers: int, expected: int) -> None:
    assert density_heads(layers) == expected


def test_requested_heads_must_divide() -> None:
    assert density_heads(6, 6) == 6
    with pytest.raises(ConfigError, match=r"a divisor of 24.*found 5"):
        density_heads(24, 5)
    with pytest.raises(ConfigError):
        density_heads(24, 0)
    with pytest.raises(ConfigError, match="layers"):
        density_heads(0)


@pytest.mark.parametrize(("features", "expected"), [(1024, 8), (384, 8), (14, 7), (11, 1)])
def test_feature_heads(features: int, expected: int) -> None:
    assert feature_heads(features) == expected


@pytest.mark.parametrize(
    ("features", "expected"),
    [(1024, (32, 32)), (5120, (64, 80)), (512, (16, 32)), (384, (16, 24)), (13, (1, 13)), (1, (1, 1))],
)
def test_grid_shape(features: int, expected: tuple[int, int]) -> None:
    assert grid_shape(features) == expected


@pytest.mark.parametrize(
    ("variant", "features", "grid"),
    [
        ("daam_v1", 1024, (32, 32)),
        ("daam_v1", 512, (16, 32)),
        ("gqa", 1024, (8, 64)),
        ("gqdaam", 1024, (8, 64)),
        ("gqa", 5120, (16, 32)),
        ("gqdaam", 384, (16, 32)),
    ],
)
def test_only_what_grouped_queries_give_of_1024_lies_on_eight_heads_of_sixty_four(
    variant: str, features: int, grid: tuple[int, int]
) -> None:
    with torch.device("meta"):
        decoder = build_model(variant, 24, features, 4, CORRECTED).decoder
    assert isinstance(decoder, ConvolutionalDecoder)
    assert decoder.grid == grid


def test_a_grid_holds_all_features() -> None:
    assert ConvolutionalDecoder(2, 12, 3, 5, grid=(2, 6)).grid == (2, 6)
    with pytest.raises(ConfigError, match=r"expected 12; found \(3, 5\)"):
        ConvolutionalDecoder(2, 12, 3, 5, grid=(3, 5))


def test_decoder_lays_features_out_row_by_row() -> None:
    decoder = ConvolutionalDecoder(layers=1, features=6, classes=6, channels=1)
    identity = torch.zeros(1, 1, 3, 3)
    identity[0, 0, 1, 2] = 1.0  # reads the neighbour on the right, zero beyond the edge
    with torch.no_grad():
        for index in (0, 2):
            decoder.convolutions[index].load_state_dict({"weight": identity, "bias": torch.zeros(1)})
        decoder.classifier.weight.copy_(torch.eye(6))
    x = torch.tensor([[[1.0, 2, 3, 4, 5, 6]]])  # a 2 x 3 grid, shifted left twice
    assert decoder(x).tolist() == [[3.0, 0, 0, 6.0, 0, 0]]
    assert decoder(-x).tolist() == [[0.0] * 6]


def test_decoder_starts_xavier_uniform_without_bias() -> None:
    torch.manual_seed(0)
    decoder = ConvolutionalDecoder(layers=5, features=35, classes=3, channels=7)
    fans = {"convolutions.0": 9 * (5 + 7), "convolutions.2": 9 * (7 + 5), "classifier": 5 * 35 + 3}
    state = decoder.state_dict()
    for name, fan in fans.items():
        bound = (6 / fan) ** 0.5
        assert 0.9 * bound < state[f"{name}.weight"].abs().max() <= bound
        assert state[f"{name}.bias"].eq(0).all()


def test_unknown_variant_is_answered_with_the_nearest() -> None:
    with pytest.raises(ConfigError, match=r"experiments: unknown variant 'daam_v3'.*'daam_v"):
        find_variant("daam_v3", "experiments")
    with pytest.raises(ConfigError, match="unknown variant"):
        build_model("attention", 6, 7, 3, CORRECTED)


def test_names_and_metadata_of_the_table() -> None:
    assert list(VARIANTS) == [
        *("mha", "mha_bn", "gqa", "lora_r4", "lora_r8", "lora_plus_r4", "lora_plus_r8"),
        *("daam_v1", "daam_v2", "gqdaam", "mixture", "mixture_selected", "softmax_sum"),
    ]
    assert all(name == variant.name and variant.source for name, variant in VARIANTS.items())
    assert len({variant.title for variant in VARIANTS.values()}) == len(VARIANTS)
    assert {n: v.low_rank for n, v in VARIANTS.items() if v.low_rank} == {
        **{"lora_r4": 4, "lora_r8": 8},
        **{"lora_plus_r4": 4, "lora_plus_r8": 8},
    }
    assert [n for n, v in VARIANTS.items() if v.lora_plus] == ["lora_plus_r4", "lora_plus_r8"]


def test_a_variant_of_ones_own_needs_no_entry() -> None:
    four = Variant(
        "daam_g4", "DAAM g=4", "daam_bench.heads.build:density", "", "", True, options={"heads": 4}
    )
    attention = build_model(four, 12, 7, 3, CORRECTED, decoder_channels=5).attention
    assert attention.heads == 4


@pytest.mark.parametrize("name", ["corrected", "paper"])
def test_the_exponent_switch_reaches_the_density(name: str) -> None:
    protocol = Protocol.model_validate(name)
    x = torch.tensor([[[1.0], [3.0]]])
    density = build_model("daam_v2", 2, 1, 3, protocol, decoder_channels=5).density(x)
    exponent = {"corrected": -1 / 4, "paper": -1 / 8}[name]
    torch.testing.assert_close(density.log(), torch.full_like(x, exponent), rtol=1e-4, atol=0)


def test_asking_for_a_density_that_is_not_there() -> None:
    model = AttentionClassifier(nn.Identity(), ConvolutionalDecoder(3, 7, 2, 5))
    with pytest.raises(ConfigError, match="no density"):
        model.density(torch.randn(2, 3, 7))


def test_every_public_name_resolves() -> None:
    named: dict[str, object] = {}
    exec("from daam_bench.heads import *", named)
    assert set(heads.__all__) == set(dir(heads)) == named.keys() - {"__builtins__"}
    assert all(named[name] is getattr(heads, name) for name in heads.__all__)


def test_everything_that_has_a_docstring_is_exported() -> None:
    folder = Path(heads.__file__).parent
    inner = {"build_own", "own_variant", "fingerprint_of_file", "check_input", "check_at_least_one"}
    inner |= {"widened", "cut", "stacked", "standardised", "let_through", "hide_padding", "hide_weights"}
    inner |= {"xavier_", "trainable"}
    inner |= {"multi_head", "low_rank", "softmax_sum", "density", "mixture", "selected_mixture"}  # builders
    inner |= {"grouped_query", "grouped_query_density"}
    for file in sorted(folder.glob("*.py")):
        for node in ast.parse(file.read_text(encoding="utf-8")).body:
            if isinstance(node, ast.ClassDef | ast.FunctionDef) and not node.name.startswith("_"):
                assert node.name in heads.__all__ or node.name in inner, f"{file.name}: {node.name}"
    with pytest.raises(AttributeError, match="no attribute 'Nothing'"):
        _ = heads.Nothing


def test_the_table_is_read_without_torch() -> None:
    code = (
        "import sys; from daam_bench.heads.presets import VARIANTS; "
        "from daam_bench.heads import find_variant, density_heads; "
        "sys.exit('torch' in sys.modules or len(VARIANTS) < 13)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@pytest.mark.parametrize(
    ("make", "name"),
    [
        (lambda: MixtureOfDensities(12, 8, 4, gaussians=0), "gaussians"),
        (lambda: SelectedMixtureOfDensities(12, 8, 4, gaussians=0), "gaussians"),
        (lambda: GroupedQueryAttention(64, 8, 0), "key_value_heads"),
        (lambda: GroupedQueryAttention(64, 0, 2), "query_heads"),
        (lambda: ProjectedGroupedQueryAttention(64, key_value_heads=0), "key_value_heads"),
    ],
)
def test_numbers_below_one_are_refused_by_name(make, name):
    with pytest.raises(ConfigError, match=rf"^{name}: must be at least 1; found 0"):
        make()
