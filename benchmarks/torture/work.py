"""The jobs that are killed, and whose writing calls fail: each with what lies in its folder before it."""

import json
import os
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from benchmarks.torture.children import command_line, run_child
from benchmarks.torture.world import CACHE_BYTES, FORMATS, ROWS_PER_CHUNK, World, emptied, opened
from daam_bench.training.bench import MEMORY

VARIANTS = ("daam_v2", "mha", "mixture")


def _nothing(folder: Path) -> None:
    """Leave a folder as it is."""


@dataclass(frozen=True)
class Work:
    """A job that writes into a folder.

    Attributes:
        run: does it, or goes on with it.
        prepare: puts there what it finds.
    """

    run: Callable[[Path], None]
    prepare: Callable[[Path], None] = _nothing

    def begin(self, folder: Path) -> Path:
        """Empty the folder, put there what the job finds, and return it."""
        self.prepare(emptied(folder))
        return folder


def extractions(world: World) -> dict[str, Work]:
    """Return the extraction into each format."""
    return {f"extraction to {k}": Work(lambda folder, k=k: world.extract(folder, k)) for k in FORMATS}


def repairs(world: World) -> dict[str, Work]:
    """Return the repair of a cache in each format: two chunks are bad, and what its labels say."""
    return {f"repair of {k}": Work(_repair, lambda folder, k=k: _damaged(world, k, folder)) for k in FORMATS}


def trainings(world: World) -> dict[str, Work]:
    """Return training from a cache in memory, of several variants, and from one that streams."""
    cache = world.finished_cache("zarr")
    found = {f"training of {v}": Work(lambda folder, v=v: world.train(cache, folder, v)) for v in VARIANTS}

    def stream(folder: Path) -> None:
        os.environ[MEMORY] = str(0.8 * CACHE_BYTES / 2**30)
        world.train(cache, folder, VARIANTS[0], CACHE_BYTES // 3)

    found["training from a stream"] = Work(stream)
    return found


def others(world: World) -> dict[str, Work]:
    """Return the listing of samples, the commands on a cache, and what is made of records."""
    cache, run = world.finished_cache("zarr"), world.folder / "trained"
    ended = run_child(lambda: world.train(cache, run, VARIANTS[0]))
    if ended.code:
        raise RuntimeError(ended.text)
    records = run / "finished.json"
    of_studies = json.dumps({"records": [str(records)], "studies": []})
    of_report = json.dumps(
        {"title": "Tortured", "notes": [], "records": [str(records)], "manifests": [f"{cache}/manifest.json"]}
    )

    def list_samples(folder: Path) -> None:
        spec = world.dataset.model_dump_json()
        command_line("step", "list-samples", "tortured", folder / "samples.parquet", "--spec", spec)

    def convert(folder: Path) -> None:
        if not (folder / "copy" / "manifest.json").exists():  # a second copy would be refused
            command_line("cache", "convert", cache, folder / "copy", "--to", "hdf5")

    def calls(*words: object) -> Callable[[Path], None]:
        """Return what calls a command; `{}` in a word stands for the folder."""
        return lambda folder: command_line(*(str(word).replace("{}", str(folder)) for word in words))

    return {
        "listing": Work(list_samples),
        "conversion": Work(convert),
        "export": Work(calls("cache", "export", cache, "{}/layers.parquet")),
        "plot": Work(calls("cache", "plot", cache, "--output", "{}/cache.png")),
        "prune": Work(calls("cache", "prune", "{}/cache", "--yes"), lambda f: _beside_another(world, f)),
        "tables": Work(calls("step", "write-tables", records, "--output", "{}/tables")),
        "study tables": Work(calls("step", "write-study-tables", "{}/tables", "--spec", of_studies)),
        "figures": Work(calls("step", "write-figures", records, "--output", "{}/figures")),
        "report": Work(calls("step", "write-report", "{}/report.html", "--spec", of_report)),
    }


def _beside_another(world: World, folder: Path) -> None:
    """Copy a cache, and put a store beside its own that its manifest does not name."""
    shutil.copytree(world.finished_cache("zarr"), folder / "cache")
    for file in world.finished_cache("hdf5").glob("*.h5*"):
        shutil.copy(file, folder / "cache")


def _repair(folder: Path) -> None:
    command_line("cache", "repair", folder / "cache")


def _damaged(world: World, kind: str, folder: Path) -> None:
    """Copy a cache and damage two of its chunks, and a label."""
    shutil.copytree(world.finished_cache(kind), folder / "cache")
    with opened(folder / "cache") as group:
        for row in (ROWS_PER_CHUNK, 3 * ROWS_PER_CHUNK + 1):
            group["embeddings"][row] = group["embeddings"][row] + 1
        group["label"][0] = 1 - group["label"][0]
