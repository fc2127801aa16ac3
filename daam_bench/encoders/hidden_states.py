"""Pool each layer while the forward pass runs, so that memory does not grow with the number of layers."""

from collections.abc import Callable, Mapping, Sequence
from itertools import product
from threading import Lock, get_ident
from typing import Any

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from daam_bench.encoders.onednn import OneDnn
from daam_bench.encoders.pooling import MaskedMean
from daam_bench.encoders.precision import in_float32
from daam_bench.errors import EncoderError


class LayerPooler:
    """Runs a model and pools `hidden_states[1..N]`, by forward hooks on its N layers where it has them.

    What the last entry of `hidden_states` is differs between architectures (method.md section 1): the
    output of the last layer, or that after the final norm. `calibrate` finds out by comparison. Of a model
    whose layers cannot be hooked (ALBERT runs one layer N times) all hidden states are kept until the end of
    the forward pass, and memory grows with their number.

    Attributes:
        layers: N.
        features: d, known after `calibrate`.
        blocks: the modules that are hooked; None if all hidden states are kept.
    """

    def __init__(self, model: nn.Module, layers: int) -> None:
        self.model, self.layers, self.features = model, layers, 0
        self.blocks: nn.ModuleList | None = None
        self.last_is_normalised = False
        self._hooking = Lock()

    @torch.inference_mode()
    def calibrate(self, inputs: Mapping[str, Tensor], mask: Bool[Tensor, "batch time"]) -> None:
        """Compare with `output_hidden_states=True` once and settle which list and what last entry it is.

        A model of half precision is compared in float32 where that fits.

        Raises:
            EncoderError: if the model cannot be run, returns no hidden states, they are of several shapes or
                depend on weights that its files lack, or a second pass gives others.
        """
        run_once(self.model, inputs)
        with in_float32(self.model):
            self._calibrate(_as_floats(inputs, self.model), mask)

    def _calibrate(self, inputs: Mapping[str, Tensor], mask: Bool[Tensor, "batch time"]) -> None:
        output = run_once(self.model, inputs, output_hidden_states=True)
        states: tuple[Tensor, ...] = getattr(output, "hidden_states", None) or ()
        shapes = [tuple(state.shape) for state in states]
        if len(shapes) != self.layers + 1 or len(shapes[-1]) != 3 or len(set(shapes[1:])) > 1:
            raise EncoderError(
                "the model does not return its hidden states",
                where=type(self.model).__name__,
                expected=f"{self.layers + 1} entries of hidden_states of one shape [batch, time, feature]",
                found=f"{len(shapes)}: {', '.join(str(shape) for shape in dict.fromkeys(shapes))}",
            )
        self._refuse_missing_weights(states[-1])
        self.features = states[-1].shape[-1]
        if states[-1].shape[:2] != mask.shape:
            raise EncoderError(
                "its hidden states are not one a position of its input",
                where=type(self.model).__name__,
                expected=f"{tuple(mask.shape)} [batch, time]",
                found=str(tuple(states[-1].shape[:2])),
            )
        expected = torch.stack([MaskedMean(mask.to(s.device))(s).cpu() for s in states[1:]], dim=1)
        hooked = product(_lists_of(self.model, self.layers), (False, True))
        for blocks, last_is_normalised in [*hooked, (None, False)]:
            self.blocks, self.last_is_normalised = blocks, last_is_normalised
            try:
                found = self.pool(inputs, mask)
            # Modules that are no layers have other outputs.
            except (RuntimeError, IndexError, TypeError, ValueError, AttributeError):
                continue
            if _equal(found, expected, states[-1].dtype):
                return
        raise EncoderError(
            "a second pass over the same sample gives other hidden states",
            where=type(self.model).__name__,
            remedy="It draws random numbers though it is in evaluation mode; such a model has no cache.",
        )

    def keeps_apart(
        self, batch: Callable[[Sequence[Any]], tuple[dict[str, Tensor], Tensor]], samples: Sequence[Any]
    ) -> bool:
        """Return whether samples of different lengths in one batch get what each gets alone.

        What padding adds may be as small as the rounding of half precision: float32 decides where that fits.

        Args:
            batch: gives the model's inputs and the mask [batch, time] of some samples.
            samples: a few of different lengths.
        """
        with in_float32(self.model):
            expected = torch.cat([self.pool(*batch([sample])) for sample in samples])
            return _equal(self.pool(*batch(samples)), expected, next(self.model.parameters()).dtype)

    def _refuse_missing_weights(self, last: Tensor) -> None:
        """Refuse hidden states that are NaN because `open_model` found no weights for what they depend on."""
        if bool(torch.isfinite(last).all()):
            return
        missing = [name for name, w in self.model.state_dict().items() if w.numel() and bool(w.isnan().all())]
        if missing:
            raise EncoderError(
                "weights are missing in the model's files",
                where=type(self.model).__name__,
                found=", ".join(missing[:5]) + (f" and {len(missing) - 5} more" if missing[5:] else ""),
                remedy="Save the whole model; AutoModel must find each of its weights.",
            )

    def pool_by_length(
        self, batch: Callable[[Sequence[Any]], tuple[dict[str, Tensor], Tensor]], samples: Sequence[Any]
    ) -> Float[Tensor, "sample layer feature"]:
        """Return what `pool` does, in batches of one length: of a model that no mask keeps from padding."""
        found = torch.empty(len(samples), self.layers, self.features)
        for length in {len(sample) for sample in samples}:
            rows = [row for row, sample in enumerate(samples) if len(sample) == length]
            found[rows] = self.pool(*batch([samples[row] for row in rows]))
        return found

    @torch.inference_mode()
    def pool(
        self, inputs: Mapping[str, Tensor], mask: Bool[Tensor, "batch time"]
    ) -> Float[Tensor, "batch layer feature"]:
        """Return the masked mean over time of every layer, float32, on the CPU."""
        means = {mask.device: MaskedMean(mask)}

        def add(states: Tensor) -> Tensor:
            if states.device not in means:  # layers may lie on several devices
                means[states.device] = MaskedMean(mask.to(states.device))
            return means[states.device].sum(states)

        with OneDnn():
            sums = [layer.to(mask.device) for layer in self._run(inputs, add)]
        return (torch.stack(sums, dim=1) / means[mask.device].counts[:, None, None]).cpu()

    def _run(self, inputs: Mapping[str, Tensor], add: Callable[[Tensor], Tensor]) -> list[Tensor]:
        """Return what `add` gives for each layer."""
        if self.blocks is None:
            return [add(s) for s in self.model(**inputs, output_hidden_states=True).hidden_states[1:]]
        pooled: list[Tensor] = []
        own = get_ident()

        def keep(_module: nn.Module, _arguments: Any, output: Any) -> None:
            if get_ident() != own:  # another thread may run the same model meanwhile
                return
            pooled.append(add(output[0] if isinstance(output, tuple) else output))
            if len(pooled) == self.layers and not self.last_is_normalised:
                raise _AllPooledError

        with self._hooking:  # torch numbers hooks without a lock of its own
            hooks = [block.register_forward_hook(keep) for block in self.blocks]
        try:
            last = self.model(**inputs).last_hidden_state
        except _AllPooledError:
            return pooled
        finally:
            with self._hooking:
                for hook in hooks:
                    hook.remove()
        if self.last_is_normalised:
            pooled[-1:] = [add(last)]
        return pooled


class _AllPooledError(Exception):
    """Ends a forward pass when nothing that follows is needed, such as a pooling head."""


def run_once(model: nn.Module, inputs: Mapping[str, Tensor], **options: bool) -> Any:
    """Return what a model gives for a short sample that it has not seen before.

    Raises:
        EncoderError: if it cannot be run.
    """
    try:
        return model(**inputs, **options)
    except (RuntimeError, IndexError, ValueError, TypeError, AttributeError) as error:
        first = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise EncoderError(
            f"it cannot be run on a short sample ({first})",
            where=type(model).__name__,
            remedy="Name a model whose forward pass takes only the inputs of its processor.",
        ) from None


def _as_floats(inputs: Mapping[str, Tensor], model: nn.Module) -> dict[str, Tensor]:
    """Return inputs in the precision that a model has now; whole numbers as they are."""
    dtype = next(model.parameters()).dtype
    return {name: x.to(dtype) if x.is_floating_point() else x for name, x in inputs.items()}


def _lists_of(model: nn.Module, layers: int) -> list[nn.ModuleList]:
    return [m for m in model.modules() if isinstance(m, nn.ModuleList) and len(m) == layers]


def _equal(found: Tensor, expected: Tensor, dtype: torch.dtype) -> bool:
    """Return whether two results are equal as far as forward passes of a precision can be, by layer."""
    scale = expected.square().mean(dim=(0, 2), keepdim=True).sqrt()
    # The precision of the forward pass bounds what two ways to the same number can differ by.
    tolerance = 100 * torch.finfo(dtype).eps
    return found.shape == expected.shape and bool(((found - expected).abs() <= tolerance * scale).all())
