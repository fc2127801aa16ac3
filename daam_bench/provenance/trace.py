"""From a number of a table to the records that it is made of, and what they were computed from."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from daam_bench.analysis.tables import Results, Run
from daam_bench.analysis.tables.made_of import read_made_of
from daam_bench.cache.manifest import MANIFEST, read_manifest
from daam_bench.errors import DaamBenchError
from daam_bench.provenance.address import Cell
from daam_bench.records import RunRecord
from daam_bench.studies.use import in_use


@dataclass(frozen=True)
class Trace:
    """What a number is made of.

    Attributes:
        cell: the number.
        runs: the replicas behind it, in order; none if it is no result of ours.
        results: everything that its table is made of.
        caches: facts of each cache by "dataset x encoder".
        notes: what a reader must know, such as a cache that was replaced since.
    """

    cell: Cell
    runs: list[Run]
    results: Results
    caches: dict[str, dict[str, Any]]
    notes: list[str]


def trace_cell(cell: Cell, results: Path) -> Trace:
    """Return the records behind a number and the caches behind them.

    Args:
        cell: the number.
        results: folder of results, for its caches.

    Raises:
        RecordError: if it is not known what the table is made of, or a record is missing or damaged.
    """
    made_of, changed = read_made_of(cell.file)
    runs = cell.table.sources(cell.keys, cell.column, made_of)
    caches, notes = _caches_of([run.record for run in runs], results)
    notes += [f"trained anew since the table was written: {folder}" for folder in changed]
    if cell.measured:
        notes.append("a clock or a meter gave this number: another run gives another one")
    if not runs:
        notes.append("no run is behind this cell: it is printed in the paper, or was not run")
    return Trace(cell, runs, made_of, caches, notes)


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
    settings = in_use(record, {"protocol": record.protocol, "training": record.training} | spec)
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
