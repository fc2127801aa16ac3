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

_CONTRACT = "Name(layers, features, protocol, **options) -> nn.Module (docs/commands.md)"


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
    import torch
    from torch import nn

    attention = _call(variant, lambda: _find(variant)(layers, features, protocol, **variant.options))
    if not isinstance(attention, nn.Module):
        raise ConfigError(
            "gives no torch.nn.Module", where=variant.builder, expected=_CONTRACT, found=type(attention)
        )
    width = int(getattr(attention, "out_features", features))
    attention.out_features = width  # type: ignore[assignment]
    training = attention.training
    with torch.no_grad():
        x = torch.zeros(2, layers, features)
        output = _call(variant, lambda: attention.eval()(x))
        _check_shape(variant, "forward(x)", output, (2, layers, width))
        if variant.has_density:
            density_of = getattr(attention, "density", None)
            if density_of is None:
                raise ConfigError(
                    "has_density is set, but there is no method density(x)", where=variant.builder
                )
            density = _call(variant, lambda: density_of(x))
            _check_shape(variant, "density(x)", density, (2, layers, features))
    return attention.train(training)


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
