"""Exact numbers of trainable parameters, row by row."""

import pytest
import torch

from daam_bench.config import Protocol
from daam_bench.heads import ParameterCounts, parameter_counts

RELEASED = Protocol.model_validate("released")
CONVOLUTIONS_24, CONVOLUTIONS_40 = 221_720, 369_192


@pytest.mark.parametrize(
    ("variant", "layers", "features", "classes", "expected"),
    [
        ("daam_v1", 24, 1024, 4, (16_384, 238_104, 336_412)),
        ("daam_v2", 24, 1024, 4, (2_048, 223_768, 322_076)),
        ("daam_v1", 24, 1024, 100, (16_384, 238_104, 2_695_804)),
        ("daam_v1", 40, 5120, 4, (81_920, 451_112, 1_270_316)),
        ("daam_v2", 40, 5120, 4, (10_240, 379_432, 1_198_636)),
        ("gqdaam", 24, 1024, 4, (1_001_472, 1_223_192, 1_272_348)),
        ("gqdaam", 40, 5120, 4, (3_164_160, 3_533_352, 3_615_276)),
        ("mha", 24, 1024, 100, (4_198_400, 4_420_120, 6_877_820)),
        ("mha_bn", 24, 1024, 100, (4_198_448, 4_420_168, 6_877_868)),
        ("mixture", 24, 1024, 4, (64, 64 + CONVOLUTIONS_24, 64 + CONVOLUTIONS_24 + 98_308)),
        ("mixture", 40, 5120, 4, (64, 64 + CONVOLUTIONS_40, 64 + CONVOLUTIONS_40 + 819_204)),
    ],
)
def test_method_section_4(
    variant: str, layers: int, features: int, classes: int, expected: tuple[int, int, int]
) -> None:
    assert parameter_counts(variant, layers, features, classes, RELEASED) == ParameterCounts(*expected)


@pytest.mark.parametrize(("variant", "rank"), [("lora_r4", 4), ("lora_plus_r8", 8)])
def test_cached_lora_trains_two_pairs_of_factors_only(variant: str, rank: int) -> None:
    counts = parameter_counts(variant, 24, 1024, 4, RELEASED)
    assert counts.attention == 2 * 2 * rank * 1024


def test_gqa_alone_is_gqdaam_without_its_densities() -> None:
    with_density = parameter_counts("gqdaam", 24, 1024, 4, RELEASED)
    without = parameter_counts("gqa", 24, 1024, 4, RELEASED)
    assert with_density.attention - without.attention == 2 * 8 * 1024


def test_separate_queries_widen_the_norm_and_the_output_projection() -> None:
    summed = parameter_counts("gqa", 24, 1024, 4, RELEASED).attention
    separate = parameter_counts("gqa", 24, 1024, 4, Protocol.model_validate("paper")).attention
    assert separate - summed == 2 * (512 - 128) + (512 - 128) * 512


def test_counting_neither_allocates_nor_draws() -> None:
    before = torch.get_rng_state()
    parameter_counts("mha", 40, 5120, 4, RELEASED)
    parameter_counts("mixture", 40, 5120, 4, RELEASED)
    assert torch.equal(before, torch.get_rng_state())
