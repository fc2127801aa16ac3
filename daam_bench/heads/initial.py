"""Initial weights."""

from torch import nn


def xavier_(module: nn.Module) -> None:
    """Set every linear and convolution weight of a module Xavier-uniform, every bias zero, in place.

    method.md section 1 prescribes the weights and leaves the biases open. Zero is what Glorot and Bengio
    (2010) start from.
    """
    for part in module.modules():
        if isinstance(part, nn.Linear | nn.Conv2d):
            nn.init.xavier_uniform_(part.weight)
            if part.bias is not None:
                nn.init.zeros_(part.bias)
