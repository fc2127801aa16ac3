"""`daam-bench explain` and `daam-bench diff`: where a number comes from, and what changed."""

import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from daam_bench.cli.output import RESULTS, AsJson, Results, print_json, print_rows

if TYPE_CHECKING:
    from daam_bench.provenance.repeat import Repetition
    from daam_bench.provenance.trace import Trace

_SHOWN_REPLICAS = 6


def explain(
    cell: Annotated[str, typer.Argument(help="TABLE, or TABLE:word:...:column; a word may be name=value")],
    dataset: Annotated[str | None, typer.Option()] = None,
    encoder: Annotated[str | None, typer.Option()] = None,
    variant: Annotated[str | None, typer.Option()] = None,
    against: Annotated[str | None, typer.Option(help="second variant, in comparisons")] = None,
    fold: Annotated[int | None, typer.Option(min=0)] = None,
    seed: Annotated[int | None, typer.Option()] = None,
    parameter: Annotated[str | None, typer.Option(help="in parameter_ranges")] = None,
    column: Annotated[str | None, typer.Option(help="column of the number")] = None,
    repeat: Annotated[
        Path | None,
        typer.Option(help="train everything behind the number again into this folder, and compare"),
    ] = None,
    results: Results = RESULTS,
    as_json: AsJson = False,
) -> None:
    """Say where a number of a table comes from: records, settings, cache, versions, and how to repeat it.

    For example `explain accuracy_summary --dataset vader --encoder minilm-l6 --variant daam_v1`, or
    `explain results/tables/accuracy_summary.csv:vader:minilm-l6:daam_v1:mean_percent`, or
    `explain layer_ablation:daam_v1:side=top:layers_kept=3:fold=0`, or `explain runs:daam_v1:fold=0:seed=1`
    for one run. With --repeat, exit code 1 says that the number did not come out the same; of a measured one,
    such as `explain cost:daam_v1:wall_seconds`, what was not measured beside it is compared.
    """
    from daam_bench.provenance.address import find_cell
    from daam_bench.provenance.trace import trace_cell

    named = {"dataset": dataset, "encoder": encoder, "variant": variant, "against": against}
    named |= {"parameter": parameter, "fold": None if fold is None else str(fold)}
    named |= {"seed": None if seed is None else str(seed)}
    options = {name: value for name, value in named.items() if value is not None}
    results = _results_of(cell, results)
    trace = trace_cell(find_cell(cell, options, column, results), results)
    repetition = None
    if repeat is not None:
        from daam_bench.provenance.repeat import repeat_cell
        from daam_bench.steps import progress_bar

        with progress_bar("replicas/s") as progress:
            repetition = repeat_cell(trace, results, repeat, progress)
    if as_json:
        print_json(_as_data(trace, results, repetition))
    else:
        _print_trace(trace, results)
        if repetition is not None:
            _print_repetition(repetition, trace.cell.measured)
    if repetition is not None and not repetition.same:
        raise typer.Exit(1)


def _results_of(address: str, results: Path) -> Path:
    """Return the folder of results that a table lies in which is named by its file; else the one given."""
    file = Path(address.partition(":")[0])
    if file.suffix not in (".csv", ".md", ".tex") or not file.is_file():
        return results
    if file.parent.name == "tables":
        return file.parent.parent
    return file.resolve().parents[1] if file.resolve().parent.name == "tables" else results


def _print_repetition(repetition: "Repetition", measured: bool) -> None:
    said = "the same" if repetition.same else "NOT the same"
    values = f"{repetition.table} in the table, {repetition.repeated} now"
    if measured:
        values += f"\na clock or a meter gave it; what can be compared ({', '.join(repetition.compared)})"
    typer.echo(f"\nrepeated {repetition.replicas} replicas: {values}: {said}")
    if measured and repetition.differing:
        typer.echo(f"other than in the table: {', '.join(repetition.differing)}")
    if repetition.table != repetition.records:
        typer.echo(
            f"the records that are there give {repetition.records}: the table, or a record, was changed since"
        )


def _as_data(trace: "Trace", results: Path, repetition: "Repetition | None") -> dict[str, Any]:
    from dataclasses import asdict

    from daam_bench.provenance.trace import common_facts

    same, differing = common_facts([run.record for run in trace.runs])
    return {
        "address": trace.cell.address,
        "value": trace.cell.value,
        "measured": trace.cell.measured,
        "row": trace.cell.row,
        "command": _command(trace, results),
        "records": [
            {"path": str(run.path), "study": None if run.study is None else str(run.study)}
            | {name: getattr(run.record, name) for name in ("variant", "fold", "seed", "key", "score")}
            for run in trace.runs
        ],
        "settings": same,
        "settings_that_differ": differing,
        "caches": trace.caches,
        "notes": trace.notes,
        "repetition": None if repetition is None else asdict(repetition) | {"same": repetition.same},
    }


def _command(trace: "Trace", results: Path) -> str:
    """Return the command that explains this very number, as a shell takes it."""
    place = [] if results == RESULTS else ["--results", str(results)]
    return shlex.join(["daam-bench", "explain", trace.cell.address, *place])


def _print_trace(trace: "Trace", results: Path) -> None:
    from daam_bench.provenance.trace import common_facts

    typer.echo(f"{trace.cell.address} = {trace.cell.value}")
    _print_runs(trace)
    for name, facts in trace.caches.items():
        typer.echo(f"\ncache of {name}: {facts['folder']}, identity {facts['identity']}")
        for key, value in facts.get("made_from", {}).items():
            shown = ", ".join(f"{k} {v}" for k, v in value.items()) if isinstance(value, dict) else value
            typer.echo(f"  {key}: {shown}")
    same, differing = common_facts([run.record for run in trace.runs])
    if trace.runs:
        typer.echo("\nsettings, versions, hardware")
    for name, value in same.items():
        if name != "cache_identity" and value is not None:
            typer.echo(f"  {name}: {value}")
    for name, values in differing.items():
        typer.echo(f"  {name}: differs among the replicas: {', '.join(map(str, values))}")
    for note in trace.notes:
        typer.echo(f"note: {note}")
    typer.echo(f"\nthis number\n  {_command(trace, results)}")
    if trace.runs:
        one = shlex.join(
            ["daam-bench", "run", "--record", str(trace.runs[0].path), "--output", "one_replica"]
        )
        typer.echo(f"repeat one replica, or the number\n  {one}")
        typer.echo(f"  {_command(trace, results)} --repeat repeated")


def _print_runs(trace: "Trace") -> None:
    studies = any(run.study for run in trace.runs)
    rows = [
        {"variant": run.record.variant}
        | ({"study": str(run.study or "")} if studies else {})
        | {"fold": f"{run.record.fold} ({run.record.fold_name})", "seed": run.record.seed}
        | {"score": run.record.score, "metric": run.record.metric, "record": str(run.path)}
        for run in trace.runs
    ]
    typer.echo(f"\nmade of {len(rows)} replicas")
    print_rows(rows[:_SHOWN_REPLICAS])
    if len(rows) > _SHOWN_REPLICAS:
        typer.echo(f"and {len(rows) - _SHOWN_REPLICAS} more; --json lists all")


def diff(
    first: Annotated[Path, typer.Argument(help="folder of results A")],
    second: Annotated[Path, typer.Argument(help="folder of results B")],
    as_json: AsJson = False,
) -> None:
    """Say which replicas differ between two folders of results, by how much and why; exit code 1 if any."""
    from dataclasses import asdict

    from daam_bench.provenance.difference import compare_results

    found = compare_results(first, second)
    if as_json:
        rows = [asdict(item) | {"points": item.points} for item in found.differences]
        print_json({"replicas_in_both": found.both, "differences": rows})
    else:
        _print_differences(found.differences)
        alone = len(found.differences) - found.differing
        typer.echo(
            f"{found.both} replicas in both, {found.differing} of them differ; {alone} in one folder only"
        )
    if found.differences:
        raise typer.Exit(1)


def _print_differences(differences: list[Any]) -> None:
    reasons: dict[tuple[str, ...], list[Any]] = {}
    for item in differences:
        reasons.setdefault(tuple(item.why), []).append(item)
    for why, items in reasons.items():
        rows = [
            {
                "cell": " ".join(filter(None, (item.dataset, item.encoder, item.study, item.variant))),
                "fold": item.fold,
                "seed": item.seed,
                "A %": None if item.score_a is None else 100 * item.score_a,
                "B %": None if item.score_b is None else 100 * item.score_b,
                "points": item.points,
            }
            for item in items
        ]
        print_rows(rows)
        for line in why:
            typer.echo(f"  because {line}")
