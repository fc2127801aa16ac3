"""Attention modules in files of the user's own, named in the user's own configuration.

Planning reads the table entry only; the file is executed when the module is built, and never otherwise.
"""

import hashlib
import importlib.util
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from daam_bench.config import VariantConfig
from daam_bench.errors import ConfigError, unknown_name
from daam_bench.heads.presets import RESERVED, VARIANTS, Variant

if TYPE_CHECKING:
    from torch import nn

_CONTRACT = "Name(layers, features, protocol, **options) -> nn.Module (docs/attention_modules.md)"
_WEIGHTS = "softmax weights [any, head, query, key]"
# What training, importance maps and entropies ask of a module that has it.
_METHODS = ("density", "attention_weights", "penalty", "note")


def own_variant(name: str, config: VariantConfig) -> Variant:
    """Return the table entry of a user's own module.

    Raises:
        ConfigError: if the name is taken, or the file is not there.
    """
    where = f"variants.{name}"
    if name in VARIANTS or name in RESERVED:
        raise ConfigError("this name is taken", where=where, remedy="Choose another name.")
    if not Path(config.file).is_file():
        raise ConfigError(
            "no such file",
            where=f"{where}.module",
            expected="file.py:Name, relative to the folder that the command runs in",
            found=config.module,
            remedy=f"`daam-bench new variant {name}` writes one.",
        )
    return Variant(
        name=name,
        title=name,
        builder=config.module,
        description=config.description,
        source=f"{config.module}, sha256 {fingerprint_of_file(config.file)[:12]}",
        has_density=config.has_density,
        options=config.options,
        own=True,
    )


def fingerprint_of_file(path: str | Path) -> str:
    """Return the sha256 of a file's bytes: any edit of an own module trains it anew."""
    return hashlib.sha256(Path(path).read_bytes()).hexdigest()


def build_own(variant: Variant, layers: int, features: int, protocol: Any) -> "nn.Module":
    """Build a user's own module and try it on two samples of zeros.

    Raises:
        ConfigError: naming the user's file and line, if it fails or does not keep to the contract.
    """
    from torch import nn

    attention = _call(variant, lambda: _find(variant)(layers, features, protocol, **variant.options))
    if not isinstance(attention, nn.Module):
        raise ConfigError(
            "gives no torch.nn.Module", where=variant.builder, expected=_CONTRACT, found=type(attention)
        )
    training = attention.training
    _try(variant, attention.eval(), layers, features)
    return attention.train(training)


def _try(variant: Variant, attention: Any, layers: int, features: int) -> None:
    import torch

    width = getattr(attention, "out_features", features)
    attention.out_features = width
    _check_names(variant, attention, layers)
    with torch.no_grad():
        x = torch.zeros(2, layers, features)
        output = _call(variant, lambda: attention(x))
        _check_shape(variant, "forward(x)", output, (2, layers, width))
        if hasattr(attention, "density"):
            density = _call(variant, lambda: attention.density(x))
            _check_shape(variant, "density(x)", density, (2, layers, features))
        if hasattr(attention, "attention_weights"):
            weights = _call(variant, lambda: attention.attention_weights(x))
            _check(variant, getattr(weights, "ndim", 0) == 4, "attention_weights(x)", _WEIGHTS, weights)
        if hasattr(attention, "penalty"):
            penalty = _call(variant, lambda: attention.penalty(2))
            _check(variant, getattr(penalty, "shape", None) == (), "penalty(samples)", "a number", penalty)


def _check_names(variant: Variant, attention: Any, layers: int) -> None:
    """Check the attributes by which the benchmark knows what a module can do, before it is trained."""
    if variant.has_density and not hasattr(attention, "density"):
        raise ConfigError("has_density is set, but there is no method density(x)", where=variant.builder)
    for name in _METHODS:
        found = getattr(attention, name, None)
        _check(variant, found is None or callable(found), name, "a method, or another name", found)
    width = attention.out_features
    _check(variant, isinstance(width, int) and width > 0, "out_features", "a number of features", width)
    mixes = getattr(attention, "mixes_samples", False)
    _check(variant, isinstance(mixes, bool), "mixes_samples", "True or False, or another name", mixes)
    heads = getattr(getattr(attention, "density_attention", attention), "heads", 1)
    fits = isinstance(heads, int) and heads > 0 and layers % heads == 0
    sharing = f"a number of heads that share the {layers} layers of density(x), or another name"
    _check(variant, fits or not hasattr(attention, "density"), "heads", sharing, heads)


def _check(variant: Variant, right: bool, what: str, expected: str, found: Any) -> None:
    if not right:
        raise ConfigError(
            f"{what} is not what the benchmark takes it for",
            where=variant.builder,
            expected=expected,
            found=found if isinstance(found, int | str) else type(found).__name__,
            remedy="docs/attention_modules.md has the contract.",
        )


def _find(variant: Variant) -> Callable[..., Any]:
    file, _, name = variant.builder.rpartition(":")
    path = Path(file).resolve()
    module_name = f"daam_bench_own_{hashlib.sha256(str(path).encode()).hexdigest()[:12]}"
    spec = importlib.util.spec_from_file_location(module_name, path)
    assert spec is not None and spec.loader is not None  # the file ends in .py
    module = importlib.util.module_from_spec(spec)
    sys.modules[module_name] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    if not hasattr(module, name):
        raise unknown_name("name", name, [n for n in vars(module) if not n.startswith("_")], file)
    found: Callable[..., Any] = getattr(module, name)
    return found


def _call(variant: Variant, step: Callable[[], Any]) -> Any:
    """Run the user's code; its failure is told with the line of the user's file."""
    try:
        return step()
    except ConfigError:
        raise
    except Exception as error:
        file = variant.builder.rpartition(":")[0]
        frames = traceback.extract_tb(error.__traceback__)
        lines = [frame.lineno for frame in frames if Path(frame.filename).name == Path(file).name]
        line = getattr(error, "lineno", None) if isinstance(error, SyntaxError) else (lines or [None])[-1]
        raise ConfigError(
            f"{type(error).__name__}: {str(error).splitlines()[0] if str(error) else 'no message'}",
            where=file if line is None else f"{file}:{line}",
            expected=_CONTRACT,
        ) from error


def _check_shape(variant: Variant, what: str, value: Any, expected: tuple[int, ...]) -> None:
    found = tuple(getattr(value, "shape", ())) or type(value).__name__
    if found != expected:
        raise ConfigError(
            f"{what} has another shape",
            where=variant.builder,
            expected=f"{expected} (batch, layer, feature)",
            found=found,
        )
