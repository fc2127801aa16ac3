"""From attended layers to class logits: the paper's decoder, and a linear one for the softmax sum."""

import math
from collections.abc import Callable
from typing import cast

import torch
from jaxtyping import Float
from torch import Tensor, nn

from daam_bench.errors import ConfigError
from daam_bench.heads.initial import xavier_
from daam_bench.heads.inputs import check_input


def grid_shape(features: int) -> tuple[int, int]:
    """Return (height, width), height <= width, of the most square grid that features can be laid on.

    1024 -> (32, 32), 5120 -> (64, 80), 512 -> (16, 32). The 512 features of GQA and GQDAAM on
    d = 1024 alone are laid out on 8 x 64 (`ProjectedGroupedQueryAttention.feature_grid`).
    """
    height = max(h for h in range(1, math.isqrt(features) + 1) if features % h == 0)
    return height, features // height


class ConvolutionalDecoder(nn.Module):
    """Reads [batch, layer, feature] as an image of N channels and returns class logits (method.md section 1).

        logits = W flatten(ReLU(conv_2(ReLU(conv_1(x))))) + b

    with conv_1: N -> channels and conv_2: channels -> N, both 3x3, stride 1, padding 1, each layer's features
    on a grid, row by row (method.md section 1). Weights are Xavier-uniform. How biases start is not said
    there; we decided for zero, where torch would draw them.

    Args:
        layers: number of layers N.
        features: number of features of a layer.
        classes: number of classes.
        channels: channels between the two convolutions.
        grid: (height, width) with height * width = features; by default `grid_shape`.

    Attributes:
        training_pair: what computes the two convolutions with their ReLUs in training mode, such as
            `convolution_pair`; by default the convolutions themselves. The numbers are the same up to
            rounding, which may then depend on the batch size.

    Raises:
        ConfigError: if the grid does not hold the features, or an input has another size.
    """

    def __init__(
        self,
        layers: int,
        features: int,
        classes: int,
        channels: int = 512,
        grid: tuple[int, int] | None = None,
    ) -> None:
        super().__init__()
        self.training_pair: Callable[[Tensor, nn.Conv2d, nn.Conv2d], Tensor] | None = None
        self.grid = grid or grid_shape(features)
        if math.prod(self.grid) != features:
            raise ConfigError(
                "the grid does not hold the features", where="grid", expected=features, found=self.grid
            )
        self.layers, self.in_features = layers, features
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
        check_input(self, x, None, {-1: self.in_features, 1: self.layers}, axes=3)
        image = torch.unflatten(x, -1, self.grid)
        if self.training_pair is not None and self.training:
            first, _, second, _ = cast(list[nn.Conv2d], self.convolutions)
            image = self.training_pair(image, first, second)
        else:
            image = self.convolutions(image)
        logits: Tensor = self.classifier(image.flatten(1))
        return logits

    def extra_repr(self) -> str:
        """Say what `print` shows between the brackets."""
        return f"layers={self.layers}, features={self.in_features}, grid={self.grid[0]}x{self.grid[1]}"


class LinearDecoder(nn.Module):
    """Adds the layers up and returns class logits; (d + 1) classes parameters.

        logits = W sum_l x_l + b

    The decoder of `SoftmaxLayerWeights`, not of the paper (SUPERB, arXiv 2105.01051). W is Xavier-uniform, b
    zero.

    Args:
        features: number of features of a layer.
        classes: number of classes.

    Raises:
        ConfigError: if an input has another size.
    """

    def __init__(self, features: int, classes: int) -> None:
        super().__init__()
        self.in_features = features
        self.classifier = nn.Linear(features, classes)
        xavier_(self)

    def forward(self, x: Float[Tensor, "batch layer feature"]) -> Float[Tensor, "batch class"]:
        """Return one logit per class."""
        check_input(self, x, None, {-1: self.in_features}, axes=3)
        logits: Tensor = self.classifier(x.sum(1))
        return logits
