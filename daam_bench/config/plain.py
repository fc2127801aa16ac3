"""What any file may be before it is looked at: plain data, and not too much of it."""

import json
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import yaml

from daam_bench.errors import ConfigError

# Far more than a configuration has. YAML's aliases make a few lines stand for billions of values.
_MOST_VALUES, _MOST_LEVELS = 100_000, 60
_TEMPLATES = "__use_yte__"


def read_plain(path: Path) -> dict[str, Any]:
    """Return the plain data of a YAML or JSON file, as Snakemake reads it, but with nothing evaluated.

    Raises:
        ConfigError: if the file is missing, is no mapping, holds too much, or asks for an evaluation.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"cannot be read ({error})", where=path) from None
    try:
        data = _data_of(text, path)
    except (yaml.YAMLError, ValueError, RecursionError) as error:  # also absurd numbers and depths
        raise ConfigError(f"is not valid YAML ({' '.join(str(error).split())})", where=path) from None
    if not isinstance(data, dict):
        raise ConfigError("has no keys at its top level", where=path, found=type(data).__name__)
    if _TEMPLATES in data:
        raise ConfigError(
            f"{_TEMPLATES} is refused: Snakemake would evaluate Python in the file",
            where=path,
            remedy="Write the values themselves; run nothing with a stranger's file that has this key.",
        )
    require_few(data, path)
    return data


def require_few(data: object, where: object) -> None:
    """Refuse data that are too deep, or that are too many once every alias is written out.

    Raises:
        ConfigError: if so.
    """
    _count(data, _parts_of_data, where)


class _ShallowLoader(yaml.SafeLoader):
    """Refuses depth while it reads: how deep Python itself may recurse differs from process to process."""

    def __init__(self, text: str, where: Path) -> None:
        super().__init__(text)
        self._where, self._levels = where, 0

    def compose_node(self, parent: yaml.Node | None, index: Any) -> yaml.Node | None:
        self._levels += 1
        if self._levels > _MOST_LEVELS:
            raise _too_deep(self._where)
        node = super().compose_node(parent, index)
        self._levels -= 1
        return node


def _data_of(text: str, where: Path) -> Any:
    try:
        return json.loads(text)
    except json.JSONDecodeError:
        loader = _ShallowLoader(text, where)
    try:
        node = loader.get_single_node()
        if node is None:
            return None
        # Merge keys (<<) are written out while values are made: what is too much is refused before.
        _count(node, _parts_of_node, where)
        return loader.construct_document(node)
    finally:
        loader.dispose()


def _parts_of_data(value: Any) -> Iterable[Any]:
    if isinstance(value, dict):
        return (*value.keys(), *value.values())
    return value if isinstance(value, list | tuple | set) else ()


def _parts_of_node(node: Any) -> Iterable[Any]:
    if isinstance(node, yaml.MappingNode):
        return (part for pair in node.value for part in pair)
    return node.value if isinstance(node, yaml.SequenceNode) else ()


def _count(root: Any, parts_of: Callable[[Any], Iterable[Any]], where: object) -> None:
    """Count everything that can be reached, as often as it is reached, level by level."""
    level, count = [root], 0
    for _ in range(_MOST_LEVELS):
        below = []
        for value in level:
            for part in parts_of(value):
                count += 1
                if count > _MOST_VALUES:
                    raise ConfigError(
                        "holds too many values", where=where, expected=f"at most {_MOST_VALUES:,}"
                    )
                below.append(part)
        level = below
    if level:
        raise _too_deep(where)


def _too_deep(where: object) -> ConfigError:
    return ConfigError("is nested too deeply", where=where, expected=f"at most {_MOST_LEVELS} levels")
