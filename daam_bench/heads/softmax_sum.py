"""Softmax-weighted sum of layers: the usual probe of a frozen encoder, a competitor the paper lacks."""

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from daam_bench.heads.inputs import check_input, widened


class SoftmaxLayerWeights(nn.Module):
    """Weights the layers of [batch, layer, feature] by a softmax over learnt scalars; N parameters.

        y_l = w_l x_l,   w = softmax(s)

    s (`score`) holds one learnable scalar per layer. Not of the paper: ELMo (arXiv 1802.05365, section 3.2),
    where w is s^task; SUPERB (arXiv 2105.01051, section 2). Departures: ELMo's scale gamma is left out, and
    the sum over l is the decoder's (`LinearDecoder`), so that this module keeps the shape of its input like
    every other. The weighted axis is the one before the last; move another one there.

    Args:
        layers: number of layers N.
        features: number of features d, kept.

    Attributes:
        score: s [layer], initially 0, so that all layers start equal.

    Raises:
        ConfigError: if an input has another size.
    """

    def __init__(self, layers: int, features: int) -> None:
        super().__init__()
        self.layers, self.out_features = layers, features
        self.score = nn.Parameter(torch.zeros(layers))

    def weights(self, mask: Bool[Tensor, "batch layer"] | None = None) -> Float[Tensor, "*batch layer"]:
        """Return w, which sums to one over the layers; with a mask, over each sample's real ones."""
        score = widened(self.score)
        if mask is None:
            return torch.softmax(score, -1)
        hidden = score.masked_fill(~mask, torch.finfo(score.dtype).min)
        return torch.softmax(hidden, -1).masked_fill(~mask, 0.0)

    def attention_weights(
        self, x: Float[Tensor, "batch layer feature"], mask: Bool[Tensor, "batch layer"] | None = None
    ) -> Float[Tensor, "outer head query key"]:
        """Return w as one head with one query; without a mask once, as it is the same for all samples."""
        self._check(x, mask)
        return self.weights(mask).view(-1, 1, 1, self.layers).to(x.device)

    def forward(
        self, x: Float[Tensor, "batch layer feature"], mask: Bool[Tensor, "batch layer"] | None = None
    ) -> Float[Tensor, "batch layer feature"]:
        """Return w * x, and 0 at padded positions (`mask` False)."""
        self._check(x, mask)
        if mask is not None:
            x = x.masked_fill(~mask.unsqueeze(-1), 0.0)
        return (x * self.weights(mask).unsqueeze(-1)).to(x.dtype)

    def _check(self, x: Tensor, mask: Tensor | None) -> None:
        check_input(self, x, mask, {-1: self.out_features, -2: self.layers})

    def extra_repr(self) -> str:
        """Say what `print` shows between the brackets."""
        return f"layers={self.layers}, features={self.out_features}"
