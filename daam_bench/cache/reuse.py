"""Rows that an older cache of the same encoder already has: appended samples cost only their own forwards."""

import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import numpy as np
import numpy.typing as npt
import pandas as pd

from daam_bench.cache.identity import CacheIdentity, digest_of_samples
from daam_bench.cache.ledger import Ledger, LedgerEntry, hash_block, ledger_path
from daam_bench.cache.store import Block, EmbeddingStore, format_of, size_on_disk, store_class
from daam_bench.errors import CacheError


@dataclass(frozen=True)
class _Place:
    store: EmbeddingStore
    entry: LedgerEntry
    row: int


class ReusableRows:
    """Committed rows of the other stores in a folder, by the content of their samples.

    Only stores whose numbers came about in the same way count: same encoder (weights, processor, pooling,
    precision), same stored precision, same schema. Every chunk is verified by its ledger before use.

    Use it as a context manager: it holds the stores open.

    Args:
        store: the one to be filled; it is left out.
        identity: of the cache to be filled.
        look: whether any rows are wanted; else no store is opened.
    """

    def __init__(self, store: Path, identity: CacheIdentity, look: bool = True) -> None:
        self._places: dict[str, _Place] = {}
        self._last: tuple[EmbeddingStore, int, Block] | None = None
        self._stores: list[EmbeddingStore] = []
        for path in sorted(store.parent.glob("*")) if look else ():
            if format_of(path) is not None and path.name != store.name and not path.name.startswith("."):
                self._add(path, identity)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for store in self._stores:
            store.close()

    def __contains__(self, content: str) -> bool:
        return content in self._places

    def are_among(self, contents: pd.Series) -> npt.NDArray[np.bool_]:
        """Return of which contents there are rows."""
        return contents.isin([*self._places]).to_numpy()

    def row(self, content: str) -> tuple[Block, int] | None:
        """Return values [layer, feature] and length of a sample's content; None if they are damaged."""
        place = self._places[content]
        index = place.entry.chunk
        if self._last is None or self._last[:2] != (place.store, index):
            try:
                block = place.store.read_chunk(index)
            except CacheError as error:
                logging.warning("not reused: %s", error)
                return None
            if hash_block(block) != place.entry.sha256:
                return None
            self._last = (place.store, index, block)
        return self._last[2][place.row], place.entry.lengths[place.row]

    def _add(self, path: Path, identity: CacheIdentity) -> None:
        try:
            size_on_disk(path)
            store = store_class(format_of(path) or "").open(path)
            self._stores.append(store)
            store.refuse_absurd()
            layout = store.layout()
            found = CacheIdentity.of_attributes(layout.attributes, path)
            if digest_of_samples(layout) != found.samples:
                raise CacheError("its samples are not what was committed", where=path)
        except CacheError as error:
            logging.warning("not reused: %s", error)
            return
        if differences := identity.differences(found):
            logging.warning("%s is of something else: %s", path, "; ".join(differences))
        alike = ("schema_version", "encoder", "stored_dtype")
        if any(getattr(found, field) != getattr(identity, field) for field in alike):
            return
        for entry in Ledger(ledger_path(path)).read().values():
            contents = layout.contents[layout.rows_of(entry.chunk)]
            for row, (content, length) in enumerate(zip(contents, entry.lengths, strict=False)):
                if length >= 0:
                    self._places.setdefault(content, _Place(store, entry, row))


def fill_from(rows: ReusableRows, contents: list[str], block: Block, lengths: np.ndarray) -> list[int]:
    """Copy what can be reused into `block` and `lengths`; return the rows that are still to be computed."""
    missing = []
    for index, content in enumerate(contents):
        found = rows.row(content) if content in rows else None
        if found is None:
            missing.append(index)
        else:
            block[index], lengths[index] = found
    return missing
