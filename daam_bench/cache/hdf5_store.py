"""HDF5: one file, the same chunks, fletcher32 checksums, dimension scales for xarray."""

import ctypes
import json
import math
from functools import cache
from pathlib import Path
from typing import Any, Self

import h5py
import numpy as np
import numpy.typing as npt

from daam_bench.cache.places import sync
from daam_bench.cache.store import REPAIR, TEXTS, Block, CacheLayout, EmbeddingStore, reading, writing
from daam_bench.cache.structure import restore_structure, save_structure
from daam_bench.errors import CacheError

_FLETCHER32 = [h5py.h5z.FILTER_FLETCHER32]
# A text as it lies in an array: its length, and where it is, which several texts may have in common.
_TEXT = np.dtype([("length", "<u4"), ("address", "<u8"), ("index", "<u4")])
_MOST_ATTRIBUTES = 100


class Hdf5Store(EmbeddingStore):
    """An HDF5 file; attributes that are lists or mappings are stored as JSON."""

    def __init__(self, path: Path, file: h5py.File) -> None:
        super().__init__(path)
        self.file = file
        self.embeddings: h5py.Dataset = self._array("embeddings")

    @classmethod
    def create(cls, path: Path, layout: CacheLayout) -> Self:
        """Create an empty store, open for writing; it is durable when this returns."""
        with writing(path):
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
            numbers = {
                "label": np.asarray(layout.labels, dtype=np.int64),
                "length": np.full(layout.samples, -1, dtype=np.int64),
                "layer": np.arange(1, layout.layers + 1),
                "feature": np.arange(layout.features),
            }
            # Held until all is flushed: what closing an array cannot write is lost without an error.
            _held = [
                *(
                    file.create_dataset(name, data=getattr(layout, attribute), dtype=h5py.string_dtype())
                    for name, attribute in TEXTS.items()
                ),
                *(file.create_dataset(name, data=data, fletcher32=True) for name, data in numbers.items()),
            ]
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
        if writable:
            cls.recover(path)
        with reading("no HDF5 cache can be opened", path):
            file = h5py.File(path, "r+" if writable else "r")
            try:
                return cls(path, file)
            except BaseException:
                file.close()
                raise

    @classmethod
    def recover(cls, path: Path) -> None:
        """Put back the structure of a file whose writer was killed while it wrote the summary."""
        if (copy := _copy_of(path)).exists():
            restore_structure(path, copy)
            copy.unlink()

    def layout(self) -> CacheLayout:
        """Return shape, labels and attributes as stored."""
        with reading("embeddings are damaged", self.path):
            samples, layers, features = self.embeddings.shape
            rows = self.embeddings.chunks[0]
        texts = {attribute: self._read_texts(name) for name, attribute in TEXTS.items()}
        return CacheLayout(
            samples=samples,
            layers=layers,
            features=features,
            dtype=str(self.embeddings.dtype),
            rows_per_chunk=rows,
            labels=self._read("label").tolist(),
            attributes=self.attributes(),
            **texts,
        )

    def attributes(self) -> dict[str, Any]:
        """Return the attributes as stored.

        Raises:
            CacheError: if they are none of a cache.
        """
        found: dict[str, Any] = {}
        with reading("attributes are damaged", self.path):
            attributes, left = self.file.attrs, self.path.stat().st_size
            if len(attributes) > _MOST_ATTRIBUTES:
                raise CacheError("too many attributes", where=self.path, found=len(attributes))
            for name in attributes:
                if attributes.get_id(name).shape != ():
                    raise CacheError("an attribute is no single value", where=self.path, found=name)
                value = attributes[name]
                left -= len(value) if isinstance(value, str | bytes) else 8
                if left < 0:
                    raise CacheError("attributes take more than the file has", where=self.path)
                text = isinstance(value, str) and value[:1] in {"[", "{"}
                found[name] = json.loads(value) if text else getattr(value, "item", lambda v=value: v)()
        return found

    def declared_bytes(self) -> int:
        """Return the size that the values would have, as the store declares it, without reading any.

        Raises:
            CacheError: if arrays are not stored as this class stores them, or are of different lengths.
        """
        with reading("an array is damaged", self.path):
            for name in ("label", "length", *TEXTS):
                if self._array(name).shape != self.embeddings.shape[:1]:
                    raise CacheError("arrays of different lengths", where=self.path, found=name)
            return int(math.prod(self.embeddings.shape)) * int(self.embeddings.dtype.itemsize)

    def value_places(self) -> list[tuple[int, int]]:
        """Return (offset, size) in bytes of all chunks in the file."""
        chunks = self.embeddings.id
        found = [chunks.get_chunk_info(index) for index in range(chunks.get_num_chunks())]
        return [(info.byte_offset, info.size) for info in found]

    def lengths(self) -> npt.NDArray[np.int64]:
        """Return the number of positions that each sample was pooled over."""
        return self._read("length")

    def write_chunk(self, index: int, block: Block) -> None:
        """Write one whole chunk; it is durable when this returns."""
        start = index * self.embeddings.chunks[0]
        with writing(self.path):
            # Past the buffers of HDF5: they read an unfilled chunk first, which may be damaged.
            self.embeddings.id.write_direct_chunk((start, 0, 0), _chunk_bytes(self.embeddings, block))
            self._flush()

    def read_chunk(self, index: int) -> Block:
        """Read one chunk and check its checksum."""
        start = index * self.embeddings.chunks[0]
        place = f"{self.path} chunk {index}"
        with reading("chunk is damaged", place, REPAIR):
            return np.asarray(self.embeddings[start : start + self.embeddings.chunks[0]])

    def place_of(self, index: int) -> tuple[Path, int] | None:
        """Return file and offset of a chunk's raw values."""
        with reading(f"chunk {index} is missing", self.path, REPAIR):
            # By its first sample: counted in the file, chunks that are not there would be left out.
            info = self.embeddings.id.get_chunk_info_by_coord((index * self.embeddings.chunks[0], 0, 0))
            return self.path, int(info.byte_offset)

    def write_summary(self, lengths: npt.NDArray[np.int64] | None, attributes: dict[str, Any]) -> None:
        """Write attributes and, once all chunks are there, the lengths; durable when it returns."""
        with writing(self.path):
            # HDF5 places new attributes by what its session did before: a fresh one gives equal files.
            places = self.value_places()
            self.close()
            # New attributes change the file in several places: killed between, it could not be opened again.
            save_structure(self.path, places, _copy_of(self.path))
            self.file = h5py.File(self.path, "r+")
            self.embeddings = self._array("embeddings")
            length = self._array("length")  # held until all is flushed, as in `create`
            try:
                if lengths is not None:
                    length[:] = lengths
                _write_attributes(self.file, attributes)
                self._flush()
            except BaseException:
                _never_let_go_of(self.file, self.embeddings, length)
                raise
            _copy_of(self.path).unlink()

    def close(self) -> None:
        """Close the file."""
        try:
            with writing(self.path):
                self.file.close()
        except BaseException:
            _never_let_go_of(self.file, self.embeddings)
            raise

    def _read(self, name: str) -> npt.NDArray[Any]:
        with reading(f"{name} is damaged", self.path):
            return np.asarray(self._array(name)[:])

    def _read_texts(self, name: str) -> list[str]:
        with reading(f"{name} is damaged", self.path):
            self._check_sizes_of_texts(name)
            return [text.decode() for text in self._read(name)]

    def _check_sizes_of_texts(self, name: str) -> None:
        """Check that texts take no more than the file has: many may lie in one place, and each is copied."""
        array, most = self._array(name), self.path.stat().st_size
        if array.size == 0:
            return
        places = np.fromfile(self.path, _TEXT, array.shape[0], offset=array.id.get_offset())
        if len(places) != array.shape[0] or int(places["length"].sum(dtype=np.int64)) > most:
            raise CacheError("it has more text than it can hold", where=self.path, found=name)

    def _array(self, name: str) -> h5py.Dataset:
        """Return an array if it is stored as this class does it; a stranger's filters may allocate anything.

        Raises:
            CacheError: if it is not.
        """
        link = self.file.get(name, getlink=True)
        # A link into another file is not followed.
        array = self.file[name] if isinstance(link, h5py.HardLink) else None
        if not isinstance(array, h5py.Dataset) or array.external is not None or array.is_virtual:
            raise CacheError("an array lies in another file, or is none", where=self.path, found=name)
        if not _is_stored_as_here(array, name) or self.file.userblock_size:
            raise CacheError(
                f"{name} is not stored as in a cache",
                where=self.path,
                expected="the type, chunks and filters of docs/cache.md",
                found=f"{array.dtype}, chunks {array.chunks}, {_filters(array) or 'no'} filters",
            )
        return array

    def _flush(self) -> None:
        self.file.flush()
        sync(self.path)


@cache
def _leave_without_hdf5() -> None:
    """Let the process end before HDF5's last work in it, where the C library can: glibc."""
    libc = ctypes.CDLL(None)
    if hasattr(libc, "on_exit"):
        libc.on_exit(libc._exit, None)


def _never_let_go_of(*objects: h5py.File | h5py.Dataset) -> None:
    """Keep objects of a file that could not be written, as on a full disk: letting go, HDF5 crashes."""
    for held in objects:
        ctypes.pythonapi.Py_IncRef(ctypes.py_object(held.id))
    _leave_without_hdf5()


def _is_stored_as_here(array: h5py.Dataset, name: str) -> bool:
    """Return whether an array has the type, the chunks and the filters of the ones that are written here."""
    if name in TEXTS:
        text = h5py.check_string_dtype(array.dtype)
        # None is left out: the fill value, too, may be any text.
        whole = array.id.get_storage_size() == array.size * _TEXT.itemsize
        plain = array.ndim == 1 and array.chunks is None and not _filters(array) and whole
        return plain and text is not None and (text.encoding, text.length) == ("utf-8", None)
    if _filters(array) != _FLETCHER32 or array.maxshape != array.shape:
        return False
    if name == "embeddings":
        return (
            array.dtype in {np.dtype("<f4"), np.dtype("<f2")}
            and array.ndim == 3
            and array.chunks[1:] == array.shape[1:]
        )
    return bool(array.dtype == np.dtype("<i8")) and array.ndim == 1


def _filters(array: h5py.Dataset) -> list[int]:
    properties = array.id.get_create_plist()
    return [properties.get_filter(index)[0] for index in range(properties.get_nfilters())]


def _write_attributes(file: h5py.File, attributes: dict[str, Any]) -> None:
    for name, value in attributes.items():
        file.attrs[name] = value if isinstance(value, str | int | float) else json.dumps(value)


def _copy_of(path: Path) -> Path:
    """Return where the file's structure is kept while the summary is written."""
    return path.with_name(f"{path.name}.structure")


def _chunk_bytes(like: h5py.Dataset, block: Block) -> bytes:
    """Return a chunk as it lies in the file, filled up with NaN, its checksum behind it."""
    full = np.full(like.chunks, np.nan, dtype=like.dtype)
    full[: len(block)] = block
    with h5py.File("chunk", "w", driver="core", backing_store=False) as memory:
        whole = memory.create_dataset("chunk", data=full, chunks=like.chunks, fletcher32=True)
        memory.flush()
        raw: bytes = whole.id.read_direct_chunk((0, 0, 0))[1]
    return raw
