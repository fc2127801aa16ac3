"""Multi-head self-attention baselines MHA and MHA+BN (method.md section 3; axis: D2)."""

from typing import Literal, get_args

from jaxtyping import Bool, Float
from torch import Tensor, nn

from daam_bench.errors import ConfigError, unknown_name
from daam_bench.heads.divisors import feature_heads
from daam_bench.heads.inputs import check_input

AttentionAxis = Literal["layers", "batch"]


class LayerSelfAttention(nn.Module):
    """MHA and MHA+BN: multi-head self-attention over layers, no residual; 4 d^2 + 4 d parameters.

    The paper's softmax baseline (Vaswani et al., arXiv 1706.03762, section 3.2). For head i, with
    q = k = v = X [layer, feature] and head size s = d / heads,

        Y_i = softmax(X W_i^Q (X W_i^K)^T / sqrt(s)) X W_i^V,    Y = concat(Y_1, ..., Y_h) W^O

    each projection with a bias. `attention.in_proj_weight` stacks W^Q, W^K, W^V; `attention.out_proj` is W^O.
    Departures: 8 heads as in the paper where 8 divides d, otherwise its largest divisor below 8; the default
    `attention_axis="layers"` is the paper's reading, the released scripts' is "batch" (D2).

    It attends over the axis before the last of a tensor of three. For another axis, move that one there:
    `attention(x.movedim(axis, 1)).movedim(1, axis)`.

    Args:
        layers: number of layers N; None for any number, which `batch_norm` does not allow.
        features: number of features d.
        heads: number of heads, a divisor of d; None chooses (`feature_heads`).
        attention_axis: "layers": the layers of a sample attend to each other; "batch": a [batch, layer,
            feature] tensor is read by a module that expects the sequence first, so that the samples of a
            batch attend to each other, layer by layer, in training and in validation (D2, released scripts).
        batch_norm: normalise the N channels after the attention (2 N more parameters).

    Attributes:
        mixes_samples: whether an output depends on the other samples of its batch, also in validation.

    Raises:
        ConfigError: if `heads` does not divide `features`, the axis is neither of the two, a batch norm does
            not know its channels, or an input has another size.
    """

    def __init__(
        self,
        layers: int | None,
        features: int,
        heads: int | None = None,
        attention_axis: AttentionAxis = "layers",
        batch_norm: bool = False,
    ) -> None:
        super().__init__()
        if attention_axis not in get_args(AttentionAxis):
            raise unknown_name("attention axis", attention_axis, get_args(AttentionAxis))
        if batch_norm and layers is None:
            raise ConfigError("a batch norm needs the number of layers", where="layers", found=layers)
        self.layers, self.out_features = layers, features
        self.attention = nn.MultiheadAttention(
            features, feature_heads(features, heads), batch_first=attention_axis == "layers"
        )
        self.mixes_samples = attention_axis == "batch"
        self.norm = nn.BatchNorm1d(layers) if batch_norm and layers is not None else nn.Identity()

    def forward(
        self, x: Float[Tensor, "batch layer feature"], mask: Bool[Tensor, "batch layer"] | None = None
    ) -> Float[Tensor, "batch layer feature"]:
        """Return the attended values, batch-normalised over the layer channels if so built.

        Nothing attends to padded positions (`mask` False); they come out as 0, and so they enter the
        statistics of a batch norm.
        """
        attended, _ = self._attend(x, mask, need_weights=False)
        if mask is None:
            output: Tensor = self.norm(attended)
            return output
        padding = ~mask.unsqueeze(-1)
        output = self.norm(attended.masked_fill(padding, 0.0))
        return output.masked_fill(padding, 0.0)

    def attention_weights(
        self, x: Float[Tensor, "batch layer feature"], mask: Bool[Tensor, "batch layer"] | None = None
    ) -> Float[Tensor, "outer head query key"]:
        """Return the softmax weights of every head: over layers for each sample, or (D2) over samples.

        They sum to one over the keys, and are 0 for padded keys and padded queries (`mask` False).
        """
        _, weights = self._attend(x, mask, need_weights=True)
        assert weights is not None  # they were asked for
        return weights if mask is None else hide_weights(weights, mask.T if self.mixes_samples else mask)

    def _attend(self, x: Tensor, mask: Tensor | None, need_weights: bool) -> tuple[Tensor, Tensor | None]:
        check_input(self, x, mask, {-1: self.out_features, 1: self.layers}, axes=3)
        ignored = None
        if mask is not None:
            x, ignored = hide_padding(x, mask, sequence_axis=0 if self.mixes_samples else 1)
            ignored = ignored.T if self.mixes_samples else ignored
        attended, weights = self.attention(
            x, x, x, key_padding_mask=ignored, need_weights=need_weights, average_attn_weights=False
        )
        return attended, weights

    def extra_repr(self) -> str:
        """Say what `print` shows between the brackets."""
        axis = "batch" if self.mixes_samples else "layers"
        heads = self.attention.num_heads
        return f"layers={self.layers}, features={self.out_features}, heads={heads}, attention_axis={axis!r}"


def hide_padding(
    x: Float[Tensor, "batch layer feature"], mask: Bool[Tensor, "batch layer"], sequence_axis: int = 1
) -> tuple[Float[Tensor, "batch layer feature"], Bool[Tensor, "batch layer"]]:
    """Return x with zeros at padding, and where attention must not look.

    A sequence of padding alone looks at its zeros: not every kernel survives a softmax over nothing.
    """
    looked_at = mask | ~mask.any(sequence_axis, keepdim=True)
    return x.masked_fill(~mask.unsqueeze(-1), 0.0), ~looked_at


def hide_weights(
    weights: Float[Tensor, "outer head position position"], mask: Bool[Tensor, "outer position"]
) -> Float[Tensor, "outer head position position"]:
    """Return softmax weights with zeros where the query or the key is padding."""
    return weights.masked_fill(~(mask[:, None, :, None] & mask[:, None, None, :]), 0.0)
