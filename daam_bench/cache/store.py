"""The contract of a store: one array of embeddings in chunks, with labels beside it."""

import os
import stat
from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from pkgutil import resolve_name
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from daam_bench.cache.places import bytes_of, is_remote
from daam_bench.contents import is_of_the_machine
from daam_bench.errors import CacheError, DaamBenchError, MachineError, unknown_name

Block = npt.NDArray[np.floating]
REPAIR = "Run `daam-bench cache repair` on its folder: what is bad is extracted again, and nothing else."
# A stranger's file may declare any size; no compression of embeddings saves this much.
_DECLARED_TO_STORED = 100

_FORMATS = {
    "zarr": ("daam_bench.cache.zarr_store:ZarrStore", ".zarr"),
    "hdf5": ("daam_bench.cache.hdf5_store:Hdf5Store", ".h5"),
}


@dataclass(frozen=True)
class CacheLayout:
    """Shape, labels and attributes of a cache.

    Attributes:
        samples, layers, features: shape of `embeddings`.
        dtype: float32 or float16.
        rows_per_chunk: samples in one chunk; the last chunk may have fewer.
        sample_ids, labels, splits, groups: one entry a sample.
        contents: sha256 of each sample's content, for a clip followed by its bounds.
        attributes: JSON values that describe the data.
    """

    samples: int
    layers: int
    features: int
    dtype: str
    rows_per_chunk: int
    sample_ids: list[str]
    labels: list[int]
    splits: list[str]
    groups: list[str]
    contents: list[str]
    attributes: dict[str, Any] = field(default_factory=dict)

    @property
    def shape(self) -> tuple[int, int, int]:
        """(samples, layers, features)."""
        return self.samples, self.layers, self.features

    @property
    def chunks(self) -> int:
        """Number of chunks."""
        return -(-self.samples // self.rows_per_chunk)

    def with_attributes(self, attributes: dict[str, Any]) -> Self:
        """Return the same layout with other attributes."""
        return replace(self, attributes=attributes)

    def rows_of(self, chunk: int) -> slice:
        """Return the rows of a chunk."""
        start = chunk * self.rows_per_chunk
        return slice(start, min(start + self.rows_per_chunk, self.samples))


# Coordinates that are text, and the attribute of a layout that each comes from.
TEXTS = {"sample": "sample_ids", "split": "splits", "group": "groups", "content": "contents"}


class EmbeddingStore(ABC):
    """One cache on disk in one format; readable by other programs without this package.

    Variables: `embeddings` [sample, layer, feature] and the coordinates sample, layer, feature, label,
    split, group, content, length. A row that was never written reads as NaN, never as zeros.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    @classmethod
    @abstractmethod
    def create(cls, path: Path, layout: CacheLayout) -> Self:
        """Create an empty store, open for writing; it is durable when this returns."""

    @classmethod
    @abstractmethod
    def open(cls, path: Path, writable: bool = False) -> Self:
        """Open an existing store.

        Raises:
            CacheError: if there is none, or it is not of this format.
        """

    @classmethod  # noqa: B027
    def recover(cls, path: Path) -> None:
        """Mend what a killed writer left unreadable; a writer's lock must be held. By default nothing."""

    @abstractmethod
    def layout(self) -> CacheLayout:
        """Return shape, labels and attributes as stored."""

    @abstractmethod
    def attributes(self) -> dict[str, Any]:
        """Return the attributes as stored: those of the layout, without reading its texts."""

    @abstractmethod
    def lengths(self) -> npt.NDArray[np.int64]:
        """Return the number of positions that each sample was pooled over; -1 where it has no result."""

    @abstractmethod
    def write_chunk(self, index: int, block: Block) -> None:
        """Write one whole chunk; it is durable when this returns."""

    @abstractmethod
    def read_chunk(self, index: int) -> Block:
        """Read one chunk and check its checksum.

        Raises:
            CacheError: naming the file and the chunk, if it is missing or damaged.
        """

    @abstractmethod
    def place_of(self, index: int) -> tuple[Path, int] | None:
        """Return file and offset of a chunk's raw values; None where they do not lie raw in one piece."""

    def value_places(self) -> list[tuple[int, int]]:
        """Return (offset, size) in bytes of all chunks in the store's one file; empty if chunks are files."""
        return []

    @abstractmethod
    def declared_bytes(self) -> int:
        """Return the size that the values would have, as the store declares it, without reading any."""

    def refuse_absurd(self) -> None:
        """Check, before anything is read, that a store holds about what it declares, and lies in one place.

        Raises:
            CacheError: if it has links, or declares far more than there is.
        """
        stored = size_on_disk(self.path)
        if self.declared_bytes() > _DECLARED_TO_STORED * stored:
            raise CacheError(
                "it declares more values than it can hold",
                where=self.path,
                found=f"{self.declared_bytes()} bytes declared, {stored} stored",
            )

    @abstractmethod
    def write_summary(self, lengths: npt.NDArray[np.int64] | None, attributes: dict[str, Any]) -> None:
        """Write attributes and, once all chunks are there, the lengths; durable when it returns."""

    @abstractmethod
    def close(self) -> None:
        """Release the files."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def store_class(name: str) -> type[EmbeddingStore]:
    """Return the class of a format.

    Raises:
        ConfigError: naming the formats, if it is unknown.
    """
    if name not in _FORMATS:
        raise unknown_name("cache format", name, _FORMATS)
    found: type[EmbeddingStore] = resolve_name(_FORMATS[name][0])
    return found


def format_of(path: Path) -> str | None:
    """Return the format of a store by its ending; None if it is no store."""
    return next((name for name, (_, ending) in _FORMATS.items() if path.suffix == ending), None)


def file_ending(name: str) -> str:
    """Return the ending of a format's files, `.zarr` or `.h5`."""
    return _FORMATS[name][1]


def rows_per_chunk(samples: int, layers: int, features: int, dtype: str, mebibytes: float) -> int:
    """Return how many samples a chunk has: as many as fit into a size in MiB, dealt evenly to the chunks.

    A Zarr chunk takes its full size on disk however many of its rows are used: even chunks waste none.
    """
    most = max(1, int(mebibytes * 2**20) // (layers * features * np.dtype(dtype).itemsize))
    chunks = max(1, -(-samples // most))
    return max(1, -(-samples // chunks))


def rows_of_chunks(samples: int, chunks: int) -> int:
    """Return the rows of a chunk of a store, from its number of chunks: they are dealt evenly."""
    return max(1, -(-samples // max(1, chunks)))


@contextmanager
def reading(what: str, where: object, remedy: str | None = None) -> Iterator[None]:
    """Say in one way what the libraries of the formats say in many: damaged files make them raise anything.

    Raises:
        CacheError: for any exception in the block that is the file's.
        MachineError: if it is the machine's: what cannot be read now is not damaged.
    """
    try:
        yield
    except DaamBenchError:
        raise
    except Exception as error:
        first = (str(error).splitlines() or [type(error).__name__])[0]
        first = first.partition(" Stored: b")[0]  # zarr shows both checksums as bytes
        if is_of_the_machine(error):
            raise MachineError(f"cannot be read now ({first})", where=where, remedy="Run it again.") from None
        raise CacheError(f"{what} ({first})", where=where, remedy=remedy) from None


@contextmanager
def writing(where: object) -> Iterator[None]:
    """Say as one error what HDF5 raises in many ways when the machine does not let it write.

    Raises:
        MachineError: for any exception in the block that is not of this package.
    """
    try:
        yield
    except DaamBenchError:
        raise
    except Exception as error:
        raise MachineError(
            f"cannot be written ({' '.join(str(error).split())[:300]})",
            where=where,
            remedy="Once that is mended, run the same command again: it goes on from what is there.",
        ) from None


def size_on_disk(path: Path) -> int:
    """Return the bytes of a file, or of the files of a folder.

    Raises:
        CacheError: if there is anything but files and folders: a link may lead anywhere, a pipe has no end.
        MachineError: if the machine cannot look.
    """
    if is_remote(path):
        return bytes_of(path)
    total = 0
    for entry in _entries(path):
        with reading("it cannot be looked into", entry):
            facts = entry.lstat()
        if not (stat.S_ISREG(facts.st_mode) or stat.S_ISDIR(facts.st_mode)):
            kind = "a link" if stat.S_ISLNK(facts.st_mode) else "no file"
            raise CacheError(f"{kind} in the store", where=entry, expected="files and folders alone")
        total += facts.st_size if stat.S_ISREG(facts.st_mode) else 0
    return total


def _entries(path: Path) -> Iterator[Path]:
    yield path
    for folder, below, names in os.walk(path):
        yield from (Path(folder, name) for name in (*below, *names))
