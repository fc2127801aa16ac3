"""Which files of a model transformers opens, and which of them are here."""

import json
from collections.abc import Callable, Mapping
from fnmatch import fnmatch
from pathlib import Path

# One file, or an index that names several; transformers takes the first kind that a model has.
_KINDS = (
    ("model.safetensors", "model.safetensors.index.json", "model-*.safetensors"),
    ("pytorch_model.bin", "pytorch_model.bin.index.json", "pytorch_model-*.bin"),
)
# Tokenizers and settings; what a model's page shows is not opened.
_SMALL = (".json", ".txt", ".model")


def weight_files(find: Callable[[str], Path | None]) -> tuple[list[str], list[str]]:
    """Return the names of a model's weight files that are here, and of those that are missing.

    Both are empty if neither weights nor an index of them are here.

    Args:
        find: returns the place of a file of the model by its name; None if it is not here.
    """
    for single, index, _ in _KINDS:
        if find(single) is not None:
            return [single], []
        listing = find(index)
        if listing is not None:
            names = _names_of(listing)
            here = [name for name in names if find(name) is not None]
            return here, [name for name in names if name not in here]
    return [], []


def _names_of(index: Path) -> list[str]:
    try:
        return sorted(set(json.loads(index.read_bytes())["weight_map"].values()))
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return ["weights that a damaged index names"]


def opened_files(sizes: Mapping[str, int]) -> dict[str, int]:
    """Return those of a model's files, by size in bytes, that a run downloads."""
    opened = {name: size for name, size in sizes.items() if "/" not in name and name.endswith(_SMALL)}
    for single, index, several in _KINDS:
        if single in sizes:
            return opened | {single: sizes[single]}
        if index in sizes:
            return opened | {name: size for name, size in sizes.items() if fnmatch(name, several)}
    return opened
