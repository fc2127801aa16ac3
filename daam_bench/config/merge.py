"""Overlays over `config.yaml`, merged exactly as Snakemake merges them, because Snakemake does it."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from daam_bench.config.load import parse_config
from daam_bench.config.plain import read_plain
from daam_bench.config.whole import Config
from daam_bench.errors import ConfigError


def merge_configs(base: Path, overlays: Sequence[Path] = ()) -> dict[str, Any]:
    """Return the plain data of `base` with overlays laid over it in their order.

    Mappings are merged key by key, lists are replaced, as `snakemake --configfile` does.

    Raises:
        ConfigError: if a file is missing, is no YAML mapping, or would have something evaluated.
    """
    from snakemake.utils import update_config

    over: dict[str, Any] = {}
    for path in overlays:
        update_config(over, _read(path, f"It is looked for in {Path.cwd()}."))
    merged = _read(base, "Run it in the folder that has config.yaml, or name one with --base.")
    update_config(merged, over)
    return merged


def load_merged(base: Path, overlays: Sequence[Path] = ()) -> Config:
    """Return the typed configuration that `snakemake --configfile OVERLAY ...` would run.

    Raises:
        ConfigError: if a file cannot be read, or the result does not fit the model.
    """
    return parse_config(merge_configs(base, overlays), " + ".join(str(p) for p in (base, *overlays)))


def _read(path: Path, remedy: str) -> dict[str, Any]:
    if not path.is_file():
        raise ConfigError(
            "is a folder" if path.is_dir() else "no such file",
            where=path,
            expected="a file of YAML",
            remedy=remedy,
        )
    return read_plain(path)
