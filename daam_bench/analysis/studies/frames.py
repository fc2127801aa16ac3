"""Records of ordinary and of derived runs: as frames, and which of them belong together."""

from collections.abc import Iterable, Sequence

import pandas as pd

from daam_bench.analysis.aggregate import CACHE, replica_frame
from daam_bench.analysis.tables.base import Keys, Results, Run
from daam_bench.studies.names import StudyName


def run_frame(results: Results) -> pd.DataFrame:
    """Return one row a trained ordinary replica: `replica_frame` with `select`, `protocol` and `layers`."""
    return _frame([run for run in results.runs if run.record.kind != "baseline"])


def study_frame(results: Results, kind: str) -> pd.DataFrame:
    """Return one row a replica of the studies of a kind, with their `subject` and `value`.

    Args:
        results: ordinary and derived runs.
        kind: protocol, switch or layers.
    """
    found = [(run, run.study) for run in results.derived if run.study and run.study.kind == kind]
    names = {"subject": [study.subject for _, study in found], "value": [study.value for _, study in found]}
    return _frame([run for run, _ in found]).assign(**names)


def _frame(runs: Sequence[Run]) -> pd.DataFrame:
    protocols = [run.record.protocol for run in runs]
    own = {"select": [protocol.get("select") for protocol in protocols], "protocol": protocols}
    own["layers"] = [run.record.layers for run in runs]
    return replica_frame([run.record for run in runs]).join(pd.DataFrame(own, dtype=object))


def same_runs(frame: pd.DataFrame, like: pd.DataFrame) -> pd.DataFrame:
    """Return the rows of `frame` of the cache, variants, folds and seeds of `like`."""
    keys = [*CACHE, "variant", "fold", "seed"]
    return frame.merge(like[keys].drop_duplicates(), on=keys, validate="m:1")


def ordinary_of(derived: Iterable[Run], results: Results) -> list[Run]:
    """Return the ordinary runs that derived ones are paired with: of their caches, variants, folds, seeds."""
    wanted = {(run.place, run.record.stem) for run in derived}
    return [run for run in results.runs if (run.place, run.record.stem) in wanted]


def derived_of(keys: Keys, results: Results, kind: str) -> list[tuple[Run, StudyName]]:
    """Return the derived runs of a kind of a row's dataset, encoder and, if it has one, variant."""
    wanted = {name: keys[name] for name in ("dataset", "encoder", "variant") if keys.get(name)}
    return [
        (run, run.study)
        for run in results.derived
        if run.study and run.study.kind == kind
        if all(getattr(run.record, name) == value for name, value in wanted.items())
    ]
