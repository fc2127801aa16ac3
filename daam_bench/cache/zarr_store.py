"""Zarr v3: one chunk is one file of raw values with a crc32c at its end."""

import json
import math
import struct
from pathlib import Path
from typing import Any, Self, cast

import numpy as np
import numpy.typing as npt
import zarr
from zarr.codecs import BytesCodec, Crc32cCodec
from zarr.dtype import VariableLengthUTF8

from daam_bench.cache.places import head_of, is_remote, storage_options, sync
from daam_bench.cache.store import REPAIR, TEXTS, Block, CacheLayout, EmbeddingStore, reading
from daam_bench.errors import CacheError

_CHECKED: dict[str, Any] = {"serializer": BytesCodec(), "compressors": Crc32cCodec()}

_NUMBERS = [{"name": "bytes", "configuration": {"endian": "little"}}, {"name": "crc32c"}]
_STRINGS = [{"name": "vlen-utf8", "configuration": {}}, {"name": "crc32c"}]
# What the metadata of each array that is read must say: a stranger's codecs may start or allocate anything.
_REQUIRED: dict[str, dict[str, Any]] = {
    "embeddings": {"data_type": ("float32", "float16"), "codecs": _NUMBERS, "fill_value": "NaN"},
    **{key: {"data_type": ("int64",), "codecs": _NUMBERS, "fill_value": 0} for key in ("label", "length")},
    **{key: {"data_type": ("string",), "codecs": _STRINGS, "fill_value": ""} for key in TEXTS},
}


class ZarrStore(EmbeddingStore):
    """A Zarr v3 group."""

    def __init__(self, path: Path, group: zarr.Group) -> None:
        super().__init__(path)
        self.group = group
        self._arrays: dict[str, zarr.Array[Any]] = {}
        # A chunk of quarantined samples alone is all NaN, the fill value, and must be written all the same.
        self.embeddings = self._array("embeddings").with_config({"write_empty_chunks": True})

    @classmethod
    def create(cls, path: Path, layout: CacheLayout) -> Self:
        """Create an empty store, open for writing; it is durable when this returns."""
        group = zarr.create_group(**_where(path), zarr_format=3, attributes=layout.attributes)
        group.create_array(
            "embeddings",
            shape=layout.shape,
            chunks=(layout.rows_per_chunk, layout.layers, layout.features),
            dtype=layout.dtype,
            fill_value=np.nan,
            dimension_names=("sample", "layer", "feature"),
            attributes={"coordinates": "label split group content length"},
            **_CHECKED,
        )
        for name, attribute in TEXTS.items():
            array = group.create_array(
                name,
                shape=(layout.samples,),
                dtype=VariableLengthUTF8(),  # type: ignore[arg-type]
                dimension_names=("sample",),
                compressors=Crc32cCodec(),
            )
            array[:] = np.array(getattr(layout, attribute), dtype=np.dtypes.StringDType())
        numbers: dict[str, tuple[str, Any]] = {"label": ("sample", layout.labels)}
        numbers["layer"] = ("layer", range(1, layout.layers + 1))
        numbers["feature"] = ("feature", range(layout.features))
        numbers["length"] = ("sample", [-1] * layout.samples)
        for name, (dimension, values) in numbers.items():
            data = np.asarray(values, dtype=np.int64)
            group.create_array(name, data=data, dimension_names=(dimension,), **_CHECKED)
        _sync_all(path)
        return cls(path, group)

    @classmethod
    def open(cls, path: Path, writable: bool = False) -> Self:
        """Open an existing store."""
        with reading("no Zarr cache can be opened", path):
            # Consolidated metadata may name arrays of Zarr 2, with any filters.
            options: dict[str, Any] = {"zarr_format": 3, "use_consolidated": False}
            return cls(path, zarr.open_group(**_where(path), mode="r+" if writable else "r", **options))

    def layout(self) -> CacheLayout:
        """Return shape, labels and attributes as stored."""
        with reading("embeddings are damaged", self.path):
            samples, layers, features = self.embeddings.shape
        texts = {attribute: self._read(name).tolist() for name, attribute in TEXTS.items()}
        return CacheLayout(
            samples=samples,
            layers=layers,
            features=features,
            dtype=str(self.embeddings.dtype),
            rows_per_chunk=self.embeddings.chunks[0],
            labels=self._read("label").tolist(),
            attributes=self.attributes(),
            **texts,
        )

    def attributes(self) -> dict[str, Any]:
        """Return the attributes as stored."""
        return dict(self.group.attrs)

    def declared_bytes(self) -> int:
        """Return the size that the values would have, as the store declares it, without reading any."""
        with reading("an array is damaged", self.path):
            arrays = [self._array(name) for name in (*TEXTS, "label", "length")]
            if any(array.shape != self.embeddings.shape[:1] for array in arrays):
                raise CacheError("arrays of different lengths", where=self.path)
            size = self.embeddings.dtype.itemsize
            return max(math.prod(self.embeddings.shape), math.prod(self.embeddings.chunks)) * size

    def lengths(self) -> npt.NDArray[np.int64]:
        """Return the number of positions that each sample was pooled over."""
        return self._read("length")

    def write_chunk(self, index: int, block: Block) -> None:
        """Write one whole chunk; it is durable when this returns."""
        start = index * self.embeddings.chunks[0]
        file = self._chunk_file(index)
        _remove_leftovers(file.parent)
        self.embeddings[start : start + len(block)] = block
        for path in (file, file.parent, file.parent.parent, file.parent.parent.parent):
            sync(path)

    def read_chunk(self, index: int) -> Block:
        """Read one chunk and check its checksum."""
        file = self._chunk_file(index)
        start = index * self.embeddings.chunks[0]
        with reading(f"chunk {index} is damaged", file, REPAIR):
            if not head_of(file, 1):
                raise CacheError(f"chunk {index} is missing", where=file, remedy=REPAIR)
            return np.asarray(self.embeddings[start : start + self.embeddings.chunks[0]])

    def place_of(self, index: int) -> tuple[Path, int] | None:
        """Return file and offset of a chunk's raw values; None if it is remote."""
        return None if is_remote(self.path) else (self._chunk_file(index), 0)

    def write_summary(self, lengths: npt.NDArray[np.int64] | None, attributes: dict[str, Any]) -> None:
        """Write attributes and, once all chunks are there, the lengths; durable when it returns."""
        _remove_leftovers(self.path, self.path / "length", self.path / "length" / "c")
        if lengths is not None:
            self._array("length")[:] = lengths
        self.group.attrs.update(attributes)
        _sync_all(self.path / "length")
        for part in (self.path / "zarr.json", self.path):
            sync(part)

    def close(self) -> None:
        """Nothing stays open."""

    def _read(self, name: str) -> npt.NDArray[Any]:
        with reading(f"{name} is damaged", self.path):
            array = self._array(name)
            if name in TEXTS:
                self._check_numbers_of_texts(name, array)
            return np.asarray(array[:])

    def _array(self, name: str) -> "zarr.Array[Any]":
        """Return an array if it is stored as this class stores it.

        Raises:
            CacheError: if it is not.
        """
        if name not in self._arrays:
            with reading(f"{name} cannot be opened", self.path):
                array = cast("zarr.Array[Any]", self.group[name])
                _check_metadata(array, name, self.path)
            self._arrays[name] = array
        return self._arrays[name]

    def _check_numbers_of_texts(self, name: str, array: "zarr.Array[Any]") -> None:
        """Check how many texts each chunk says that it holds: the codec makes room for them at once."""
        (rows,) = array.chunks
        for index in range(-(-array.shape[0] // rows)):
            head = head_of(self.path / name / "c" / str(index), 4)
            if head and struct.unpack("<I", head) != (rows,):
                raise CacheError("a chunk of texts has another number of them", where=self.path, found=name)

    def _chunk_file(self, index: int) -> Path:
        return self.path / "embeddings" / "c" / str(index) / "0" / "0"


def _check_metadata(array: Any, name: str, where: Path) -> None:
    found = json.loads(json.dumps(array.metadata.to_dict()))
    wanted = {
        **_REQUIRED[name],
        "zarr_format": 3,
        "storage_transformers": [],
        "chunk_key_encoding": {"name": "default", "configuration": {"separator": "/"}},
    }
    types = wanted.pop("data_type")
    wanted["data_type"] = found["data_type"] if found["data_type"] in types else " or ".join(types)
    for key, value in wanted.items():
        if (there := found.get(key)) != value:
            raise CacheError(f"{key} of {name} is none of a cache", where=where, expected=value, found=there)
    shape, chunks = list(array.shape), found["chunk_grid"]["configuration"]["chunk_shape"]
    whole = chunks[1:] == shape[1:] if name == "embeddings" else chunks[0] <= max(1, shape[0])
    if len(shape) != (3 if name == "embeddings" else 1) or not whole:
        raise CacheError(f"chunks of {name} are none of a cache", where=where, found=f"{chunks} of {shape}")


def _where(path: Path) -> dict[str, Any]:
    """Return how zarr is told of a place."""
    if is_remote(path):
        return {"store": str(path), "storage_options": storage_options(path)}
    return {"store": path}


def _sync_all(folder: Path) -> None:
    if not is_remote(folder):
        for file in [*folder.rglob("*"), folder]:
            sync(file)


def _remove_leftovers(*folders: Path) -> None:
    """Remove what zarr wrote but did not rename before its process was killed."""
    for folder in folders:
        for file in () if is_remote(folder) else folder.glob("*.partial"):
            file.unlink(missing_ok=True)
