"""Pooling over time."""

from jaxtyping import Bool, Float
from torch import Tensor
from torch.nn import functional as F


class MaskedMean:
    """The mean over the positions where a mask is true; layers of one batch share it.

    Source: method.md section 1, paper section 3.

    Args:
        mask: the positions; on the device of the states.

    Attributes:
        counts: number of positions of each sample [batch].
    """

    def __init__(self, mask: Bool[Tensor, "batch time"]) -> None:
        self._shape = mask.shape
        self._positions = mask.flatten().nonzero().squeeze(1)
        self.counts = mask.sum(dim=1)
        self._starts = self.counts.cumsum(0) - self.counts

    def __call__(self, states: Float[Tensor, "batch time feature"]) -> Float[Tensor, "batch feature"]:
        """Return the mean, computed in float32; NaN for a sample without any true position.

        Raises:
            ValueError: if the states are not one a position of the mask.
        """
        return self.sum(states) / self.counts[:, None]

    def sum(self, states: Float[Tensor, "batch time feature"]) -> Float[Tensor, "batch feature"]:
        """Return the sum over the positions in float32; many are divided by `counts` at once.

        Other positions are not read: padding may hold anything, even NaN (fully masked attention rows).

        Raises:
            ValueError: if the states are not one a position of the mask.
        """
        if states.ndim != 3 or states.shape[:2] != self._shape:
            raise ValueError(f"states {tuple(states.shape)} of a mask {tuple(self._shape)}")
        rows = states.float().flatten(0, 1)
        # A sum of rows that are picked by number: the states are read once and nothing is copied.
        return F.embedding_bag(self._positions, rows, self._starts, mode="sum")
