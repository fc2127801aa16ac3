"""Train again what a number was made of, in another folder, and look whether it comes out the same."""

import math
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
from rich.progress import Progress

from daam_bench.adapters.presets import KIND
from daam_bench.analysis.tables import make_tables
from daam_bench.cache.manifest import MANIFEST, read_manifest
from daam_bench.errors import CacheError, RecordError
from daam_bench.provenance.address import Cell
from daam_bench.provenance.trace import Trace
from daam_bench.records import FINISHED, RunRecord, read_record, write_atomically
from daam_bench.training.run import run_job
from daam_bench.training.spec import TrainingSpec
from daam_bench.tuning.run import run_tuning
from daam_bench.tuning.spec import TuningSpec


@dataclass(frozen=True)
class Repetition:
    """A number and its repetition, as text in full precision."""

    before: str
    after: str
    replicas: int

    @property
    def same(self) -> bool:
        """Whether the two are equal to the last digit."""
        return self.before == self.after


def repeat_record(path: Path, cache: Path, output: Path, progress: Progress) -> RunRecord:
    """Train the replica of a record again, from what the record says of itself.

    Args:
        path: the record.
        cache: the cache that it was trained on.
        output: folder for the records of the repetition; `<dataset>/<encoder>/<variant>` is added.
        progress: shows replicas.

    Raises:
        RecordError: if the record is not one, or too old to say how it was made.
        CacheError: if the cache is not the one that the record was trained on.
    """
    record = read_record(path)
    if not record.spec:
        raise RecordError(
            "the record does not say how it was made",
            where=path,
            remedy="An older version wrote it; train it again with snakemake.",
        )
    manifest = read_manifest(cache / MANIFEST)
    if (found := manifest["digest"]) != record.cache_identity:
        raise CacheError(
            "not the cache that the record was trained on",
            where=cache,
            expected=record.cache_identity[:12],
            found=found[:12],
            remedy="--cache names another folder.",
        )
    folder = output / record.dataset / record.encoder / record.variant
    given = record.spec | {"seeds": [record.seed]}
    if record.kind == KIND:
        samples = Path(manifest["samples"])
        tuning = TuningSpec.model_validate(given)
        return run_tuning(tuning, cache, samples, folder, progress, record.fold)[0]
    spec = TrainingSpec.model_validate(given)
    (repeated,) = run_job(spec, cache, folder, progress, record.fold)
    return repeated


def repeat_cell(trace: Trace, results: Path, output: Path, progress: Progress) -> Repetition:
    """Train every replica behind a number again below `output`, then compute the number from them.

    Raises:
        RecordError: if a record cannot be repeated.
        CacheError: if a cache is not there, or is another one.
    """
    for path, record in trace.records:
        cache = results / "embeddings" / record.dataset / record.encoder
        repeat_record(path, cache, output / "runs", progress)
    repeated = {path.parent for path, _ in trace.records}
    folders = [_completed(f, output / "runs", f in repeated) for f in trace.folders]
    before = number_in(make_tables(trace.folders), trace.cell)
    return Repetition(before, number_in(make_tables(folders), trace.cell), len(trace.records))


def _completed(folder: Path, runs: Path, repeated: bool) -> Path:
    """Return the repetition of a variant's folder; replicas that are not behind the number stay."""
    if not repeated:
        return folder
    target = runs / folder.parent.parent.name / folder.parent.name / folder.name
    for source in folder.iterdir():
        if source.is_file() and source.name != ".lock" and not (target / source.name).exists():
            write_atomically(target / source.name, source.read_bytes())
    assert (target / FINISHED).exists()
    return target


def number_in(tables: dict[str, pd.DataFrame], cell: Cell) -> str:
    """Return the number of an address in freshly made tables, as text in full precision.

    Raises:
        RecordError: if the tables have no such row.
    """
    frame = tables[cell.table]
    chosen = frame
    for name, value in cell.keys.items():
        chosen = chosen[chosen[name].astype(str) == value]
    if len(chosen) != 1 or cell.column not in frame:
        raise RecordError("the records no longer give this row", where=cell.address)
    value = chosen[cell.column].iloc[0]
    return "" if isinstance(value, float) and math.isnan(value) else str(value)


def cache_of_record(path: Path) -> Path:
    """Return the cache that lies beside a record in a folder of results.

    Raises:
        RecordError: if the file does not lie where the workflow puts records.
    """
    parts = path.resolve().parts
    if len(parts) < 6 or parts[-5] != "runs":
        raise RecordError(
            "does not lie in a folder of results",
            where=path,
            expected="results/runs/<dataset>/<encoder>/<variant>/<record>.json",
            remedy="--cache names the folder of its cache.",
        )
    return path.resolve().parents[4] / "embeddings" / parts[-4] / parts[-3]
