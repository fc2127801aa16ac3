"""Zarr v3: one chunk is one file of raw values with a crc32c at its end."""

from pathlib import Path
from typing import Any, Self, cast

import numpy as np
import numpy.typing as npt
import zarr
from zarr.codecs import BytesCodec, Crc32cCodec
from zarr.dtype import VariableLengthUTF8

from daam_bench.cache.places import is_remote, storage_options, sync
from daam_bench.cache.store import TEXTS, Block, CacheLayout, EmbeddingStore, reading
from daam_bench.errors import CacheError

_CHECKED: dict[str, Any] = {"serializer": BytesCodec(), "compressors": Crc32cCodec()}


class ZarrStore(EmbeddingStore):
    """A Zarr v3 group."""

    def __init__(self, path: Path, group: zarr.Group) -> None:
        super().__init__(path)
        self.group = group
        # A chunk of quarantined samples alone is all NaN, the fill value, and must be written all the same.
        embeddings = cast("zarr.Array[Any]", group["embeddings"])
        self.embeddings = embeddings.with_config({"write_empty_chunks": True})

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
            return cls(path, zarr.open_group(**_where(path), mode="r+" if writable else "r", zarr_format=3))

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
            attributes=dict(self.group.attrs),
            **texts,
        )

    def declared_bytes(self) -> int:
        """Return the size that the values would have, as the store declares it, without reading any."""
        with reading("an array is damaged", self.path):
            arrays = [cast("zarr.Array[Any]", self.group[name]) for name in (*TEXTS, "label", "length")]
            if any(array.shape != self.embeddings.shape[:1] for array in arrays):
                raise CacheError("arrays of different lengths", where=self.path)
            return max(self.embeddings.nbytes, int(np.prod(self.embeddings.chunks)) * 2)

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
        if not file.exists():
            raise CacheError(
                f"chunk {index} is missing", where=file, remedy="Run snakemake to extract it again."
            )
        start = index * self.embeddings.chunks[0]
        with reading(f"chunk {index} is damaged", file, "Run snakemake to extract it again."):
            return np.asarray(self.embeddings[start : start + self.embeddings.chunks[0]])

    def place_of(self, index: int) -> tuple[Path, int] | None:
        """Return file and offset of a chunk's raw values; None if it is remote, or compressed."""
        codecs = [type(codec) for codec in self.embeddings.metadata.codecs]  # type: ignore[union-attr]
        raw = codecs == [BytesCodec, Crc32cCodec] and not is_remote(self.path)
        return (self._chunk_file(index), 0) if raw else None

    def write_summary(self, lengths: npt.NDArray[np.int64] | None, attributes: dict[str, Any]) -> None:
        """Write attributes and, once all chunks are there, the lengths; durable when it returns."""
        _remove_leftovers(self.path, self.path / "length", self.path / "length" / "c")
        if lengths is not None:
            cast("zarr.Array[Any]", self.group["length"])[:] = lengths
        self.group.attrs.update(attributes)
        _sync_all(self.path / "length")
        for part in (self.path / "zarr.json", self.path):
            sync(part)

    def close(self) -> None:
        """Nothing stays open."""

    def _read(self, name: str) -> npt.NDArray[Any]:
        with reading(f"{name} is damaged", self.path):
            return np.asarray(cast("zarr.Array[Any]", self.group[name])[:])

    def _chunk_file(self, index: int) -> Path:
        return self.path / "embeddings" / "c" / str(index) / "0" / "0"


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
