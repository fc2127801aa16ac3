"""The decoder's pair of 3x3 convolutions as convolutions of one position, the faster way in training.

A 3x3 convolution between few and many channels is one matrix product over the nine neighbours of the few:
they are gathered before the first convolution, and what the second one gives to each neighbour is added up
after it. The many channels are then read once, not nine times. The result is that of the library's 3x3
convolutions up to rounding; tests hold the two equal.
"""

from typing import Any, cast

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn.functional import conv2d, fold, linear, pad, relu, unfold
from torch.nn.grad import conv2d_weight


def convolution_pair(
    image: Float[Tensor, "batch channel height width"], first: nn.Conv2d, second: nn.Conv2d
) -> Float[Tensor, "batch out height width"]:
    """Return relu(second(relu(first(image)))) of two 3x3 convolutions of stride 1 and padding 1, with biases.

    Made for a processor: gradients are written out, and oneDNN takes the products.

    Args:
        image: of few channels; products are taken in the type of an active autocast.
        first: few to many channels.
        second: many to few channels.
    """
    device = image.device.type
    dtype = torch.get_autocast_dtype(device) if torch.is_autocast_enabled(device) else image.dtype
    last = image.permute(0, 2, 3, 1).to(dtype, memory_format=torch.contiguous_format)
    parameters = [
        p.to(dtype) for p in (first.weight, first.bias, second.weight, second.bias) if p is not None
    ]
    with torch.autocast(device, enabled=False):
        few: Tensor = _Pair.apply(last, *parameters)  # type: ignore[no-untyped-call]
    return few.permute(0, 3, 1, 2)


def unfolded_pair(
    image: Float[Tensor, "batch channel height width"], first: nn.Conv2d, second: nn.Conv2d
) -> Float[Tensor, "batch out height width"]:
    """Return what `convolution_pair` does, by operations that `torch.func.vmap` maps over weights.

    A map over the weights of 3x3 convolutions would be one convolution of many groups; this is one batched
    matrix product.
    """
    batch, channels, height, width = image.shape
    seen = unfold(image, 3, padding=1).transpose(1, 2).reshape(-1, 9 * channels)
    many = relu(linear(seen, first.weight.flatten(1), first.bias))
    held = linear(many, second.weight.flip(2, 3).permute(0, 2, 3, 1).flatten(0, 2))
    parts = torch.unflatten(held, 0, (batch, height * width)).transpose(1, 2)
    few = fold(parts, (height, width), 3, padding=1)
    return relu(few if second.bias is None else few + second.bias[:, None, None].to(few.dtype))


class _Pair(torch.autograd.Function):
    """The pair on [batch, height, width, channel]."""

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, weight_1: Tensor, bias_1: Tensor, weight_2: Tensor, bias_2: Tensor
    ) -> Tensor:
        """Return relu(W2 * relu(W1 * x + b1) + b2)."""
        seen = _gather(x)
        many = conv2d(seen, _seen(weight_1), bias_1).relu_()
        few = _add_up(conv2d(many, _held(weight_2))).add_(bias_2).relu_()
        ctx.save_for_backward(seen, many, few, weight_1, weight_2)
        return few

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, ...]:
        """Return the gradients of all arguments."""
        seen, many, few, weight_1, weight_2 = ctx.saved_tensors
        gradient = torch.ops.aten.threshold_backward(gradients[0].contiguous(), few, 0)
        held = _gather(gradient)
        spread, gathered = _held(weight_2), _seen(weight_1)
        inner = conv2d(held, spread.transpose(0, 1))
        torch.ops.aten.threshold_backward.grad_input(inner, many, 0, grad_input=inner)
        out_1, in_1, out_2 = weight_1.shape[0], weight_1.shape[1], weight_2.shape[0]
        change_1 = _weight_gradient(seen, inner).view(out_1, 3, 3, in_1).permute(0, 3, 1, 2)
        change_2 = _weight_gradient(many, held).view(3, 3, out_2, out_1).flip(0, 1)
        before = _add_up(conv2d(inner, gathered.transpose(0, 1)))
        positions = _positions(inner)
        of_bias_1 = (positions.new_ones(1, len(positions)) @ positions).squeeze(0)  # faster than a sum
        return before, change_1, of_bias_1, change_2.permute(2, 3, 0, 1), gradient.sum((0, 1, 2))


def _seen(weight: Tensor) -> Tensor:
    """Return weights [out, in, 3, 3] on gathered channels: [out, 9 in, 1, 1]."""
    return weight.permute(0, 2, 3, 1).reshape(weight.shape[0], -1, 1, 1)


def _held(weight: Tensor) -> Tensor:
    """Return weights [out, in, 3, 3] to channels that are added up: [9 out, in, 1, 1].

    What a neighbour holds for a position lies opposite to where the position sees the neighbour.
    """
    return weight.flip(2, 3).permute(2, 3, 0, 1).reshape(-1, weight.shape[1], 1, 1)


def _weight_gradient(x: Tensor, gradient: Tensor) -> Tensor:
    """Return the gradient of the weights of a convolution of one position, with out x in elements."""
    if gradient.dtype == torch.float32:  # its plain products take a slower library on some processors
        shape = (gradient.shape[1], x.shape[1], 1, 1)
        return cast(Tensor, conv2d_weight(x, shape, gradient))  # type: ignore[no-untyped-call]
    return _positions(gradient).t() @ _positions(x)


def _positions(x: Tensor) -> Tensor:
    """Return [batch, channel, height, width], channels last in memory, as [position, channel]."""
    return x.permute(0, 2, 3, 1).reshape(-1, x.shape[1])


def _gather(x: Tensor) -> Tensor:
    """Return the neighbours of each position, zero beyond the border: [b, h, w, c] -> [b, 9 c, h, w]."""
    batch, height, width, channels = x.shape
    padded = pad(x, (0, 0, 1, 1, 1, 1))
    sample, row, column, one = padded.stride()
    # Three neighbours of a row lie side by side in memory.
    shape, strides = (batch, height, width, 3, 3 * channels), (sample, row, column, row, one)
    return padded.as_strided(shape, strides).reshape(batch, height, width, -1).permute(0, 3, 1, 2)


def _add_up(parts: Tensor) -> Tensor:
    """Return for each position the sum of what its neighbours hold for it: the transpose of `_gather`."""
    batch, nine, height, width = parts.shape
    held = parts.permute(0, 2, 3, 1).reshape(batch, height, width, 3, nine // 3)
    wide = torch.promote_types(parts.dtype, torch.float32)
    in_row = held[:, :, :, 1].to(wide)  # three neighbours of a row at once
    in_row[:, 1:] += held[:, :-1, :, 2]
    in_row[:, :-1] += held[:, 1:, :, 0]
    beside = in_row.view(batch, height, width, 3, nine // 9)
    total = beside[:, :, :, 1].contiguous()
    total[:, :, 1:] += beside[:, :, :-1, 2]
    total[:, :, :-1] += beside[:, :, 1:, 0]
    return total.to(parts.dtype)
