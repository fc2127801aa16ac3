"""Pool each layer while the forward pass runs, so that memory does not grow with the number of layers."""

from collections.abc import Mapping
from typing import Any

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from daam_bench.encoders.pooling import masked_mean
from daam_bench.errors import EncoderError


class LayerPooler:
    """Runs a model and pools `hidden_states[1..N]` by forward hooks on its N layers.

    What the last entry of `hidden_states` is differs between architectures (method.md section 1): the
    output of the last layer, or that after the final norm. `calibrate` finds out by comparison.
    """

    def __init__(self, model: nn.Module, layers: int) -> None:
        self.model, self.layers = model, layers
        self.blocks = _find_blocks(model, layers)
        self.last_is_normalised = False

    @torch.inference_mode()
    def calibrate(self, inputs: Mapping[str, Tensor], mask: Bool[Tensor, "batch time"]) -> None:
        """Compare with `output_hidden_states=True` once and settle what the last layer is.

        Raises:
            EncoderError: if the model returns no hidden states, or hooks cannot reproduce them.
        """
        states = getattr(self.model(**inputs, output_hidden_states=True), "hidden_states", None)
        if states is None or len(states) != self.layers + 1:
            raise EncoderError(
                "the model does not return its hidden states",
                where=type(self.model).__name__,
                expected=f"{self.layers + 1} entries of hidden_states",
                found=None if states is None else len(states),
            )
        expected = torch.stack([masked_mean(state, mask) for state in states[1:]], dim=1)
        for choice in (False, True):
            self.last_is_normalised = choice
            if torch.allclose(self.pool(inputs, mask), expected, rtol=1e-3, atol=1e-3):
                return
        raise EncoderError("pooled layers differ from hidden_states", where=type(self.model).__name__)

    @torch.inference_mode()
    def pool(
        self, inputs: Mapping[str, Tensor], mask: Bool[Tensor, "batch time"]
    ) -> Float[Tensor, "batch layer feature"]:
        """Return the masked mean over time of every layer, float32."""
        pooled: list[Tensor] = []

        def keep(_module: nn.Module, _arguments: Any, output: Any) -> None:
            pooled.append(masked_mean(output[0] if isinstance(output, tuple) else output, mask))

        hooks = [block.register_forward_hook(keep) for block in self.blocks]
        try:
            last = self.model(**inputs).last_hidden_state
        finally:
            for hook in hooks:
                hook.remove()
        if self.last_is_normalised:
            pooled[-1] = masked_mean(last, mask)
        return torch.stack(pooled, dim=1)


def _find_blocks(model: nn.Module, layers: int) -> nn.ModuleList:
    lists = [m for m in model.modules() if isinstance(m, nn.ModuleList) and len(m) == layers]
    if not lists:
        raise EncoderError(
            "no list of transformer layers found", where=type(model).__name__, expected=f"{layers} layers"
        )
    return lists[0]
