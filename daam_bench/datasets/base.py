"""What a dataset kind declares about itself."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from daam_bench.config import DatasetConfig, Modality
from daam_bench.errors import ConfigError

# Settings that only kinds without a declaration of their own read.
DECLARING = (
    "modality",
    "subset",
    "columns",
    "labels",
    "splits",
    "label_pattern",
    "group_pattern",
    "encoding",
    "files",
)


@dataclass(frozen=True)
class DatasetKind:
    """A layout of files that can be read, with where it comes from and what it must contain.

    Attributes:
        name: what `datasets.<name>.kind` says in the configuration.
        title: full name.
        reader: `module:function`; takes the `DatasetConfig` and returns
            a table with the columns sample_id, label, group, split and the payload: `text`, or `file` (a path
            below the dataset's), or `content` (bytes of an encoded image or audio file).
        modality: what an encoder must take; None if the configuration says it.
        classes: class names, into which labels are indices; empty if labels are read from the files as text.
        groups: names of the groups (speakers, sources), if they are known beforehand.
        settings: those of `DECLARING` that the reader understands.
        counts: number of samples of each group as published; a different number is an error.
        class_counts: number of samples by split and class as published; likewise.
        files: files that the path must hold, checked before any job starts.
        reads_path: whether the samples lie at the configuration's path.
        source: where the data comes from.
        licence: licence as its source states it.
        citation: publication to cite.
    """

    name: str
    title: str
    reader: str
    modality: Modality | None = None
    classes: tuple[str, ...] = ()
    groups: tuple[str, ...] = ()
    settings: tuple[str, ...] = ()
    source: str = "the user's own files"
    licence: str = "not stated"
    citation: str = ""
    counts: Mapping[str, int] = field(default_factory=dict)
    class_counts: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    files: tuple[str, ...] = ()
    reads_path: bool = True

    def modality_of(self, config: DatasetConfig, where: str) -> Modality:
        """Return the modality of a dataset of this kind, and check that its settings fit the kind.

        Raises:
            ConfigError: if a setting is none that this kind reads, or the modality is not said.
        """
        unread = [s for s in DECLARING if getattr(config, s) is not None and s not in self.settings]
        if unread:
            raise ConfigError(
                f"kind {self.name!r} does not read {', '.join(unread)}",
                where=where,
                remedy="Remove these keys, or use one of the kinds table, class_folders, huggingface.",
            )
        modality = self.modality or config.modality
        if modality is None:
            raise ConfigError(
                f"kind {self.name!r} needs to know the modality",
                where=where,
                expected="modality: text, speech or vision",
            )
        if config.clip_seconds is not None and modality != "speech":
            raise ConfigError("only speech can be cut into clips", where=f"{where}.clip_seconds")
        return modality
