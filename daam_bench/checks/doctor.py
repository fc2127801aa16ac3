"""All checks, in the order that a person reads them."""

from collections.abc import Sequence
from pathlib import Path

from daam_bench.checks.finding import Finding
from daam_bench.checks.hub import hub_needs
from daam_bench.checks.inputs import check_disk, check_locks, check_paths, check_writing
from daam_bench.checks.machine import check_device, check_processor, check_versions
from daam_bench.config.merge import load_merged
from daam_bench.costs.estimate import estimate_costs
from daam_bench.errors import ConfigError
from daam_bench.plan import make_plan


def examine(base: Path, overlays: Sequence[Path], results: Path) -> list[Finding]:
    """Return what every check finds; a wrong configuration is a finding, not an error."""
    findings = [*check_versions(), *check_device(), *check_processor()]
    try:
        config = load_merged(base, overlays)
        plan = make_plan(config)
    except ConfigError as error:
        text = " ".join(str(error).removesuffix(error.remedy or "").split())
        return [*findings, Finding("fail", "configuration", text, error.remedy or "Correct it.")]
    jobs = len(plan.jobs) + len(plan.studies) + len(plan.tunings)
    caches = f"{len(plan.caches)} cache{'s' if len(plan.caches) > 1 else ''}"
    findings.append(Finding("ok", "configuration", f"{jobs} training jobs on {caches}"))
    findings += [Finding("ok", "studies", note) for note in plan.notes]
    costs, needs = estimate_costs(config, plan, results), list(hub_needs(plan))
    return [
        *findings,
        *check_paths(plan, costs),
        *(need.finding for need in needs),
        *check_writing(results),
        *check_disk(costs, needs, results),
        *check_locks(Path.cwd()),
    ]
