"""Checks of what a plan reads and writes: datasets, models, rights, disk space."""

import shutil
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from daam_bench.assets import ASSETS
from daam_bench.checks.finding import Finding, Level
from daam_bench.checks.hub import HubNeed
from daam_bench.checks.weights import weight_files
from daam_bench.costs.estimate import CacheCost
from daam_bench.plan import RESOURCES, Plan

# Beside the cache: tables of samples, records, figures, the report.
_MARGIN = 1.2


def check_paths(plan: Plan, costs: Sequence[CacheCost]) -> Iterator[Finding]:
    """Say of every dataset and encoder whether it is here and usable, will be fetched, or is missing."""
    for error in plan.missing:
        yield Finding(
            "fail", str(error.where), f"{error.what}: {error.found or error.expected}", error.remedy or ""
        )
    places = {f"datasets.{n}": (d.path, d.revision) for n, d in plan.datasets.items()}
    places |= {f"encoders.{n}": (e.model, e.revision) for n, e in plan.encoders.items()}
    broken = {str(error.where).removesuffix(".path") for error in plan.missing}
    problems = {f"datasets.{cost.dataset}": " ".join(cost.problem.split()) for cost in costs if cost.problem}
    for name, (path, revision) in places.items():
        if name in broken:
            continue
        if name in problems:
            yield Finding("fail", name, problems[name])
        elif Path(path).exists():
            yield _folder(name, path)
        elif revision is None:
            yield Finding("ok", name, f"{path}: fetched by the first run")


def _folder(name: str, path: str) -> Finding:
    """Say of what lies on this machine whether it is whole, as far as its kind tells."""
    fetched = len(Path(path).parts) > 1 and Path(path).parts[:1] == RESOURCES.parts
    if name.startswith("datasets.") or (fetched and Path(path).parts[1] in ASSETS):
        return Finding("ok", name, path)
    folder = Path(path)
    here, missing = weight_files(lambda file: folder / file if (folder / file).is_file() else None)
    lacking = missing[0] if missing else "model.safetensors"
    if not (folder / "config.json").is_file():
        lacking = "config.json"
    elif here and not missing:
        return Finding("ok", name, path)
    remedy = "Save the whole model there in Hugging Face format (save_pretrained), or correct the path."
    return Finding("fail", name, f"{path} lacks {lacking}", remedy)


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


@dataclass
class _Disk:
    """What is to be written to one disk, in 1e9 bytes; `unknown` names what has no size yet."""

    place: Path
    caches: float = 0.0
    downloads: float = 0.0
    unknown: list[str] = field(default_factory=list)


def check_disk(costs: Sequence[CacheCost], needs: Sequence[HubNeed], results: Path) -> Iterator[Finding]:
    """Compare the free space with what is still to come: caches, and downloads from the hub."""
    from huggingface_hub import constants

    below, hub = _existing(results), _existing(Path(constants.HF_HUB_CACHE))
    disks = {below.stat().st_dev: _Disk(below)}
    for cost in costs:
        if not cost.cached:
            disks[below.stat().st_dev].caches += _MARGIN * (cost.gigabytes or 0)
            if cost.gigabytes is None:
                disks[below.stat().st_dev].unknown.append(f"the cache of {cost.dataset} x {cost.encoder}")
    for need in needs:
        if need.takes != 0:
            disk = disks.setdefault(hub.stat().st_dev, _Disk(hub))
            disk.downloads += (need.takes or 0) / 1e9
            if need.takes is None:
                disk.unknown.append(f"the download of {need.repository}")
    for disk in disks.values():
        yield _space("disk space" if disk.place == below else "disk of the hub's cache", disk)


def _existing(place: Path) -> Path:
    while not place.exists():
        place = place.parent
    return place


def _space(name: str, disk: _Disk) -> Finding:
    free, needed = shutil.disk_usage(disk.place).free / 1e9, disk.caches + disk.downloads
    text = f"{free:.1f} GB free, about {needed:.2f} GB needed"
    if disk.downloads:
        text += f" ({disk.caches:.2f} for caches, {disk.downloads:.2f} for downloads)"
    if disk.unknown:
        text += f", not counting {', '.join(disk.unknown)} (size not known yet)"
    if needed > free:
        remedy = "Free some, set cache.dtype: float16, or put results/ on a larger disk (a link will do)."
        if disk.downloads > disk.caches:
            remedy = "Free some, or set HF_HOME to a folder on a larger disk."
        return Finding("fail", name, text, remedy)
    return Finding("warn" if disk.unknown else "ok", name, text)


def check_locks(folder: Path) -> Iterator[Finding]:
    """Say whether a killed run left its lock behind."""
    locks = list((folder / ".snakemake" / "locks").glob("*.lock"))
    if locks:
        remedy = "If none is running: daam-bench unlock."
        yield Finding("warn", "snakemake's lock", "a run holds it, or was killed", remedy)
