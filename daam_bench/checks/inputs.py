"""Checks of what a plan reads and writes: datasets, models, hub access, disk space."""

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

from daam_bench.checks.finding import Finding, Level
from daam_bench.costs.estimate import CacheCost
from daam_bench.plan import RESOURCES, Plan

# Hub organisations whose models ask for an agreement, and so for a token.
_GATED = ("meta-llama/", "google/gemma", "mistralai/")
# Beside the cache: tables of samples, records, figures, the report.
_MARGIN = 1.2


def check_paths(plan: Plan) -> Iterator[Finding]:
    """Say of every dataset and encoder whether it is here, will be fetched, or is missing."""
    for error in plan.missing:
        yield Finding(
            "fail", str(error.where), f"{error.what}: {error.found or error.expected}", error.remedy or ""
        )
    places = {f"datasets.{n}": (d.path, d.revision) for n, d in plan.datasets.items()}
    places |= {f"encoders.{n}": (e.model, e.revision) for n, e in plan.encoders.items()}
    broken = {str(error.where).removesuffix(".path") for error in plan.missing}
    for name, (path, revision) in places.items():
        if name in broken:
            continue
        if Path(path).exists():
            yield Finding("ok", name, path)
        elif revision is None:
            yield Finding("ok", name, f"{path}: fetched by the first run")
        else:
            yield from _hub(name, path, revision, "dataset" if name.startswith("datasets") else "model")


def _hub(name: str, path: str, revision: str, kind: str) -> Iterator[Finding]:
    from huggingface_hub import constants, get_token, try_to_load_from_cache

    known = try_to_load_from_cache(
        path, "README.md" if kind == "dataset" else "config.json", revision=revision, repo_type=kind
    )
    if isinstance(known, str):
        yield Finding("ok", name, f"{path} at {revision[:12]}: in the hub's cache")
    elif path.startswith(_GATED) and get_token() is None:
        remedy = f"Accept its licence on huggingface.co/{path}, then `hf auth login` or set HF_TOKEN."
        yield Finding("fail", name, f"{path} is gated and no token is set", remedy)
    elif constants.HF_HUB_OFFLINE:
        remedy = f"Fetch it where there is a network (hf download {path}), or unset HF_HUB_OFFLINE."
        yield Finding("fail", name, f"{path} is not in the hub's cache, and the hub is off", remedy)
    else:
        yield Finding("warn", name, f"{path} at {revision[:12]}: the first run downloads it")


def check_writing(results: Path) -> Iterator[Finding]:
    """Write and remove a file where results and resources go."""
    for folder in (results, RESOURCES):
        place = folder
        while not place.exists():
            place = place.parent
        try:
            with tempfile.TemporaryFile(dir=place):
                yield Finding("ok", f"writing to {folder}", "allowed")
        except OSError as error:
            reason = error.strerror or str(error)
            # Fetched files may lie in a folder that is read only: no matter, as long as all are there.
            level: Level = "warn" if folder == RESOURCES else "fail"
            yield Finding(
                level, f"writing to {folder}", reason, f"Give yourself the right to write in {place}."
            )


def check_disk(costs: list[CacheCost], results: Path) -> Iterator[Finding]:
    """Compare the free space with what caches that are not there yet will take."""
    place = results
    while not place.exists():
        place = place.parent
    free = shutil.disk_usage(place).free / 1e9
    missing = [cost for cost in costs if cost.measured_extraction_minutes is None]
    needed = _MARGIN * sum(cost.gigabytes or 0 for cost in missing)
    unknown = [f"{cost.dataset} x {cost.encoder}" for cost in missing if cost.gigabytes is None]
    text = f"{free:.1f} GB free, about {needed:.2f} GB needed"
    if unknown:
        text += f", not counting {', '.join(unknown)} (size not known yet)"
    if needed > free:
        remedy = "Free some, set cache.dtype: float16, or put results/ on a larger disk (a link will do)."
        yield Finding("fail", "disk space", text, remedy)
    else:
        yield Finding("warn" if unknown else "ok", "disk space", text)


def check_locks(folder: Path) -> Iterator[Finding]:
    """Say whether a killed run left its lock behind."""
    locks = list((folder / ".snakemake" / "locks").glob("*.lock"))
    if locks:
        remedy = "If none is running: daam-bench unlock."
        yield Finding("warn", "snakemake's lock", "a run holds it, or was killed", remedy)
