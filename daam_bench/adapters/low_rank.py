"""Put low-rank updates W0 + scale B A into an encoder: by peft, or on the weights themselves."""

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Literal, NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.utils import parametrize

Injection = Literal["modules", "weights"]
_ADAPTER = "default"  # peft's name for the only one


class Factors(NamedTuple):
    """The two factors of one module's update: A [rank, input], B [output, rank], float32."""

    module: str
    a: nn.Parameter
    b: nn.Parameter


class LowRankAdapters(nn.Module):
    """The updates inside an encoder, without the encoder: its parameters are all that tuning changes in it.

    The factors are those that the encoder computes with, so loading a state here changes the encoder.

    Args:
        layers: linear modules A and B by the qualified name of the encoder's module that they update.
        scale: factor of B A.
    """

    def __init__(self, layers: Mapping[str, tuple[nn.Module, nn.Module]], scale: float) -> None:
        super().__init__()
        self.scale = scale
        for name, (a, b) in layers.items():
            # torch takes dots for levels.
            self.add_module(name.replace(".", "/"), nn.ModuleDict({"lora_A": a, "lora_B": b}))
        self.float().requires_grad_(True)

    def factors(self) -> Iterator[Factors]:
        """Yield the factors of each adapted module, in the order of the encoder."""
        for name, pair in self.named_children():
            a, b = (pair.get_parameter(f"{part}.weight") for part in ("lora_A", "lora_B"))
            yield Factors(name.replace("/", "."), a, b)

    @torch.no_grad()
    def reset(self) -> None:
        """Start anew: A Kaiming-uniform as in peft (within 1 / sqrt(input)), B zero, so that B A is zero.

        Drawn on the CPU from torch's global generator: equal seeds give equal factors on any device.
        """
        for _, a, b in self.factors():
            a.copy_(nn.init.kaiming_uniform_(torch.empty(a.shape), a=math.sqrt(5)))
            b.zero_()

    def state_for_peft(self) -> dict[str, Tensor]:
        """Return the factors under the names that peft gives them in its own files."""
        named = ((f"base_model.model.{module}", a, b) for module, a, b in self.factors())
        return {
            f"{module}.{part}.weight": value.detach()
            for module, a, b in named
            for part, value in (("lora_A", a), ("lora_B", b))
        }


class LowRankWeight(nn.Module):
    """A parametrization that adds scale B A to a frozen weight, as peft's layer does to its output."""

    def __init__(self, inputs: int, outputs: int, rank: int, scale: float) -> None:
        super().__init__()
        self.scale = scale
        self.lora_A = nn.Linear(inputs, rank, bias=False)
        self.lora_B = nn.Linear(rank, outputs, bias=False)

    def forward(self, weight: Float[Tensor, "output input"]) -> Float[Tensor, "output input"]:
        """Return W0 + scale B A in the precision of W0."""
        update = self.scale * (self.lora_B.weight @ self.lora_A.weight)
        return weight + update.to(weight.dtype)


def attach_adapters(
    model: nn.Module, projections: Sequence[str], rank: int, scale: float, injection: Injection
) -> LowRankAdapters:
    """Put an update of rank r into each of some linear modules of a frozen encoder, and start it at zero.

    No dropout, and biases stay as they are.

    Args:
        model: the encoder; it is changed in place.
        projections: qualified names of linear modules.
        rank: r.
        scale: factor of B A (D8: alpha / r or alpha).
        injection: `modules`: huggingface/peft wraps each module; `weights`: `torch.nn.utils.parametrize` adds
            the update to its weight, which also reaches attention that never calls the module.
    """
    attach = {"modules": _wrap, "weights": _parametrise}[injection]
    layers = attach(model, projections, rank, scale)
    model.requires_grad_(False)
    adapters = LowRankAdapters(layers, scale)
    adapters.reset()
    return adapters


def _wrap(
    model: nn.Module, projections: Sequence[str], rank: int, scale: float
) -> dict[str, tuple[nn.Module, nn.Module]]:
    from peft import LoraConfig, inject_adapter_in_model

    # peft scales by lora_alpha / r.
    settings = LoraConfig(
        r=rank,
        lora_alpha=scale * rank,  # type: ignore[arg-type]
        target_modules=list(projections),
        lora_dropout=0.0,
        bias="none",
    )
    inject_adapter_in_model(settings, model, _ADAPTER)
    modules = {name: model.get_submodule(name) for name in projections}
    return {
        name: (module.get_submodule(f"lora_A.{_ADAPTER}"), module.get_submodule(f"lora_B.{_ADAPTER}"))
        for name, module in modules.items()
    }


def _parametrise(
    model: nn.Module, projections: Sequence[str], rank: int, scale: float
) -> dict[str, tuple[nn.Module, nn.Module]]:
    layers: dict[str, tuple[nn.Module, nn.Module]] = {}
    for name in projections:
        module = model.get_submodule(name)
        weight = module.get_parameter("weight")
        update = LowRankWeight(weight.shape[1], weight.shape[0], rank, scale).to(weight.device)
        parametrize.register_parametrization(module, "weight", update)
        layers[name] = (update.lora_A, update.lora_B)
    return layers
