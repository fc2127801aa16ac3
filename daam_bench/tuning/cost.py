"""Floating point operations of one sample through an adapted encoder."""

import torch
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from daam_bench.training.folds import Rows
from daam_bench.tuning.model import EncoderClassifier


def flops_of_row(model: EncoderClassifier, row: int) -> tuple[int, int]:
    """Return floating point operations of one sample: of a forward pass, of a forward and backward pass.

    Counted by torch in matrix products, convolutions and attention; a multiplication and an addition are two.
    Attention is written out, as torch has no formula for some of the kernels that compute it faster.
    Weights of the frozen encoder need no gradients, so the backward pass costs about as much as the forward.
    """
    rows = torch.tensor([row])
    with sdpa_kernel(SDPBackend.MATH):
        with FlopCounterMode(display=False) as forward:
            logits = model(rows)
        with FlopCounterMode(display=False) as backward:
            logits.sum().backward()
    model.zero_grad(set_to_none=True)
    once = forward.get_total_flops()
    return once, once + backward.get_total_flops()


def median_row(lengths: Rows, rows: Rows) -> int:
    """Return the row of median length among some rows; of two in the middle, the shorter."""
    return int(rows[lengths[rows].argsort(kind="stable")[(len(rows) - 1) // 2]])
