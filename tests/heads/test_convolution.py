"""The faster pairs of convolutions against the library's."""

import pytest
import torch
from torch import nn
from torch.nn.functional import relu

from daam_bench.heads.convolution import convolution_pair, unfolded_pair

BATCH, FEW, MANY, OUT, HEIGHT, WIDTH = 2, 5, 17, 3, 7, 11


WAYS = pytest.mark.parametrize("way", [convolution_pair, unfolded_pair])


@pytest.fixture
def pair():
    torch.manual_seed(0)
    return nn.Conv2d(FEW, MANY, 3, padding=1), nn.Conv2d(MANY, OUT, 3, padding=1)


def gradients_of(output, image, pair):
    parameters = [image, *(p for convolution in pair for p in convolution.parameters())]
    weights = torch.linspace(-1, 1, output.numel()).view(output.shape)
    return torch.autograd.grad((output.float() * weights).sum(), parameters)


def library(image, pair):
    first, second = pair
    return relu(second(relu(first(image))))


@WAYS
@pytest.mark.parametrize("height, width", [(HEIGHT, WIDTH), (1, 13), (1, 1)])
def test_values_and_gradients_are_those_of_the_library(way, pair, height, width):
    image = torch.randn(BATCH, FEW, height, width, requires_grad=True)
    expected, found = library(image, pair), way(image, *pair)
    torch.testing.assert_close(found, expected)
    both = zip(gradients_of(found, image, pair), gradients_of(expected, image, pair), strict=True)
    for ours, theirs in both:
        torch.testing.assert_close(ours, theirs)


@WAYS
def test_in_bfloat16_the_error_is_that_of_the_library(way, pair):
    image = torch.randn(BATCH, FEW, HEIGHT, WIDTH, requires_grad=True)
    exact = gradients_of(library(image, pair), image, pair)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        ours, theirs = way(image, *pair), library(image, pair)
    assert ours.dtype == theirs.dtype == torch.bfloat16
    found, usual = gradients_of(ours, image, pair), gradients_of(theirs, image, pair)
    for value, reference, wanted in zip(found, usual, exact, strict=True):
        assert value.dtype == wanted.dtype
        assert (value - wanted).norm() < 1.5 * (reference - wanted).norm() + 1e-3 * wanted.norm()


@WAYS
def test_float64_is_not_rounded_on_the_way(way, pair):
    pair = tuple(convolution.double() for convolution in pair)
    image = torch.randn(BATCH, FEW, HEIGHT, WIDTH, dtype=torch.float64)
    torch.testing.assert_close(way(image, *pair), library(image, pair), rtol=1e-12, atol=1e-12)
