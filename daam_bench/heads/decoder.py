"""From attended layers to class logits: the paper's decoder, and a linear one for the softmax sum."""

import math
from collections.abc import Callable
from typing import cast

import torch
from jaxtyping import Float
from torch import Tensor, nn

from daam_bench.heads.initial import xavier_

# The released layout; the most square one would be 16 x 32. All other sizes are laid out most squarely.
RELEASED_GRIDS = {512: (8, 64)}


def grid_shape(features: int) -> tuple[int, int]:
    """Return (height, width), height * width = features, of the grid that a layer's features are laid on.

    1024 -> (32, 32), 5120 -> (64, 80), 512 -> (8, 64); else the most square factorisation, height <= width.
    """
    if features in RELEASED_GRIDS:
        return RELEASED_GRIDS[features]
    height = max(h for h in range(1, math.isqrt(features) + 1) if features % h == 0)
    return height, features // height


class ConvolutionalDecoder(nn.Module):
    """Reads [batch, layer, feature] as an image of N channels and returns class logits (method.md section 1).

    Convolution N -> channels, ReLU, convolution channels -> N, ReLU (3x3, stride 1, padding 1), flatten,
    linear. Weights are Xavier-uniform, biases zero.

    Args:
        layers: number of layers N.
        features: number of features of a layer.
        classes: number of classes.
        channels: channels between the two convolutions.

    Attributes:
        training_pair: what computes the two convolutions with their ReLUs in training mode, such as
            `convolution_pair`; by default the convolutions themselves. The numbers are the same up to
            rounding, which may then depend on the batch size.
    """

    def __init__(self, layers: int, features: int, classes: int, channels: int = 512) -> None:
        super().__init__()
        self.training_pair: Callable[[Tensor, nn.Conv2d, nn.Conv2d], Tensor] | None = None
        self.grid = grid_shape(features)
        self.convolutions = nn.Sequential(
            nn.Conv2d(layers, channels, kernel_size=3, padding=1),
            nn.ReLU(),
            nn.Conv2d(channels, layers, kernel_size=3, padding=1),
            nn.ReLU(),
        )
        self.classifier = nn.Linear(layers * features, classes)
        xavier_(self)

    def forward(self, x: Float[Tensor, "batch layer feature"]) -> Float[Tensor, "batch class"]:
        """Return one logit per class."""
        image = torch.unflatten(x, -1, self.grid)
        if self.training_pair is not None and self.training:
            first, _, second, _ = cast(list[nn.Conv2d], self.convolutions)
            image = self.training_pair(image, first, second)
        else:
            image = self.convolutions(image)
        logits: Tensor = self.classifier(image.flatten(1))
        return logits


class LinearDecoder(nn.Module):
    """Adds the layers up and returns class logits: logits = W sum_l x_l + b; (d + 1) classes parameters.

    Weights are Xavier-uniform, biases zero.

    Args:
        features: number of features of a layer.
        classes: number of classes.
    """

    def __init__(self, features: int, classes: int) -> None:
        super().__init__()
        self.classifier = nn.Linear(features, classes)
        xavier_(self)

    def forward(self, x: Float[Tensor, "batch layer feature"]) -> Float[Tensor, "batch class"]:
        """Return one logit per class."""
        logits: Tensor = self.classifier(x.sum(1))
        return logits
