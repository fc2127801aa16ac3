"""`daam-bench plan` and `daam-bench doctor`: before hours are spent."""

from typing import Annotated

import typer

from daam_bench.cli.output import BASE, RESULTS, AsJson, Base, Overlays, Results, print_json, print_rows


def plan(
    configfile: Overlays = None,
    base: Base = BASE,
    results: Results = RESULTS,
    probe: Annotated[
        bool, typer.Option("--probe", help="time a few samples and training steps first; the result is kept")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Show what a configuration costs: cells, GB of cache, minutes expected, and minutes measured so far.

    Needs neither data nor models to be there; what is not known is said. Minutes come from the last
    --probe on this machine, for jobs one after another; starting jobs and scoring baselines are not in them.
    """
    from dataclasses import asdict

    from daam_bench.config.merge import load_merged
    from daam_bench.costs.estimate import estimate_costs, run_probe
    from daam_bench.plan import make_plan

    config = load_merged(base, configfile or [])
    jobs = make_plan(config)
    if probe:
        run_probe(config, jobs, results)
    costs = estimate_costs(config, jobs, results)
    if as_json:
        print_json([asdict(cost) for cost in costs])
        return
    names = {"gigabytes": "GB", "extraction_minutes": "extract min", "training_minutes": "train min"}
    names |= {"measured_extraction_minutes": "measured", "measured_training_minutes": "measured train"}
    names |= {"measured_replicas": "of replicas", "predicted_for_measured_minutes": "predicted for these"}
    hidden = {"unknown"} | (set() if any(cost.measured_replicas for cost in costs) else set(list(names)[3:]))
    print_rows([{names.get(k, k): v for k, v in asdict(c).items() if k not in hidden} for c in costs])
    known = [cost.gigabytes for cost in costs if cost.gigabytes is not None]
    more = "" if len(known) == len(costs) else f" and {len(costs) - len(known)} caches of unknown size"
    typer.echo(f"{sum(cost.cells or 0 for cost in costs):,} cells, {sum(known):.2f} GB of cache{more}")
    for line in dict.fromkeys(line for cost in costs for line in cost.unknown):
        typer.echo(f"unknown: {line}")


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
        colours = {"ok": typer.colors.GREEN, "warn": typer.colors.YELLOW, "fail": typer.colors.RED}
        width = max(len(finding.check) for finding in findings)
        for finding in findings:
            level = _coloured(f"{finding.level:4}", colours[finding.level])
            typer.echo(f"{level}  {finding.check:{width}}  {finding.found}")
            if finding.remedy and finding.level != "ok":
                typer.echo(f"{'':6}{'':{width}}  -> {finding.remedy}")
    if any(finding.level == "fail" for finding in findings):
        raise typer.Exit(1)


def _coloured(text: str, colour: str) -> str:
    import os

    return text if os.environ.get("NO_COLOR") else typer.style(text, fg=colour)
