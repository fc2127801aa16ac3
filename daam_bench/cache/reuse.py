"""Rows that an older cache of the same encoder already has: appended samples cost only their own forwards."""

import logging
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from daam_bench.cache.identity import CacheIdentity
from daam_bench.cache.ledger import Ledger, LedgerEntry, hash_block, ledger_path
from daam_bench.cache.store import Block, EmbeddingStore, format_of, store_class
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

    Args:
        folder: where stores lie.
        identity: of the cache to be filled.
    """

    def __init__(self, folder: Path, identity: CacheIdentity) -> None:
        self._places: dict[str, _Place] = {}
        self._last: tuple[EmbeddingStore, int, Block] | None = None
        for path in sorted(folder.glob("*")):
            if format_of(path) is not None and not path.name.startswith((".", identity.digest[:12])):
                self._add(path, identity)

    def __contains__(self, content: str) -> bool:
        return content in self._places

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

    def close(self) -> None:
        """Release the stores."""
        for store in {id(place.store): place.store for place in self._places.values()}.values():
            store.close()

    def _add(self, path: Path, identity: CacheIdentity) -> None:
        try:
            store = store_class(format_of(path) or "").open(path)
            layout = store.layout()
            found = CacheIdentity.of_attributes(layout.attributes, path)
        except CacheError as error:
            logging.warning("not reused: %s", error)
            return
        alike = ("schema_version", "encoder", "stored_dtype")
        if any(getattr(found, field) != getattr(identity, field) for field in alike):
            store.close()
            return
        for entry in Ledger(ledger_path(path)).read().values():
            for row, content in enumerate(layout.contents[layout.rows_of(entry.chunk)]):
                if entry.lengths[row] >= 0:
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
