"""Read a finished cache; every chunk is verified before a value of it is used."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from daam_bench.cache.identity import CacheIdentity
from daam_bench.cache.ledger import Ledger, hash_block
from daam_bench.cache.store import Block, CacheLayout, EmbeddingStore, store_class
from daam_bench.cache.writer import ledger_path
from daam_bench.errors import CacheError

MANIFEST = "manifest.json"
_FORMAT_OF = {".zarr": "zarr", ".h5": "hdf5"}


class EmbeddingCache:
    """A finished cache.

    Attributes:
        path: the store.
        layout: shape, labels and attributes.
        lengths: number of positions each sample was pooled over, [sample]; -1 for quarantined samples.
        identity: what determines the numbers.
    """

    def __init__(self, path: Path, store: EmbeddingStore) -> None:
        self.path, self._store = path, store
        self.layout: CacheLayout = store.layout()
        attributes = self.layout.attributes
        if attributes.get("complete") != 1 or "identity" not in attributes:
            raise CacheError("the cache is not complete", where=path, remedy="Run snakemake; it goes on.")
        self.identity = CacheIdentity.model_validate(attributes["identity"])
        self.lengths = store.lengths()
        self._hashes = {i: entry.sha256 for i, entry in Ledger(ledger_path(path)).read().items()}

    @property
    def class_names(self) -> list[str]:
        """Class names; a label is an index into them."""
        return list(self.layout.attributes["class_names"])

    @property
    def quarantined(self) -> dict[str, str]:
        """Reason by sample id, of samples that have no result."""
        return dict(self.layout.attributes["quarantined"])

    def chunk(self, index: int) -> Block:
        """Read one chunk [row, layer, feature] and verify it by the store's checksum and by the ledger.

        Raises:
            CacheError: if it is missing or damaged.
        """
        block = self._store.read_chunk(index)
        expected = self._hashes.get(index)
        if expected is not None and hash_block(block) != expected:
            raise CacheError(
                f"chunk {index} is not what was committed",
                where=self.path,
                expected=f"sha256 {expected}",
                remedy="Run snakemake with --forcerun extract_embeddings: it extracts only what is bad.",
            )
        return block

    def iter_chunks(self) -> Iterator[tuple[slice, Block]]:
        """Yield rows and values of each chunk, in order."""
        for index in range(self.layout.chunks):
            yield self.layout.rows_of(index), self.chunk(index)

    def load(self) -> npt.NDArray[np.floating]:
        """Return all values, [sample, layer, feature], in the stored dtype."""
        values = np.empty(self.layout.shape, dtype=self.layout.dtype)
        for rows, block in self.iter_chunks():
            values[rows] = block
        return values


def find_store(path: Path) -> Path:
    """Return the store that a path means: itself, the one its manifest names, or the one in a folder.

    Raises:
        CacheError: if there is none.
    """
    manifest = path if path.suffix == ".json" else path / MANIFEST
    if path.suffix in _FORMAT_OF and path.exists():
        return path
    if manifest.exists():
        return manifest.parent / str(read_manifest(manifest)["store"])
    nearby = sorted(
        str(p) for p in path.parent.glob("*") if p.suffix in _FORMAT_OF or (p / MANIFEST).exists()
    )
    raise CacheError(
        "no cache here",
        where=path,
        expected="a .zarr or .h5 store, its manifest.json, or the folder of one",
        remedy=f"There is {', '.join(nearby)}." if nearby else "`snakemake cache` makes it.",
    )


def read_manifest(path: Path) -> dict[str, Any]:
    """Read the manifest of a finished cache.

    Raises:
        CacheError: if it is not one.
    """
    try:
        manifest: dict[str, Any] = json.loads(path.read_bytes())
        name = Path(manifest["store"]).name
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise CacheError(f"not the manifest of a cache ({error})", where=path) from None
    return manifest | {"store": name}


def open_cache(path: Path) -> EmbeddingCache:
    """Open a finished cache by its store, its manifest, or the folder of one.

    Raises:
        CacheError: if there is none, or it is damaged or not complete.
    """
    store = find_store(path)
    return EmbeddingCache(store, store_class(_FORMAT_OF[store.suffix]).open(store))
