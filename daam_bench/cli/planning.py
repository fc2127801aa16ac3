"""`daam-bench plan` and `daam-bench doctor`: before hours are spent."""

import shutil
import sys
import textwrap
from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated

import typer

from daam_bench.cli.output import BASE, RESULTS, AsJson, Base, Overlays, Results, print_json, print_rows

if TYPE_CHECKING:
    from daam_bench.checks.finding import Finding
    from daam_bench.config import Config
    from daam_bench.costs.estimate import CacheCost, Comparison
    from daam_bench.plan import Plan


def plan(
    configfile: Overlays = None,
    base: Base = BASE,
    results: Results = RESULTS,
    probe: Annotated[
        bool, typer.Option("--probe", help="time a few samples and training steps first; the result is kept")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Show what a configuration costs: cells, GB of cache, minutes expected; and what it took so far.

    Needs neither data nor models to be there; what is not known is said. Minutes come from the last
    --probe, for jobs that run one at a time; starting jobs and scoring baselines are not in them.
    """
    from dataclasses import asdict

    from daam_bench.config.merge import load_merged
    from daam_bench.costs.estimate import estimate_costs
    from daam_bench.plan import make_plan

    config = load_merged(base, configfile or [])
    jobs = make_plan(config)
    if probe:
        from daam_bench.costs.probing import run_probe

        run_probe(config, jobs, results)
    costs = estimate_costs(config, jobs, results)
    if as_json:
        print_json([asdict(cost) for cost in costs])
        return
    _print_plan(costs)
    for line in [*jobs.notes, *_idle(config, jobs)]:
        _echo(line)


def _idle(config: "Config", jobs: "Plan") -> Iterator[str]:
    """Yield what the configuration declares and no experiment names, a line a kind."""
    for kind, declared, used in (
        ("datasets", config.datasets, jobs.datasets),
        ("encoders", config.encoders, jobs.encoders),
        ("variants", config.variants, jobs.variants),
    ):
        names = [name for name in declared if name not in used]
        if names:
            yield f"in no experiment: {kind} {', '.join(names)}"


def _print_plan(costs: "list[CacheCost]") -> None:
    """Print a row a cache, sums, tables of what was measured, and what is left out or not known."""
    print_rows([_predicted(cost) for cost in costs])
    for line in _sums(costs):
        _echo(line)
    for cost in costs:
        if cost.comparisons:
            typer.echo()
            _echo(f"{_name(cost)}: predicted, and measured in what has run with these settings")
            print_rows([_measured(found) for found in cost.comparisons])
    for line in _grouped([(cost, line) for cost in costs for line in cost.left_out], len(costs)):
        _echo(f"left out: {line}", 10)
    for line in _grouped([(cost, line) for cost in costs for line in cost.unknown], len(costs)):
        _echo(f"unknown: {line}", 9)


def _predicted(cost: "CacheCost") -> dict[str, object]:
    # Few and narrow columns: they fit 80 characters.
    return {
        "cache": _name(cost),
        "samples": cost.samples,
        "folds": cost.folds,
        "cells": cost.cells,
        "cache GB": cost.gigabytes,
        "extraction minutes": cost.extraction_minutes,
        "training minutes": cost.training_minutes,
    }


def _measured(found: "Comparison") -> dict[str, object]:
    return {
        "cost": found.cost,
        "predicted": found.predicted,
        "measured": found.measured,
        "measured / predicted": found.ratio,
        "of": found.of,
    }


def _name(cost: "CacheCost") -> str:
    return f"{cost.dataset} x {cost.encoder}"


def _grouped(lines: "list[tuple[CacheCost, str]]", caches: int) -> list[str]:
    """Return each line once, with the caches that it is of, if there are others."""
    places: dict[str, list[str]] = {}
    for cost, line in lines:
        places.setdefault(line, []).append(_name(cost))
    return [line if len(found) == caches else f"{', '.join(found)}: {line}" for line, found in places.items()]


def _sums(costs: "list[CacheCost]") -> Iterator[str]:
    """Yield the sums over all caches, a sentence each."""
    cells = {kind: sum(cost.cells_of[kind] or 0 for cost in costs) for kind in costs[0].cells_of}
    parts = ", ".join(f"{count:,} of {kind}" for kind, count in cells.items() if count)
    yield f"{sum(cells.values()):,} cells (variant x fold x seed): {parts}"
    sizes = [cost.gigabytes for cost in costs if cost.gigabytes is not None]
    more = [_name(cost) for cost in costs if cost.gigabytes is None]
    yield f"{sum(sizes):.3g} GB of cache" + (f", without {', '.join(more)}" if more else "")
    if any(cost.training_minutes is not None for cost in costs):
        yield "minutes: if jobs run one at a time; without starting jobs and without baselines"


def _echo(text: str, indent: int = 0) -> None:
    typer.echo("\n".join(_lines(text, indent)))


def _lines(text: str, indent: int) -> list[str]:
    """Break a line between words as wide as the terminal is, later lines indented; a pipe has no width."""
    if not sys.stdout.isatty():
        return [text]
    return textwrap.wrap(
        text,
        max(shutil.get_terminal_size().columns, indent + 30),
        subsequent_indent=" " * indent,
        drop_whitespace=True,
        break_long_words=False,
        break_on_hyphens=False,
    )


def doctor(
    configfile: Overlays = None, base: Base = BASE, results: Results = RESULTS, as_json: AsJson = False
) -> None:
    """Check packages, GPU, threads, disk space, hub access, paths, rights; exit code 1 if any check fails."""
    from dataclasses import asdict

    from daam_bench.checks.doctor import examine

    findings = examine(base, configfile or [], results)
    if as_json:
        print_json([asdict(finding) for finding in findings])
    else:
        _print_findings(findings)
    if any(finding.level == "fail" for finding in findings):
        raise typer.Exit(1)


def _print_findings(findings: "list[Finding]") -> None:
    colours = {"ok": typer.colors.GREEN, "warn": typer.colors.YELLOW, "fail": typer.colors.RED}
    width = max(len(finding.check) for finding in findings)
    for finding in findings:
        level = _coloured(f"{finding.level:4}", colours[finding.level])
        before, indent = f"{'':4}  {finding.check:{width}}  ", 4 + 2 + width + 2
        first, *others = _lines(before + finding.found, indent)
        typer.echo("\n".join([level + first.removeprefix(" " * 4), *others]))
        if finding.remedy and finding.level != "ok":
            typer.echo("\n".join(_lines(f"{'':{indent}}-> {finding.remedy}", indent + 3)))


def _coloured(text: str, colour: str) -> str:
    import os

    return text if os.environ.get("NO_COLOR") else typer.style(text, fg=colour)
