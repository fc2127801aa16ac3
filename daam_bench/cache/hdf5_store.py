"""HDF5: one file, the same chunks, fletcher32 checksums, dimension scales for xarray."""

import json
from pathlib import Path
from typing import Any, Self

import h5py
import numpy as np
import numpy.typing as npt

from daam_bench.cache.places import sync
from daam_bench.cache.store import TEXTS, Block, CacheLayout, EmbeddingStore
from daam_bench.errors import CacheError


class Hdf5Store(EmbeddingStore):
    """An HDF5 file; attributes that are lists or mappings are stored as JSON."""

    def __init__(self, path: Path, file: h5py.File) -> None:
        super().__init__(path)
        self.file = file
        self.embeddings: h5py.Dataset = file["embeddings"]

    @classmethod
    def create(cls, path: Path, layout: CacheLayout) -> Self:
        """Create an empty store, open for writing; it is durable when this returns."""
        file = h5py.File(path, "w")
        rows = min(layout.rows_per_chunk, layout.samples)
        # All chunks get their place now: later writes change values only, so that a kill cannot tear the
        # file's structure and a resumed file has the bytes of an uninterrupted one.
        places = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
        places.set_alloc_time(h5py.h5d.ALLOC_TIME_EARLY)
        places.set_fill_time(h5py.h5d.FILL_TIME_IFSET)
        embeddings = file.create_dataset(
            "embeddings",
            shape=layout.shape,
            chunks=(rows, layout.layers, layout.features),
            dtype=layout.dtype,
            fletcher32=True,
            fillvalue=np.nan,
            dcpl=places,
        )
        embeddings.attrs["coordinates"] = "label split group content length"
        for name, attribute in TEXTS.items():
            file.create_dataset(name, data=getattr(layout, attribute), dtype=h5py.string_dtype())
        file.create_dataset("label", data=np.asarray(layout.labels, dtype=np.int64), fletcher32=True)
        file.create_dataset("length", data=np.full(layout.samples, -1, dtype=np.int64), fletcher32=True)
        file.create_dataset("layer", data=np.arange(1, layout.layers + 1), fletcher32=True)
        file.create_dataset("feature", data=np.arange(layout.features), fletcher32=True)
        for axis, name in enumerate(("sample", "layer", "feature")):
            file[name].make_scale(name)
            embeddings.dims[axis].attach_scale(file[name])
        for name in ("split", "group", "content", "label", "length"):
            file[name].dims[0].attach_scale(file["sample"])
        _write_attributes(file, layout.attributes)
        store = cls(path, file)
        store._flush()
        return store

    @classmethod
    def open(cls, path: Path, writable: bool = False) -> Self:
        """Open an existing store."""
        try:
            return cls(path, h5py.File(path, "r+" if writable else "r"))
        except (OSError, KeyError) as error:
            raise CacheError(f"no HDF5 cache can be opened ({error})", where=path) from None

    def layout(self) -> CacheLayout:
        """Return shape, labels and attributes as stored."""
        samples, layers, features = self.embeddings.shape
        texts = {attribute: self._read_texts(name) for name, attribute in TEXTS.items()}
        return CacheLayout(
            samples=samples,
            layers=layers,
            features=features,
            dtype=str(self.embeddings.dtype),
            rows_per_chunk=self.embeddings.chunks[0],
            labels=self._read("label").tolist(),
            attributes=_read_attributes(self.file),
            **texts,
        )

    def lengths(self) -> npt.NDArray[np.int64]:
        """Return the number of positions that each sample was pooled over."""
        return self._read("length")

    def write_chunk(self, index: int, block: Block) -> None:
        """Write one whole chunk; it is durable when this returns."""
        start = index * self.embeddings.chunks[0]
        self.embeddings[start : start + len(block)] = block
        self._flush()

    def read_chunk(self, index: int) -> Block:
        """Read one chunk and check its checksum."""
        start = index * self.embeddings.chunks[0]
        place = f"{self.path} chunk {index}"
        try:
            return np.asarray(self.embeddings[start : start + self.embeddings.chunks[0]])
        except OSError as error:
            raise CacheError(
                f"chunk is damaged ({error})", where=place, remedy="Run snakemake to extract it again."
            ) from None

    def place_of(self, index: int) -> tuple[Path, int] | None:
        """Return file and offset of a chunk's raw values; None if it is compressed, as another writer may."""
        if self.embeddings.compression is not None or self.embeddings.shuffle:
            return None
        return self.path, self.embeddings.id.get_chunk_info(index).byte_offset

    def write_summary(self, lengths: npt.NDArray[np.int64], attributes: dict[str, Any]) -> None:
        """Write the lengths and further attributes; durable when it returns."""
        # HDF5 places new attributes by what its session did before: a fresh one gives equal files.
        self.file.close()
        self.file = h5py.File(self.path, "r+")
        self.embeddings = self.file["embeddings"]
        self.file["length"][:] = lengths
        _write_attributes(self.file, attributes)
        self._flush()

    def close(self) -> None:
        """Close the file."""
        self.file.close()

    def _read(self, name: str) -> npt.NDArray[Any]:
        try:
            return np.asarray(self.file[name][:])
        except (KeyError, OSError) as error:
            raise CacheError(f"{name} is damaged ({error})", where=self.path) from None

    def _read_texts(self, name: str) -> list[str]:
        return [text.decode() for text in self._read(name)]

    def _flush(self) -> None:
        self.file.flush()
        sync(self.path)


def _write_attributes(file: h5py.File, attributes: dict[str, Any]) -> None:
    for name, value in attributes.items():
        file.attrs[name] = value if isinstance(value, str | int | float) else json.dumps(value)


def _read_attributes(file: h5py.File) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, value in file.attrs.items():
        text = isinstance(value, str) and value[:1] in {"[", "{"}
        found[name] = json.loads(value) if text else getattr(value, "item", lambda v=value: v)()
    return found
