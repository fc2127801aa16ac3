"""Train again what a number was made of, in another folder, and look whether it comes out the same."""

import re
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from filelock import FileLock, Timeout
from pydantic import ValidationError
from rich.progress import Progress

from daam_bench.adapters.presets import KIND
from daam_bench.analysis.tables import Results
from daam_bench.analysis.tables.base import texts_of
from daam_bench.cache.manifest import MANIFEST, read_manifest
from daam_bench.errors import CacheError, RecordError
from daam_bench.provenance.address import Cell, Row
from daam_bench.provenance.difference import reasons
from daam_bench.provenance.trace import Trace
from daam_bench.records import (
    FINISHED,
    RunRecord,
    read_record,
    read_records,
    write_atomically,
    write_finished,
)
from daam_bench.threads import OF_TRAINING, computing_with
from daam_bench.training.checkpoint import remove_checkpoint
from daam_bench.training.run import run_job
from daam_bench.training.spec import TrainingSpec
from daam_bench.tuning.run import run_tuning
from daam_bench.tuning.spec import TuningSpec


@dataclass(frozen=True)
class Repetition:
    """A number and its repetition, as text in full precision.

    Attributes:
        table: what the table's file has.
        records: what the records that the table is made of give.
        repeated: what they give after training again.
        replicas: how many were trained again.
        compared: the columns of the row that were held against the repetition: the number's own or, of one
            that a clock or a meter gave, all that neither gave.
        differing: those of them that did not come out the same.
    """

    table: str
    records: str
    repeated: str
    replicas: int
    compared: list[str]
    differing: list[str]

    @property
    def same(self) -> bool:
        """Whether what can be compared is equal to the last digit: in table, records and repetition."""
        return self.table == self.records and not self.differing


def repeat_record(path: Path, cache: Path, output: Path, progress: Progress) -> RunRecord:
    """Train the replica of a record again, from what the record says of itself.

    Args:
        path: the record.
        cache: the cache that it was trained on.
        output: folder for the record of the repetition; `<dataset>/<encoder>/<variant>` is added.
        progress: shows replicas.

    Raises:
        RecordError: if the record is not one, or too old to say how it was made, if it names a module that
            does not lie in the current folder, or if the output has it.
        CacheError: if the cache is not the one that the record was trained on.
    """
    record = read_record(path)
    folder = output / record.dataset / record.encoder / record.variant
    return _train_again(path, record, cache, folder, progress)


def _train_again(path: Path, record: RunRecord, cache: Path, folder: Path, progress: Progress) -> RunRecord:
    if not record.spec:
        raise RecordError(
            "the record does not say how it was made",
            where=path,
            remedy="An older version wrote it; train it again with snakemake.",
        )
    # A job leaves out what is there: the old record would pass for the repetition.
    if (folder / path.name).exists():
        # Its run may have ended before it cleared its checkpoint away. Who holds the lock is at work there.
        with suppress(Timeout, RecordError), FileLock(folder / ".lock", timeout=0):
            remove_checkpoint(folder / path.stem, read_record(folder / path.name).key)
        raise RecordError("is here already", where=folder / path.name, remedy="Name another folder.")
    manifest = read_manifest(cache / MANIFEST)
    if (found := manifest["digest"]) != record.cache_identity:
        raise CacheError(
            "not the cache that the record was trained on",
            where=cache,
            expected=record.cache_identity[:12],
            found=found[:12],
            remedy="--cache names another folder.",
        )
    spec = _spec_of(path, record)
    with computing_with(_threads_of(record)):
        if isinstance(spec, TuningSpec):
            samples = Path(manifest["samples"])
            return run_tuning(spec, cache, samples, folder, progress, record.fold)[0]
        (repeated,) = run_job(spec, cache, folder, progress, record.fold)
        return repeated


def _threads_of(record: RunRecord) -> int:
    """Return how many threads a record was made with; of one that does not say, those of the workflow."""
    said = record.environment.get("threads", "")
    return int(said) if re.fullmatch("[1-9][0-9]{0,2}", said) else OF_TRAINING


def _spec_of(path: Path, record: RunRecord) -> TrainingSpec | TuningSpec:
    """Return the job of a record's replica, which may be a stranger's."""
    given = record.spec | {"seeds": [record.seed]}
    try:
        spec = (TuningSpec if record.kind == KIND else TrainingSpec).model_validate(given)
    except ValidationError as error:
        first = "; ".join(f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors()[:1])
        raise RecordError(
            f"its job is none that this version knows ({first})",
            where=path,
            remedy="Train it again with snakemake.",
        ) from None
    if isinstance(spec, TrainingSpec) and spec.own is not None:
        file = Path(spec.own.file)
        # To repeat is to execute it.
        if file.is_absolute() or not file.resolve().is_relative_to(Path.cwd()):
            raise RecordError(
                "names a module that does not lie in the current folder, and is not executed",
                where=path,
                found=spec.own.module,
                remedy="Run it in the folder of the module, if you trust that.",
            )
    return spec


def repeat_cell(trace: Trace, results: Path, output: Path, progress: Progress) -> Repetition:
    """Train every replica behind a number again below `output`, then compute the number from them.

    A number of a clock or a meter comes out otherwise each time: the rest of its row is compared instead.
    Derived runs train on the layers, and under the protocol, that their own records name. Where the code is
    not the one that the records were made by, or a version or the hardware is another, the trace's notes
    say so.

    Raises:
        RecordError: if the output has results, if no run is behind the number, or one cannot be repeated.
        CacheError: if a cache is not there, or is another one.
    """
    if not trace.runs:
        raise RecordError("no run is behind this cell: there is nothing to repeat", where=trace.cell.address)
    if any((output / name).exists() for name in ("runs", "studies")):
        raise RecordError(
            "has results: they would pass for the repetition",
            where=output,
            expected="a new folder",
            remedy="Name another one.",
        )
    before = row_in(trace.results, trace.cell)
    targets = {run.folder: output / run.tree for run in trace.runs}
    others, why = 0, dict[str, None]()
    for run in trace.runs:
        cache = results / "embeddings" / run.record.dataset / run.record.encoder
        repeated = _train_again(run.path, run.record, cache, targets[run.folder], progress)
        others += repeated.key != run.record.key
        why |= dict.fromkeys(reasons(run.record, repeated))
    unlike = [reason for reason in why if not reason.startswith("environment.git_commit")]
    if unlike:
        trace.notes.append(f"made otherwise than now: {'; '.join(unlike)}")
    if others:
        trace.notes.append(f"the code changed since: {others} of {len(trace.runs)} keys are other ones now")
    folders = [
        [_completed(folder, targets[folder]) if folder in targets else folder for folder in known]
        for known in (trace.results.folders, trace.results.studies)
    ]
    after, column = row_in(Results(*folders), trace.cell), trace.cell.column
    table = trace.cell.table
    others_of_row = [name for name in after if name not in table.measured and name not in table.keys]
    compared = others_of_row if trace.cell.measured else [column]
    differing = [name for name in compared if after[name] != trace.cell.row.get(name)]
    return Repetition(trace.cell.value, before[column], after[column], len(trace.runs), compared, differing)


def _completed(folder: Path, target: Path) -> Path:
    """Return the repetition of a folder; replicas that are not behind the number stay as they were."""
    for source in folder.iterdir():
        left_out = source.name in (".lock", FINISHED) or (target / source.name).exists()
        if source.is_file() and not left_out:
            write_atomically(target / source.name, source.read_bytes())
    # The list has keys: those of the repetition are other ones if the code changed.
    stems = [record.stem for record in read_records(folder)]
    write_finished(target, [read_record(target / f"{stem}.json") for stem in stems])
    return target


def row_in(results: Results, cell: Cell) -> Row:
    """Return the row of an address in a freshly made table, as text in full precision.

    Raises:
        RecordError: if the table has no such row.
    """
    rows = texts_of(cell.table.values(results))
    found = [row for row in rows if all(row.get(name) == value for name, value in cell.keys.items())]
    if len(found) != 1 or cell.column not in found[0]:
        raise RecordError("the records do not give this row", where=cell.address)
    return found[0]


def cache_of_record(path: Path) -> Path:
    """Return the cache that lies beside a record in a folder of results.

    Raises:
        RecordError: if the file does not lie where the workflow puts records.
    """
    whole = path.resolve()
    for levels, room in ((4, "runs"), (5, "studies")):
        if len(whole.parts) > levels + 1 and whole.parts[-levels - 1] == room:
            return whole.parents[levels] / "embeddings" / whole.parts[-levels] / whole.parts[-levels + 1]
    raise RecordError(
        "does not lie in a folder of results",
        where=path,
        expected="results/runs/<dataset>/<encoder>/<variant>/<record>.json, or results/studies likewise",
        remedy="--cache names the folder of its cache.",
    )
