"""The table of dataset kinds."""

from daam_bench.datasets.asterisk import ASTERISK
from daam_bench.datasets.base import DatasetKind
from daam_bench.datasets.digits import DIGITS
from daam_bench.datasets.hedgewars import HEDGEWARS
from daam_bench.datasets.openmoji import OPENMOJI
from daam_bench.datasets.vader import VADER
from daam_bench.errors import unknown_name

KINDS: dict[str, DatasetKind] = {kind.name: kind for kind in (VADER, OPENMOJI, DIGITS, ASTERISK, HEDGEWARS)}


def dataset_kind(name: str, where: object = None) -> DatasetKind:
    """Return a dataset kind by name.

    Raises:
        ConfigError: naming the nearest kinds, if there is none of this name.
    """
    if name not in KINDS:
        raise unknown_name("dataset kind", name, KINDS, where)
    return KINDS[name]
