"""`daam-bench explain` and `daam-bench diff`: where a number comes from, and what changed."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from daam_bench.cli.output import RESULTS, AsJson, Results, print_json, print_rows

if TYPE_CHECKING:
    from daam_bench.provenance.repeat import Repetition
    from daam_bench.provenance.trace import Trace

_SHOWN_REPLICAS = 6


def explain(
    cell: Annotated[str, typer.Argument(help="TABLE, or TABLE:word:...:column as `address` prints it")],
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
    `explain results/tables/accuracy_summary.csv:vader:minilm-l6:daam_v1:mean_percent`. With --repeat, exit
    code 1 says that the number did not come out the same.
    """
    from daam_bench.provenance.address import find_cell
    from daam_bench.provenance.trace import trace_cell

    named = {"dataset": dataset, "encoder": encoder, "variant": variant, "against": against}
    named |= {"parameter": parameter, "fold": None if fold is None else str(fold)}
    named |= {"seed": None if seed is None else str(seed)}
    options = {name: value for name, value in named.items() if value is not None}
    trace = trace_cell(find_cell(cell, options, column, results), results)
    repetition = None
    if repeat is not None:
        from daam_bench.provenance.repeat import repeat_cell
        from daam_bench.steps import progress_bar

        with progress_bar("replicas/s") as progress:
            repetition = repeat_cell(trace, results, repeat, progress)
    if as_json:
        print_json(_as_data(trace, repetition))
    else:
        _print_trace(trace, results)
        if repetition is not None:
            said = "the same" if repetition.same else "NOT the same"
            values = f"{repetition.before} before, {repetition.after} now"
            typer.echo(f"\nrepeated {repetition.replicas} replicas: {values}: {said}")
    if repetition is not None and not repetition.same:
        raise typer.Exit(1)


def _as_data(trace: "Trace", repetition: "Repetition | None") -> dict[str, Any]:
    from dataclasses import asdict

    from daam_bench.provenance.trace import common_facts

    same, differing = common_facts([record for _, record in trace.records])
    return {
        "address": trace.cell.address,
        "value": trace.cell.value,
        "row": trace.cell.row,
        "records": [
            {"path": str(path), "variant": r.variant, "fold": r.fold, "seed": r.seed, "key": r.key}
            | {"score": r.score}
            for path, r in trace.records
        ],
        "settings": same,
        "settings_that_differ": differing,
        "caches": trace.caches,
        "notes": trace.notes,
        "repetition": None if repetition is None else asdict(repetition) | {"same": repetition.same},
    }


def _print_trace(trace: "Trace", results: Path) -> None:
    from daam_bench.provenance.trace import common_facts

    typer.echo(f"{trace.cell.address} = {trace.cell.value}")
    rows = [
        {"variant": r.variant, "fold": f"{r.fold} ({r.fold_name})", "seed": r.seed, r.metric: r.score}
        | {"record": str(path)}
        for path, r in trace.records
    ]
    typer.echo(f"\nmade of {len(rows)} replicas")
    print_rows(rows[:_SHOWN_REPLICAS])
    if len(rows) > _SHOWN_REPLICAS:
        typer.echo(f"and {len(rows) - _SHOWN_REPLICAS} more; --json lists all")
    for name, facts in trace.caches.items():
        typer.echo(f"\ncache of {name}: {facts['folder']}, identity {facts['identity']}")
        for key, value in facts.get("made_from", {}).items():
            shown = ", ".join(f"{k} {v}" for k, v in value.items()) if isinstance(value, dict) else value
            typer.echo(f"  {key}: {shown}")
    same, differing = common_facts([record for _, record in trace.records])
    typer.echo("\nsettings, versions, hardware")
    for name, value in same.items():
        if name != "cache_identity" and value is not None:
            typer.echo(f"  {name}: {value}")
    for name, values in differing.items():
        typer.echo(f"  {name}: differs among the replicas: {', '.join(map(str, values))}")
    for note in trace.notes:
        typer.echo(f"note: {note}")
    place = "" if results == RESULTS else f" --results {results}"
    typer.echo("\nrepeat one replica, or the number")
    typer.echo(f"  daam-bench run --record {trace.records[0][0]} --output repeated")
    typer.echo(f"  daam-bench explain {trace.cell.address}{place} --repeat repeated")


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
        typer.echo(f"{found.both} replicas in both, {len(found.differences)} differ")
    if found.differences:
        raise typer.Exit(1)


def _print_differences(differences: list[Any]) -> None:
    reasons: dict[tuple[str, ...], list[Any]] = {}
    for item in differences:
        reasons.setdefault(tuple(item.why), []).append(item)
    for why, items in reasons.items():
        rows = [
            {
                "cell": f"{item.dataset} {item.encoder} {item.variant}",
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
