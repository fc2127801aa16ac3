"""What a dataset kind declares about itself."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from daam_bench.config import Modality


@dataclass(frozen=True)
class DatasetKind:
    """A layout of files that can be read, with where it comes from and what it must contain.

    Attributes:
        name: what `datasets.<name>.kind` says in the configuration.
        title: full name.
        modality: what an encoder must take.
        classes: class names; a label is an index into them.
        groups: names of the groups (speakers, sources), if they are known beforehand.
        reader: `module:function`; takes the path, returns a table with the columns sample_id, label,
            group, split and the modality's payload (`text` for text).
        counts: number of samples of each group as published; a different number is an error.
        files: files that the path must hold, checked before any job starts.
        source: where the data comes from.
        licence: licence as its source states it.
        citation: publication to cite.
    """

    name: str
    title: str
    modality: Modality
    classes: tuple[str, ...]
    groups: tuple[str, ...]
    reader: str
    source: str
    licence: str
    citation: str
    counts: Mapping[str, int] = field(default_factory=dict)
    files: tuple[str, ...] = ()
