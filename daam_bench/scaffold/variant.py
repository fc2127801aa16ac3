"""A user's own attention module: one file that trains as it is, its test, and the overlay that names it."""

import keyword
import re
import sys
from importlib.machinery import PathFinder
from pathlib import Path

from daam_bench.errors import ConfigError
from daam_bench.heads.presets import RESERVED, VARIANTS
from daam_bench.records import write_atomically

_MODULE = '''"""{title}: replace what `density` and `forward` compute by your own idea."""

from typing import Any

import torch
from torch import Tensor, nn


class {title}(nn.Module):
    """Weighs every layer and feature by a learnt gate in (0, 1).

    Args:
        layers: number of layers N of the encoder.
        features: number of features d of each layer.
        protocol: the switches of the configuration (`protocol.attention_axis`, ...), to be read or left.
        sharpness: an option of one's own, from `options` in the configuration.
    """

    def __init__(self, layers: int, features: int, protocol: Any = None, sharpness: float = 1.0) -> None:
        super().__init__()
        self.out_features = features  # features of a layer that come out
        self.sharpness = sharpness
        self.gate = nn.Parameter(torch.zeros(layers, features))

    def density(self, x: Tensor) -> Tensor:
        """Return the importance of each layer and feature in [0, 1], [batch, layer, feature]."""
        return torch.sigmoid(self.sharpness * self.gate).expand_as(x)

    def forward(self, x: Tensor) -> Tensor:
        """Map [batch, layer, feature] to [batch, layer, out_features]."""
        return x * self.density(x)
'''
_TEST = '''"""python -m pytest {test}"""

import torch
from {module} import {title}

BATCH, LAYERS, FEATURES = 5, 7, 11


def sample():
    return torch.randn(BATCH, LAYERS, FEATURES, generator=torch.Generator().manual_seed(0))


def test_shapes_and_range():
    module = {title}(LAYERS, FEATURES)
    assert module(sample()).shape == (BATCH, LAYERS, module.out_features)
    density = module.density(sample())
    assert density.shape == (BATCH, LAYERS, FEATURES)
    assert 0 <= density.min() and density.max() <= 1


def test_every_parameter_learns():
    module = {title}(LAYERS, FEATURES)
    module(sample()).square().sum().backward()
    assert all(p.grad is not None and p.grad.abs().max() > 0 for p in module.parameters())


def test_a_sample_does_not_depend_on_its_batch():
    module = {title}(LAYERS, FEATURES).eval()
    alone = torch.cat([module(sample()[i : i + 1]) for i in range(BATCH)])
    torch.testing.assert_close(module(sample()), alone)
'''
_OVERLAY = """# snakemake --configfile {overlay}
# daam-bench run DATASET ENCODER {name} --configfile {overlay}    (one cell)
variants:
  {name}:
    module: {file}:{title}
    has_density: true # it has density(x): importance maps are drawn
    options: {{}} # keyword arguments of {title}
"""


def _is_elsewhere(name: str, folder: Path) -> bool:
    """Say whether a name imports another module than the one in a folder."""
    if name in sys.builtin_module_names or name in sys.stdlib_module_names:
        return True
    own = {folder.resolve(), Path.cwd()}
    found = PathFinder.find_spec(name, [place for place in sys.path if Path(place).resolve() not in own])
    return found is not None and found.origin is not None


def write_variant(name: str, folder: Path, force: bool = False) -> list[Path]:
    """Write NAME.py, test_NAME.py and NAME.yaml into a folder; return their paths.

    Raises:
        ConfigError: if the name is taken or cannot be a module's, or a file is there already.
    """
    if re.fullmatch(r"[a-z][a-z0-9_]{0,63}", name) is None:
        raise ConfigError(
            "not a name for a module",
            where=name,
            expected="a lower-case letter, then lower-case letters, digits and _",
        )
    if keyword.iskeyword(name) or _is_elsewhere(name, folder):
        raise ConfigError(
            "Python has this name already: its test could not import the module",
            where=name,
            remedy=f"Choose another name, such as my_{name}.",
        )
    if name in VARIANTS or name in RESERVED:
        raise ConfigError("this variant exists already", where=name, remedy="Choose another name.")
    title = "".join(part.capitalize() for part in name.split("_"))
    file, test, overlay = (folder / text for text in (f"{name}.py", f"test_{name}.py", f"{name}.yaml"))
    words = {"name": name, "title": title, "module": name, "file": file, "test": test, "overlay": overlay}
    texts = {file: _MODULE, test: _TEST, overlay: _OVERLAY}
    there = [str(path) for path in texts if path.exists()]
    if there and not force:
        raise ConfigError("already there", where=", ".join(there), remedy="--force replaces what is there.")
    for path, text in texts.items():
        write_atomically(path, text.format(**words).encode())
    return list(texts)
