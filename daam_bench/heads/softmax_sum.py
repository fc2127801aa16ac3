"""Softmax-weighted sum of layers: the field's usual probe of a frozen encoder, a competitor the paper lacks.

    y_l = w_l x_l,  w = softmax(s)

s holds one learnable scalar per layer. The sum over l is the decoder's (`LinearDecoder`), so that this module
keeps the shape of its input like every other (ELMo, arXiv 1802.05365, section 3.2, without its scale gamma;
SUPERB, arXiv 2105.01051, section 2).
"""

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn


class SoftmaxLayerWeights(nn.Module):
    """Weights the layers of [batch, layer, feature] by a softmax over learnt scalars; N parameters.

    Args:
        layers: number of layers N.
        features: number of features d, kept.

    Attributes:
        score: s [layer], initially 0, so that all layers start equal.
    """

    def __init__(self, layers: int, features: int) -> None:
        super().__init__()
        self.out_features = features
        self.score = nn.Parameter(torch.zeros(layers))

    def weights(self, mask: Bool[Tensor, "batch layer"] | None = None) -> Float[Tensor, "*batch layer"]:
        """Return w, which sums to one over the layers; with a mask, over each sample's real ones."""
        score = self.score.float()
        if mask is None:
            return torch.softmax(score, -1)
        hidden = score.masked_fill(~mask, torch.finfo(score.dtype).min)
        return torch.softmax(hidden, -1).masked_fill(~mask, 0.0)

    def attention_weights(
        self, x: Float[Tensor, "batch layer feature"]
    ) -> Float[Tensor, "outer head query key"]:
        """Return w as one head with one query; it is the same for all samples."""
        return self.weights().view(1, 1, 1, -1).to(x.device)

    def forward(
        self, x: Float[Tensor, "batch layer feature"], mask: Bool[Tensor, "batch layer"] | None = None
    ) -> Float[Tensor, "batch layer feature"]:
        """Return w * x, and 0 at padded positions (`mask` False)."""
        if mask is not None:
            x = x.masked_fill(~mask.unsqueeze(-1), 0.0)
        return x * self.weights(mask).unsqueeze(-1).to(x.dtype)
