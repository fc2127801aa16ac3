"""Read a finished cache; every chunk is verified before a value of it is used."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from daam_bench.cache.identity import CacheIdentity, digest_of_samples
from daam_bench.cache.ledger import Ledger, hash_block, ledger_path
from daam_bench.cache.manifest import MANIFEST, find_manifest, read_manifest, store_of
from daam_bench.cache.places import asides, is_remote
from daam_bench.cache.store import (
    Block,
    CacheLayout,
    EmbeddingStore,
    format_of,
    reading,
    size_on_disk,
    store_class,
)
from daam_bench.cache.structure import check_structure
from daam_bench.errors import CacheError

_REMEDY = "Delete the manifest and run `snakemake cache`: nothing that is whole is computed again."


class EmbeddingCache:
    """A finished cache; where its manifest lies beside it, the two must agree.

    Attributes:
        path: the store.
        layout: shape, labels and attributes.
        lengths: number of positions each sample was pooled over, [sample]; -1 for quarantined samples.
        identity: what determines the numbers.
        committed: sha256 of each chunk by its number, from the manifest, or else from the ledger.

    Raises:
        CacheError: if it is not complete, or labels or attributes are not what was committed.
    """

    def __init__(self, path: Path, store: EmbeddingStore, manifest: dict[str, Any] | None = None) -> None:
        self.path, self._store = path, store
        store.refuse_absurd()
        self.layout: CacheLayout = store.layout()
        attributes = self.layout.attributes
        if attributes.get("complete") != 1:
            raise CacheError("the cache is not complete", where=path, remedy="Run snakemake; it goes on.")
        self.identity = CacheIdentity.of_attributes(attributes, path)
        with reading("class_names or quarantined are damaged", path):
            self._class_names = [str(name) for name in attributes["class_names"]]
            self._quarantined = {str(k): str(v) for k, v in attributes["quarantined"].items()}
        if digest_of_samples(self.layout) != self.identity.samples:
            raise CacheError(
                "sample ids, labels, groups, splits or contents were changed",
                where=path,
                remedy=f"`daam-bench cache repair {path.parent}` restores them.",
            )
        self.lengths = store.lengths()
        manifest = manifest or _manifest_of(path)
        if manifest is None:
            self.committed = {i: entry.sha256 for i, entry in Ledger(ledger_path(path)).read().items()}
        else:
            with reading("it cannot be compared with its manifest", path):
                self._compare(manifest)
                self.committed = dict(enumerate(manifest["chunk_sha256"]))
            if len(self.committed) != self.layout.chunks:
                raise CacheError("the manifest lacks chunks", where=path, remedy=_REMEDY)

    @property
    def class_names(self) -> list[str]:
        """Class names; a label is an index into them."""
        return list(self._class_names)

    @property
    def quarantined(self) -> dict[str, str]:
        """Reason by sample id, of samples that have no result."""
        return dict(self._quarantined)

    def chunk(self, index: int) -> Block:
        """Read one chunk [row, layer, feature] and verify it by the store's checksum and by its sha256.

        Raises:
            CacheError: if it is missing or damaged.
        """
        block = self._store.read_chunk(index)
        expected = self.committed.get(index)
        if expected is not None and hash_block(block) != expected:
            raise CacheError(
                f"chunk {index} is not what was committed",
                where=self.path,
                expected=f"sha256 {expected}",
                remedy=f"`daam-bench cache repair {self.path.parent}` extracts only what is bad.",
            )
        return block

    def place_of(self, index: int) -> tuple[Path, int] | None:
        """Return file and offset of a chunk's raw values; None where they do not lie raw in one piece."""
        return self._store.place_of(index)

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

    def _compare(self, manifest: dict[str, Any]) -> None:
        found = {
            "digest": self.identity.digest,
            "shape": list(self.layout.shape),
            "dtype": self.layout.dtype,
            "quarantined": self.layout.attributes.get("quarantined"),
            **{key: self.layout.attributes.get(key) for key in manifest["attributes"]},
        }
        wanted = {**{key: manifest[key] for key in found if key in manifest}, **manifest["attributes"]}
        for key, value in wanted.items():
            if found[key] != value:
                raise CacheError(
                    f"{key} is not what was committed",
                    where=self.path,
                    expected=value,
                    found=found[key],
                    remedy=f"`daam-bench cache repair {self.path.parent}` restores it.",
                )


def _manifest_of(path: Path) -> dict[str, Any] | None:
    manifest = path.parent / MANIFEST
    facts = read_manifest(manifest) if manifest.exists() else None
    return facts if facts is not None and facts["store"] == path.name else None


def _refuse_missing(path: Path) -> None:
    """Say what became of a store that a manifest names, if it is not there."""
    if not path.exists():
        interrupted = bool(asides(path))
        raise CacheError(
            "a repair of the store was interrupted" if interrupted else "the store is missing",
            where=path,
            remedy=f"`daam-bench cache repair {path.parent}` goes on with it."
            if interrupted
            else f"`daam-bench cache repair {path.parent}` makes it again.",
        )


def open_cache(path: Path) -> EmbeddingCache:
    """Open a finished cache by its store, its manifest, or the folder of one.

    Raises:
        CacheError: if there is none, or it is damaged or not complete.
        MachineError: if the machine cannot read it.
    """
    facts = None
    if not (format_of(path) and path.exists()):
        manifest = find_manifest(path)
        facts = read_manifest(manifest)
        path = store_of(manifest, facts)
        _refuse_missing(path)
    if not is_remote(path) and path.exists():
        size_on_disk(path)  # before anything is read: there are files and folders alone
    found = facts or _manifest_of(path)
    if found is not None and "structure" in found and not is_remote(path):
        check_structure(path, found["structure"])  # before a library parses what may be damaged
    store = store_class(format_of(path) or "zarr").open(path)
    try:
        return EmbeddingCache(path, store, facts)
    except BaseException:
        store.close()  # HDF5 opens no file for writing that is still open for reading
        raise
