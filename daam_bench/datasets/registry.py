"""The table of dataset kinds."""

from daam_bench.datasets.ag_news import AG_NEWS
from daam_bench.datasets.asterisk import ASTERISK
from daam_bench.datasets.base import DatasetKind
from daam_bench.datasets.cifar100 import CIFAR100
from daam_bench.datasets.class_folders import CLASS_FOLDERS
from daam_bench.datasets.digits import DIGITS
from daam_bench.datasets.hedgewars import HEDGEWARS
from daam_bench.datasets.hugging_face import HUGGING_FACE
from daam_bench.datasets.iemocap import IEMOCAP
from daam_bench.datasets.openmoji import OPENMOJI
from daam_bench.datasets.table import TABLE
from daam_bench.datasets.vader import VADER
from daam_bench.errors import unknown_name

_DECLARED = (TABLE, CLASS_FOLDERS, HUGGING_FACE)
_KINDS = (VADER, OPENMOJI, DIGITS, ASTERISK, HEDGEWARS, IEMOCAP, AG_NEWS, CIFAR100, *_DECLARED)
KINDS: dict[str, DatasetKind] = {kind.name: kind for kind in _KINDS}


def dataset_kind(name: str, where: object = None) -> DatasetKind:
    """Return a dataset kind by name.

    Raises:
        ConfigError: naming the nearest kinds, if there is none of this name.
    """
    if name not in KINDS:
        raise unknown_name("dataset kind", name, KINDS, where)
    return KINDS[name]
