"""Multi-head self-attention baselines MHA and MHA+BN (method.md section 3; axis: D2).

For head i of 8, with q = k = v = X and head size s = d / 8,

    Y_i = softmax(X W_i^Q (X W_i^K)^T / sqrt(s)) X W_i^V,    Y = concat(Y_1 ... Y_8) W^O

and no residual. `in_proj_weight` stacks W^Q, W^K, W^V; `out_proj` is W^O. One departure: where 8 does not
divide d, its largest divisor below 8 is the number of heads.
"""

from typing import Literal, get_args

from jaxtyping import Bool, Float
from torch import Tensor, nn

from daam_bench.errors import unknown_name
from daam_bench.heads.divisors import feature_heads

AttentionAxis = Literal["layers", "batch"]


class LayerSelfAttention(nn.Module):
    """Multi-head self-attention over layers with q = k = v = X and no residual; 4 d^2 + 4 d parameters.

    Args:
        layers: number of layers N.
        features: number of features d.
        attention_axis: "layers": the layers of a sample attend to each other; "batch": a [batch, layer,
            feature] tensor is read by a module that expects the sequence first, so that the samples of a
            batch attend to each other, layer by layer, in training and in validation (D2, released scripts).
        batch_norm: normalise the N channels after the attention (2 N more parameters).

    Attributes:
        mixes_samples: whether an output depends on the other samples of its batch, also in validation.

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
        self.mixes_samples = attention_axis == "batch"
        self.norm = nn.BatchNorm1d(layers) if batch_norm else nn.Identity()

    def forward(
        self, x: Float[Tensor, "batch layer feature"], mask: Bool[Tensor, "batch layer"] | None = None
    ) -> Float[Tensor, "batch layer feature"]:
        """Return the attended values, batch-normalised over the layer channels if so built.

        Nothing attends to padded positions (`mask` False); they come out as 0, and so they enter the
        statistics of a batch norm.
        """
        if mask is None:
            attended, _ = self.attention(x, x, x, need_weights=False)
        else:
            x, ignored = hide_padding(x, mask, sequence_axis=0 if self.mixes_samples else 1)
            ignored = ignored.T if self.mixes_samples else ignored
            attended, _ = self.attention(x, x, x, key_padding_mask=ignored, need_weights=False)
            attended = attended.masked_fill(~mask.unsqueeze(-1), 0.0)
        output: Tensor = self.norm(attended)
        return output if mask is None else output.masked_fill(~mask.unsqueeze(-1), 0.0)

    def attention_weights(
        self, x: Float[Tensor, "batch layer feature"]
    ) -> Float[Tensor, "outer head query key"]:
        """Return the softmax weights of every head: over layers for each sample, or (D2) over samples."""
        _, weights = self.attention(x, x, x, need_weights=True, average_attn_weights=False)
        found: Tensor = weights
        return found


def hide_padding(
    x: Float[Tensor, "batch layer feature"], mask: Bool[Tensor, "batch layer"], sequence_axis: int = 1
) -> tuple[Float[Tensor, "batch layer feature"], Bool[Tensor, "batch layer"]]:
    """Return x with zeros at padding, and where attention must not look.

    A sequence of padding alone looks at its zeros: not every kernel survives a softmax over nothing.
    """
    looked_at = mask | ~mask.any(sequence_axis, keepdim=True)
    return x.masked_fill(~mask.unsqueeze(-1), 0.0), ~looked_at
