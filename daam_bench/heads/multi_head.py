"""Multi-head self-attention baselines MHA and MHA+BN (method.md section 3; axis: D2)."""

from typing import Literal, get_args

from jaxtyping import Float
from torch import Tensor, nn

from daam_bench.errors import unknown_name
from daam_bench.heads.divisors import feature_heads

AttentionAxis = Literal["layers", "batch"]


class LayerSelfAttention(nn.Module):
    """Multi-head self-attention with q = k = v = X and no residual; 4 d^2 + 4 d parameters.

    Args:
        layers: number of layers N.
        features: number of features d.
        attention_axis: "layers": the layers of a sample attend to each other; "batch": a [batch, layer,
            feature] tensor is read by a module that expects the sequence first, so that the samples of a
            batch attend to each other, layer by layer (D2, released scripts). A prediction then depends on
            the other samples of its batch.
        batch_norm: normalise the N channels after the attention (2 N more parameters).

    Raises:
        ConfigError: if the axis is neither of the two.
    """

    def __init__(
        self,
        layers: int,
        features: int,
        attention_axis: AttentionAxis = "layers",
        batch_norm: bool = False,
    ) -> None:
        super().__init__()
        if attention_axis not in get_args(AttentionAxis):
            raise unknown_name("attention axis", attention_axis, get_args(AttentionAxis))
        self.out_features = features
        self.attention = nn.MultiheadAttention(
            features, feature_heads(features), batch_first=attention_axis == "layers"
        )
        self.norm = nn.BatchNorm1d(layers) if batch_norm else nn.Identity()

    def forward(self, x: Float[Tensor, "batch layer feature"]) -> Float[Tensor, "batch layer feature"]:
        """Return the attended values, batch-normalised over the layer channels if so built."""
        attended, _ = self.attention(x, x, x, need_weights=False)
        output: Tensor = self.norm(attended)
        return output
