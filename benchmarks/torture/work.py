"""The jobs that are killed, and whose writing calls fail: each with what lies in its folder before it."""

import json
import os
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from benchmarks.torture.children import Ended, command_line, run_child, warm
from benchmarks.torture.world import CACHE_BYTES, FORMATS, ROWS_PER_CHUNK, World, emptied, opened
from daam_bench.errors import CacheError, RecordError
from daam_bench.training.bench import MEMORY

VARIANTS = ("daam_v2", "mha", "mixture")
TUNING = "encoder LoRA"
_REFUSED = (CacheError.exit_code, RecordError.exit_code)
_PICKS = ("top-2", "bottom-2")  # a table of studies compares the two


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
    """Return training of several variants from a cache in memory, from a stream, and encoder LoRA."""
    cache = world.finished_cache("zarr")
    found = {f"training of {v}": Work(lambda folder, v=v: world.train(cache, folder, v)) for v in VARIANTS}

    def stream(folder: Path) -> None:
        _stream()
        world.train(cache, folder, VARIANTS[0], CACHE_BYTES // 3)

    found["training from a stream"] = Work(stream)
    world.tuning_spec()  # its model is no part of what is killed
    found[TUNING] = Work(lambda folder: world.tune(cache, folder))
    return found


def _stream() -> None:
    """Let the cache be larger than this process's memory."""
    os.environ[MEMORY] = str(0.8 * CACHE_BYTES / 2**30)


def chosen_layers(world: World) -> dict[str, Work]:
    """Return the choice of layers by importance, and training on them, from a stream."""
    records, picks = _trained(world) / "finished.json", {"picks": _PICKS, "seeds": world.seeds}
    layers = world.folder / "layers.json"

    def choose(output: Path) -> None:
        command_line("step", "choose-layers", records, output, "--spec", json.dumps(picks))

    if not layers.exists():
        _whole(run_child(lambda: choose(layers)))
    return {
        "choice of layers": Work(lambda folder: choose(folder / "layers.json")),
        "training on chosen layers": Work(lambda folder: _train_on(world, _PICKS[0], folder)),
    }


def _train_on(world: World, pick: str, folder: Path) -> None:
    """Train on the layers of a pick, from a stream."""
    _stream()
    options = ("--layers", world.folder / "layers.json", "--pick", pick)
    world.train(world.finished_cache("zarr"), folder, VARIANTS[0], CACHE_BYTES // 3, *options)


def others(world: World) -> dict[str, Work]:
    """Return the listing of samples, the commands on a cache, and what is made of records."""
    cache, records = world.finished_cache("zarr"), _trained(world) / "finished.json"
    manifest, replica = cache / "manifest.json", records.with_name(f"fold0_seed{world.seeds[0]}.json")
    study = json.dumps({"records": [str(records)], "studies": _studied(world)})
    of_tables = json.dumps({"records": [str(records)], "studies": []})
    facts = {"title": "Tortured", "notes": [], "records": [str(records)], "manifests": [str(manifest)]}
    dataset = world.dataset.model_dump_json()

    def calls(*words: object, once: str = "") -> Work:
        """Return what calls a command; `{}` in a word stands for the folder.

        A command that made a file `once` may refuse to replace it.
        """

        def run(folder: Path) -> None:
            made = bool(once) and (folder / once).exists()
            try:
                command_line(*(str(word).replace("{}", str(folder)) for word in words))
            except SystemExit as leaving:
                if not made or leaving.code not in _REFUSED:
                    raise

        return Work(run)

    again = f"runs/tortured/stand-in/{VARIANTS[0]}/{replica.name}"
    prune = calls("cache", "prune", "{}/cache", "--yes").run
    return {
        "listing": calls("step", "list-samples", "tortured", "{}/samples.parquet", "--spec", dataset),
        "check for leakage": calls("step", "check-leakage", world.samples, "{}/found.csv", "--spec", dataset),
        "conversion": calls("cache", "convert", cache, "{}/copy", "--to", "hdf5", once="copy/manifest.json"),
        "export": calls("cache", "export", cache, "{}/layers.parquet"),
        "plot": calls("cache", "plot", cache, "--output", "{}/cache.png"),
        "prune": Work(prune, lambda folder: _beside_another(world, folder)),
        "run of a record": calls("run", "--record", replica, "--cache", cache, "--output", "{}", once=again),
        "new dataset": calls("new", "dataset", "own", world.table, "--output", "{}/own.yaml", "--force"),
        "new variant": calls("new", "variant", "own_module", "--folder", "{}", "--force"),
        "tables": calls("step", "write-tables", records, "--output", "{}/tables"),
        "study tables": calls("step", "write-study-tables", "{}/tables", "--spec", of_tables),
        "figures": calls("step", "write-figures", records, "--output", "{}/figures"),
        "study figures": calls("step", "write-study-figures", "{}/figures", "--spec", study),
        "report": calls("step", "write-report", "{}/report.html", "--spec", json.dumps(facts)),
    }


def _trained(world: World) -> Path:
    """Return the folder of an undisturbed training job."""
    folder, cache = world.folder / "trained", world.finished_cache("zarr")
    if not folder.exists():
        _whole(warm(lambda: world.train(cache, folder, VARIANTS[0])))
    return folder


def _studied(world: World) -> list[str]:
    """Return the lists of records of undisturbed training on chosen layers, where a study's records lie."""
    found = []
    for pick in _PICKS:
        folder = world.folder / "studies" / "tortured" / "stand-in" / f"layers-{pick}" / VARIANTS[0]
        if not folder.exists():
            _whole(run_child(lambda pick=pick, folder=folder: _train_on(world, pick, folder)))
        found.append(str(folder / "finished.json"))
    return found


def _whole(ended: Ended) -> None:
    if ended.code:
        raise RuntimeError(ended.text)


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
