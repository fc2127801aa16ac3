"""The proof, before anything is trained, that every adapter of an encoder can learn and has an effect.

An adapter may be a silent no-op: peft's wrapper of a module that the attention never calls trains nothing,
and the run ends without an error at the score of the frozen encoder.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from daam_bench.adapters.low_rank import Factors, LowRankAdapters
from daam_bench.errors import EncoderError

# Of B's entries: an update of some percent of a weight, far above rounding in any precision.
_SPREAD = 0.02
# Between the frozen encoder and the adapted one at B = 0, in root mean squares: rounding of another kernel.
_SAME = 1e-3


@dataclass(frozen=True)
class Proof:
    """What was measured.

    Attributes:
        gradients: smallest over all factors of the largest |gradient|.
        changes: of the output by each adapter alone, in root mean squares of the output: (smallest, largest).
        adapters: number of adapted modules.
    """

    adapters: int
    gradients: float
    changes: tuple[float, float]

    def __str__(self) -> str:
        low, high = self.changes
        return (
            f"{self.adapters} adapters: every gradient non-zero (at least {self.gradients:.1e}), "
            f"each alone changes the output by {low:.1e} to {high:.1e} of its size"
        )


def prove_adapters(
    adapters: LowRankAdapters,
    output: Callable[[], Float[Tensor, "sample feature"]],
    frozen: Float[Tensor, "sample feature"],
    where: str,
) -> Proof:
    """Prove that the adapters start at the frozen encoder, that each has gradients, and each an effect.

    With B = 0 the output must be the frozen encoder's. With random B the gradients of A and of B of every
    module must be finite and not all zero. With a random B in one module alone the output must change. The
    adapters are reset to B = 0 in the end; A stays.

    Args:
        adapters: as they are attached.
        output: runs the adapted encoder on the same samples each time; a sample of one position proves
            nothing, because softmax over one position is 1 whatever query and key are.
        frozen: the same output before the adapters were attached.
        where: the encoder, for errors.

    Raises:
        EncoderError: naming the modules that fail, and the remedy.
    """
    factors = list(adapters.factors())
    size = frozen.square().mean().sqrt().clamp_min(torch.finfo(torch.float32).tiny)
    generator = torch.Generator().manual_seed(0)
    noise = [torch.randn(f.b.shape, generator=generator) * _SPREAD for f in factors]
    try:
        _set(factors, None)
        with torch.no_grad():
            distance = float((output() - frozen).abs().max() / size)
        if not distance <= _SAME:
            raise EncoderError(
                "with updates of zero it differs from the frozen encoder",
                where=where,
                expected=f"at most {_SAME:g} of the size of its output",
                found=f"{distance:.1e}",
            )
        smallest = _gradients(factors, noise, output, generator, where)
        changes = _changes(factors, noise, output, frozen, where)
    finally:
        _set(factors, None)
        adapters.zero_grad(set_to_none=True)
    return Proof(len(factors), smallest, (min(changes) / float(size), max(changes) / float(size)))


@torch.no_grad()
def _set(factors: list[Factors], noise: list[Tensor] | None, only: int | None = None) -> None:
    """Set every B to its noise, or only one of them; all others are zero."""
    for number, factor in enumerate(factors):
        if noise is not None and only in (None, number):
            factor.b.copy_(noise[number])
        else:
            factor.b.zero_()


def _gradients(
    factors: list[Factors],
    noise: list[Tensor],
    output: Callable[[], Tensor],
    generator: torch.Generator,
    where: str,
) -> float:
    _set(factors, noise)
    with torch.enable_grad():
        found = output()
        direction = torch.randn(found.shape, generator=generator).to(found.device)
        if found.requires_grad:  # not if every adapter is passed by
            (found * direction).sum().backward()  # type: ignore[no-untyped-call]
    sizes = {f.module: [_largest(f.a.grad), _largest(f.b.grad)] for f in factors}
    _refuse([name for name, pair in sizes.items() if not all(pair)], "have no gradient", where)
    return min(value for pair in sizes.values() for value in pair)


def _largest(gradient: Tensor | None) -> float:
    """Return the largest |gradient|; 0 where there is none, or it is not finite."""
    if gradient is None or not bool(gradient.isfinite().all()):
        return 0.0
    return float(gradient.abs().max())


@torch.no_grad()
def _changes(
    factors: list[Factors], noise: list[Tensor], output: Callable[[], Tensor], frozen: Tensor, where: str
) -> list[float]:
    _set(factors, None)
    start, changes = output(), []
    for number in range(len(factors)):
        _set(factors, noise, only=number)
        changes.append(float((output() - start).abs().max()))
    names = [factor.module for factor, change in zip(factors, changes, strict=True) if not change > 0]
    _refuse(names, "do not change the output", where)
    return changes


def _refuse(modules: list[str], what: str, where: str) -> None:
    if modules:
        raise EncoderError(
            f"adapters {what}",
            where=where,
            expected="gradients and an effect of every adapter",
            found=f"{len(modules)} without: {', '.join(modules[:4])}{', ...' if len(modules) > 4 else ''}",
            remedy="Its attention reads the weights past the adapters, or every sample is one position long. "
            "Set tuning.injection: weights, which updates the weights themselves.",
        )
