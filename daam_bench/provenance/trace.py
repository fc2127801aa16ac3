"""From a number of a table to the records that it is made of, and what they were computed from."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from daam_bench.cache.manifest import MANIFEST, read_manifest
from daam_bench.errors import DaamBenchError, RecordError
from daam_bench.provenance.address import Cell
from daam_bench.records import FINISHED, RunRecord, read_records

# Columns that compare with every variant of the cache, or with one baseline.
_AGAINST_ALL = ("best", "holm")
_AGAINST = {"gain_over_majority": "majority", "gain_over_best_single_layer": "best_single_layer"}


@dataclass(frozen=True)
class Trace:
    """What a number is made of.

    Attributes:
        cell: the number.
        records: file and record of each replica, in order.
        folders: variant folders of the cell's caches, in order.
        caches: facts of each cache by "dataset x encoder".
        notes: what a reader must know, such as a cache that was replaced since.
    """

    cell: Cell
    records: list[tuple[Path, RunRecord]]
    folders: list[Path]
    caches: dict[str, dict[str, Any]]
    notes: list[str]


def trace_cell(cell: Cell, results: Path) -> Trace:
    """Return the records behind a number and the caches behind them.

    Raises:
        RecordError: if no record, or a damaged one, is behind it.
    """
    keys = cell.keys
    pattern = f"{keys.get('dataset', '*')}/{keys.get('encoder', '*')}/*/{FINISHED}"
    folders = sorted(path.parent for path in (results / "runs").glob(pattern))
    wanted = _variants_of(cell, folders)
    records = [
        (folder / f"{record.stem}.json", record)
        for folder in folders
        if folder.name in wanted
        for record in read_records(folder)
        if _is_meant(record, keys, folder.name)
    ]
    if not records:
        raise RecordError(
            "no finished records are behind this number",
            where=results / "runs",
            expected=pattern,
            remedy="--results names the folder of results that the table belongs to.",
        )
    caches, notes = _caches_of([record for _, record in records], results)
    return Trace(cell, records, folders, caches, notes)


def _variants_of(cell: Cell, folders: list[Path]) -> set[str]:
    every = {folder.name for folder in folders}
    baselines = {name for start, name in _AGAINST.items() if cell.column.startswith(start)}
    compares_all = not baselines and any(word in cell.column for word in _AGAINST_ALL)
    if "variant" not in cell.keys or compares_all:
        return every
    return baselines | {cell.keys["variant"], cell.keys.get("against", cell.keys["variant"])}


def _is_meant(record: RunRecord, keys: dict[str, str], variant: str) -> bool:
    """Whether a record is of the cell's fold and seed; a baseline stands for every seed."""
    if "fold" in keys and str(record.fold) != keys["fold"]:
        return False
    return "seed" not in keys or record.kind == "baseline" or str(record.seed) == keys["seed"]


def _caches_of(records: list[RunRecord], results: Path) -> tuple[dict[str, dict[str, Any]], list[str]]:
    caches: dict[str, dict[str, Any]] = {}
    notes = []
    for record in records:
        name = f"{record.dataset} x {record.encoder}"
        folder = results / "embeddings" / record.dataset / record.encoder
        if name not in caches:
            try:
                facts = read_manifest(folder / MANIFEST)
            except DaamBenchError as error:
                notes.append(f"the cache of {name} is not here: {error.what}")
                facts = {}
            caches[name] = {"folder": str(folder), "identity": record.cache_identity} | {
                key: facts[key] for key in ("shape", "dtype", "measurements") if key in facts
            }
            if facts and facts["digest"] != record.cache_identity:
                notes.append(f"the cache of {name} was replaced since: it is {facts['digest'][:12]} now")
            elif facts:
                caches[name] |= {"made_from": facts["identity"], "spec": facts.get("spec", {})}
    return caches, notes


def common_facts(records: list[RunRecord]) -> tuple[dict[str, Any], dict[str, list[Any]]]:
    """Return settings that all records share, and the values of those in which they differ, by name."""
    flat = [flatten(facts_of(record)) for record in records]
    names = list(dict.fromkeys(name for facts in flat for name in facts))
    values = {name: [facts.get(name) for facts in flat] for name in names}
    unique = {
        name: list({json.dumps(v, sort_keys=True): v for v in vs}.values()) for name, vs in values.items()
    }
    same = {name: found[0] for name, found in unique.items() if len(found) == 1}
    return same, {name: found for name, found in unique.items() if len(found) > 1}


def facts_of(record: RunRecord) -> dict[str, Any]:
    """Return everything that determines a record's number, and what it was computed with."""
    spec = {k: v for k, v in record.spec.items() if k not in ("dataset", "encoder", "variant")}
    settings = {"protocol": record.protocol, "training": record.training} | spec
    return settings | {"cache_identity": record.cache_identity, "environment": record.environment}


def flatten(facts: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """Return nested mappings as one, names joined by dots."""
    flat: dict[str, Any] = {}
    for key, value in facts.items():
        if isinstance(value, dict):
            flat |= flatten(value, f"{prefix}{key}.")
        else:
            flat[f"{prefix}{key}"] = value
    return flat
