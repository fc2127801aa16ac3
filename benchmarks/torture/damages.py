"""Random damage to finished caches: verify finds it, no damaged value is read, repair restores all."""

import json
import random
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.torture.children import run_child
from benchmarks.torture.tally import Budget, Tally
from benchmarks.torture.world import ROWS_PER_CHUNK, StandIn, World, differences, opened, state_of
from daam_bench.cache.ledger import Ledger, _line
from daam_bench.cache.manifest import _checksum
from daam_bench.cache.reader import EmbeddingCache, open_cache
from daam_bench.cache.stream import RowReader
from daam_bench.cache.verify import verify_cache
from daam_bench.errors import DaamBenchError

Damage = Callable[[Path, random.Random], None]
_BATCH = 25
_REPAIRED, _EXTRACTED = "repaired", "extracted_again_as_the_remedy_says"


def _files(folder: Path) -> list[Path]:
    """Return what a damage may hit: the store, its ledger and its manifest."""
    hidden = {".lock"}
    return [
        file
        for file in sorted(folder.rglob("*"))
        if file.is_file()
        and file.suffix not in hidden
        and file.parent.name != "parts"
        and file.stat().st_size
    ]


def _change(file: Path, edit: Callable[[bytearray], bytearray | bytes]) -> None:
    file.write_bytes(edit(bytearray(file.read_bytes())))


def flip_bit(folder: Path, random_: random.Random) -> None:
    def edit(data: bytearray) -> bytearray:
        data[random_.randrange(len(data))] ^= 1 << random_.randrange(8)
        return data

    _change(random_.choice(_files(folder)), edit)


def truncate(folder: Path, random_: random.Random) -> None:
    _change(random_.choice(_files(folder)), lambda data: data[: random_.randrange(len(data))])


def append_garbage(folder: Path, random_: random.Random) -> None:
    _change(random_.choice(_files(folder)), lambda data: data + random_.randbytes(random_.randint(1, 99)))


def zero_page(folder: Path, random_: random.Random) -> None:
    def edit(data: bytearray) -> bytearray:
        start = random_.randrange(0, len(data), 512)
        stop = min(len(data), start + 512)
        data[start:stop] = bytes(stop - start)
        return data

    _change(random_.choice(_files(folder)), edit)


def overwrite(folder: Path, random_: random.Random) -> None:
    def edit(data: bytearray) -> bytearray:
        start = random_.randrange(len(data))
        length = min(len(data) - start, random_.randint(1, 64))
        data[start : start + length] = random_.randbytes(length)
        return data

    _change(random_.choice(_files(folder)), edit)


def delete_file(folder: Path, random_: random.Random) -> None:
    random_.choice(_files(folder)).unlink()


def swap_chunks(folder: Path, random_: random.Random) -> None:
    """Exchange two chunks: whole files in Zarr, runs of bytes in HDF5."""
    cache = open_cache(folder)
    one, other = random_.sample(range(cache.layout.chunks - 1), 2)
    places = [cache.place_of(index) for index in (one, other)]
    sizes = cache.chunk(0).nbytes + 4  # with the checksum that lies behind
    contents = []
    for place in places:
        assert place is not None
        contents.append(place[0].read_bytes()[place[1] : place[1] + sizes])
    for place, content in zip(places, reversed(contents), strict=True):
        assert place is not None
        data = bytearray(place[0].read_bytes())
        data[place[1] : place[1] + sizes] = content
        place[0].write_bytes(data)


def rewrite_array(folder: Path, random_: random.Random) -> None:
    """Change an entry of an array by the format's own library, so that its checksums are right."""
    name = random_.choice(["embeddings", "label", "length", "layer", "feature", "sample", "split", "content"])
    with opened(folder) as group:
        values = group[name][:]
        index = tuple(random_.randrange(size) for size in values.shape)
        entry = values[index]
        if isinstance(entry, np.generic) and np.isnan(entry):
            values[index] = 1.0
        else:
            values[index] = f"{entry!s}x" if not isinstance(entry, np.number) else entry + 1
        group[name][:] = values


def rewrite_attribute(folder: Path, random_: random.Random) -> None:
    """Change, or drop, an attribute of the store by the format's own library."""
    with opened(folder) as group:
        name = random_.choice(sorted(group.attrs))
        if random_.random() < 0.3:
            del group.attrs[name]
        else:
            group.attrs[name] = f"{group.attrs[name]} changed"


def edit_json(folder: Path, random_: random.Random) -> None:
    """Change one entry of a zarr.json, or of the manifest with its own checksum made right again."""
    file = random_.choice([f for f in _files(folder) if f.suffix == ".json"])
    facts = json.loads(file.read_bytes())
    holder, key = random_.choice(list(_entries(facts)))
    holder[key] = random_.choice([0, -1, 2**40, "x", None, [], {}, [2**40, 3, 5], True])
    if file.name == "manifest.json":
        facts.pop("checksum", None)
        facts["checksum"] = _checksum(facts)
    file.write_text(json.dumps(facts), encoding="utf-8")


def _entries(value: Any) -> list[tuple[Any, Any]]:
    pairs = list(value.items()) if isinstance(value, dict) else list(enumerate(value))
    found = [(value, key) for key, _ in pairs]
    for _, inner in pairs:
        if isinstance(inner, dict | list):
            found += _entries(inner)
    return found


def edit_ledger(folder: Path, random_: random.Random) -> None:
    """Drop, exchange or falsify lines of the ledger; falsified lines have a right checksum."""
    (file,) = folder.glob("*.ledger.jsonl")
    entries = list(Ledger(file).read().values())
    index = random_.randrange(len(entries))
    entry = entries[index]
    wrong = {
        "sha256": "0" * 64,
        "chunk": (entry.chunk + 1) % len(entries),
        "lengths": [length + 1 for length in entry.lengths],
        "quarantined": {"text": "nothing"},
    }
    field = random_.choice([*wrong, "lost", "short"])
    if field == "lost":
        del entries[index]
    elif field == "short":
        entries[index] = entry.model_copy(update={"lengths": entry.lengths[:1]})
    else:
        entries[index] = entry.model_copy(update={field: wrong[field]})
    file.write_bytes(b"".join(map(_line, entries)))


DAMAGES: dict[str, Damage] = {
    f.__name__: f
    for f in (
        flip_bit,
        truncate,
        append_garbage,
        zero_page,
        overwrite,
        delete_file,
        swap_chunks,
        rewrite_array,
        rewrite_attribute,
        edit_json,
        edit_ledger,
    )
}
# Made with right checksums: what changes no value, label or attribute is not found, nor is it read.
_FORGED = {"rewrite_array", "rewrite_attribute", "edit_json", "edit_ledger"}
# Flips are the damage that happens by itself: every second one.
_NAMES = [name for other in list(DAMAGES)[1:] for name in ("flip_bit", other)]


def contents(cache: EmbeddingCache) -> tuple[Any, ...]:
    """Return everything that training or analysis can get out of a cache."""
    layout = cache.layout
    rows = np.arange(layout.samples)
    columns = (layout.sample_ids, layout.labels, layout.groups, layout.splits, layout.contents)
    return (
        cache.load().tobytes(),
        RowReader(cache).read(rows).tobytes(),
        [list(map(str, column)) for column in columns],
        cache.lengths.tolist(),
        cache.class_names,
        cache.quarantined,
        dict(layout.attributes),
    )


def examine(folder: Path, expected: tuple[Any, ...]) -> tuple[str | None, bool]:
    """Return what is wrong with how a damage is met, or None, and whether verify found it."""
    try:
        found = not verify_cache(folder).ok
    except DaamBenchError:
        found = True
    try:
        read = contents(open_cache(folder))
    except DaamBenchError:
        return (None if found else "refused by the reader, but verify finds nothing"), found
    if read != expected:
        return "damaged values are read" + ("" if found else ", and verify finds nothing"), found
    return None, found


def mend(
    world: World, kind: str, folder: Path, whole: Path, expected: dict[str, bytes]
) -> tuple[str | None, int, str]:
    """Repair; where that is refused because of the manifest alone, extract again as the remedy says.

    Return what is wrong, or None, the number of rows that were computed, and which of the two it was.
    """
    from rich.progress import Progress

    from daam_bench.cache.repair import repair_cache

    manifest, way = folder / "manifest.json", _REPAIRED
    kept = manifest.exists() and manifest.read_bytes() == (whole / "manifest.json").read_bytes()
    StandIn.rows.take()
    try:
        rows = repair_cache(folder, Progress(disable=True))
    except DaamBenchError as error:
        if kept:
            return f"repair refuses, though the manifest is as it was: {error}", 0, way
        way = _EXTRACTED
        manifest.unlink(missing_ok=True)
        world.extract(folder, kind)
        rows = json.loads(manifest.read_bytes())["measurements"]["last_run_computed_samples"]
    problem = differences(state_of(folder), expected)
    if problem is None and not verify_cache(folder).ok:
        problem = "verify finds something after the repair"
    return problem, int(rows), way


def _concerned(folder: Path, whole: Path) -> int:
    """Return how many rows a damage concerns: of chunks whose bytes, ledger lines or checksums it hit."""
    chunks = set()
    wanted, listed = (_checksums(f / "manifest.json") for f in (whole, folder))
    original = open_cache(whole)
    entries, found = (Ledger(next(f.glob("*.jsonl"), f / "none")).read() for f in (whole, folder))
    for index in range(original.layout.chunks):
        place = original.place_of(index)
        assert place is not None
        # A chunk of Zarr is a whole file, one of HDF5 a part of one.
        size = original.chunk(0).nbytes + 4 if original.path.is_file() else None
        there = folder / place[0].relative_to(whole)
        intact = there.is_file() and _piece(there, place[1], size) == _piece(place[0], place[1], size)
        same = entries[index] == found.get(index) and wanted[index] == listed.get(index)
        if not intact or not same:
            chunks.add(index)
    return len(chunks) * ROWS_PER_CHUNK


def _piece(file: Path, start: int, size: int | None) -> bytes:
    return file.read_bytes()[start:][:size]


def _checksums(manifest: Path) -> dict[int, str]:
    """Return what a manifest says of each chunk; of one that says nothing, nothing."""
    try:
        found = json.loads(manifest.read_bytes())["chunk_sha256"]
    except (OSError, ValueError, KeyError, TypeError):
        return {}
    return dict(enumerate(found)) if isinstance(found, list) else {}


def damage(world: World, kind: str, count: int, seed: int, budget: Budget) -> Tally:
    """Damage copies of a cache `count` times, and repair each."""
    tally, whole = Tally(), world.finished_cache(kind)
    mended, ways = 0, {_REPAIRED: 0, _EXTRACTED: 0}
    start = 0
    while start < count and budget.left():
        numbers = range(start, min(count, start + _BATCH))
        report = world.folder / f"damages-{kind}.jsonl"
        report.unlink(missing_ok=True)
        ended = run_child(
            lambda numbers=numbers, report=report: _batch(world, kind, whole, numbers, seed, report)
        )
        lines = [json.loads(line) for line in report.read_text().splitlines()] if report.exists() else []
        for line in lines:
            tally.note(line["recipe"], line["problem"])
            if not line["found"]:
                tally.count("not_found_by_verify", line["name"])
            mended += line["rows"]
            if line["way"]:
                ways[line["way"]] += 1
        start += len(lines)
        if ended.code:
            recipe = f"{kind}, seed {seed}, number {start}: {_NAMES[start % len(_NAMES)]}"
            tally.note(recipe, f"the process died or hung: {ended.problem()}")
            start += 1
    tally.facts |= ways | {"rows_extracted_again": mended}
    return tally


def _batch(world: World, kind: str, whole: Path, numbers: range, seed: int, report: Path) -> None:
    """Make some damages in a child and write one line for each."""
    expected, files = contents(open_cache(whole)), state_of(whole)
    with report.open("w", encoding="utf-8") as handle:
        for number in numbers:
            name = _NAMES[number % len(_NAMES)]
            random_ = random.Random(f"{seed} {kind} {number}")
            folder = world.folder / f"damaged-{kind}"
            shutil.rmtree(folder, ignore_errors=True)
            shutil.copytree(whole, folder)
            while _raw(folder) == _raw(whole):
                DAMAGES[name](folder, random_)
            problem, found = examine(folder, expected)
            if not found and name not in _FORGED:
                problem = problem or "verify finds nothing"
            rows, way = 0, None
            if problem is None:
                allowed = _concerned(folder, whole)
                problem, rows, way = mend(world, kind, folder, whole, files)
                if problem is None and rows > allowed:
                    problem = f"{rows} rows extracted again, at most {allowed} concerned"
            line = {"recipe": f"{kind}, seed {seed}, number {number}: {name}", "name": name}
            line |= {"problem": problem, "found": found, "rows": rows, "way": way}
            handle.write(json.dumps(line) + "\n")
            handle.flush()


def _raw(folder: Path) -> dict[str, bytes]:
    return {file.relative_to(folder).as_posix(): file.read_bytes() for file in _files(folder)}
