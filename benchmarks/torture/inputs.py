"""Bad inputs: texts, recordings, images, tables, folders and configurations."""

import json
import os
import random
import re
import shutil
import warnings
import zlib
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from benchmarks.torture import bad
from benchmarks.torture.children import run_child
from benchmarks.torture.tally import Budget, Tally
from benchmarks.torture.world import StandIn
from daam_bench.cache.batches import encode_runs
from daam_bench.config import DatasetConfig
from daam_bench.config.merge import load_merged
from daam_bench.datasets.listing import list_samples
from daam_bench.encoders.base import Prepared
from daam_bench.encoders.media import read_audio, read_image
from daam_bench.encoders.text import text_problem
from daam_bench.errors import DaamBenchError, DataError
from daam_bench.plan import make_plan

_PER_BATCH = 400
_SECONDS_FOR_ONE = 10
_MEBIBYTES = 3000


class MediaStandIn(StandIn):
    """Reads recordings or images as the real encoders do, then computes a value of them."""

    def __init__(self, modality: str) -> None:
        self.modality = modality

    def prepare(self, samples: pd.DataFrame, folder: Path) -> Prepared:
        prepared = Prepared()
        for text in samples["text"] if self.modality == "text" else ():
            problem = text_problem(text)
            prepared.add(text, len(text)) if problem is None else prepared.refuse(problem)
        for row in samples.to_dict("records") if self.modality != "text" else ():
            try:
                if self.modality == "speech":
                    raw = read_audio(row, folder, bad.RATE, bad.LONGEST).tobytes()
                else:
                    raw = read_image(row, folder).tobytes()
            except DataError as error:
                prepared.refuse(str(error))
                continue
            prepared.add(str(zlib.crc32(raw)), len(raw))
        return prepared


def _modality(modality: str, ways: Sequence[bad.Way]) -> Callable[[Path, random.Random, int], list[str]]:
    """Return what tries bad samples of a modality among good ones, and compares these with a clean run."""
    column = "text" if modality == "text" else "content"

    def attempt(folder: Path, random_: random.Random, count: int) -> list[str]:
        good = bad.good(modality)
        made = [bad.draw(ways, random_) for _ in range(count)]
        mixed = [*good[:2], *(data for data, _ in made), *good[2:]]
        frames = [
            pd.DataFrame(
                {"sample_id": [f"s{n}" for n in range(len(rows))], column: pd.Series(rows, dtype=object)}
            )
            for rows in (good, mixed)
        ]
        encoder = MediaStandIn(modality)
        (clean,), (found,) = (list(encode_runs(encoder, [frame], folder)) for frame in frames)
        problems = []
        rows = [0, 1, *range(2 + count, len(mixed))]
        if not np.array_equal(found.block[rows], clean.block):
            problems.append("good rows differ from a clean run")
        same = {data: row for row, data in enumerate(good)}
        for row, data in enumerate(mixed):
            if data in same and not np.array_equal(found.block[row], clean.block[same[data]]):
                problems.append(f"s{row}, a duplicate, has other values")
        finite = np.isfinite(found.block).all(axis=(1, 2))
        for row, (data, way) in enumerate(made, 2):
            if way.refuse and finite[row]:
                problems.append(f"{way.name} was accepted: {data[:80]!r}")
            _count(way, not finite[row])
        for row in np.flatnonzero(~finite):
            if not found.quarantined.get(f"s{row}"):
                problems.append(f"s{row} has no values and no reason")
        if set(np.flatnonzero(found.lengths < 0)) != set(np.flatnonzero(~finite)):
            problems.append("lengths disagree with values")
        return problems

    return attempt


def _count(way: bad.Way, refused: bool) -> None:
    """Say to the parent what was tried, and whether it was refused."""
    print("refused:" if refused else "accepted:", way.name)


def _refused(action: Callable[[], object], way: bad.Way) -> list[str]:
    """Return nothing if an action refuses with a reason, or succeeds where it may."""
    try:
        action()
    except DaamBenchError as error:
        _count(way, True)
        return [] if len(str(error)) > 10 else [f"no reason: {error!r}"]
    _count(way, False)
    return [f"{way.name} was accepted"] if way.refuse else []


def try_tables(folder: Path, random_: random.Random, count: int) -> list[str]:
    problems = []
    for _ in range(count):
        file = folder / random_.choice(["t.csv", "t.tsv", "t.parquet", "t.png"])
        data, way = bad.draw(bad.TABLES, random_)
        file.write_bytes(data)
        config = DatasetConfig(kind="table", path=str(file), modality="text")
        problems += _refused(lambda config=config: list_samples("d", config), way)
    return problems


def try_paths(folder: Path, random_: random.Random, count: int) -> list[str]:
    """Try tables of pictures in which one path leads where no picture is; the good rows must stay."""
    for number, data in enumerate(bad.good("vision")):
        (folder / f"{number}.png").write_bytes(data)
    (folder / "inside").mkdir()
    (folder / "zero.png").symlink_to("/dev/zero")
    (folder / "leaves.png").symlink_to("/etc/hostname")
    (folder / "loop.png").symlink_to("loop.png")
    os.mkfifo(folder / "pipe.png")
    config = DatasetConfig(kind="table", path=str(folder / "t.parquet"), modality="vision")
    problems = []
    for _ in range(count):
        path, way = bad.draw(bad.PATHS, random_)
        names = [*(f"{number}.png" for number in range(5)), path]
        pd.DataFrame({"file": names, "label": [0, 1, 0, 1, 0, 1]}).to_parquet(config.path)
        try:
            _, found = _listed_and_read(config, folder)
        except DaamBenchError as error:
            _count(way, True)
            problems += [] if len(str(error)) > 10 else [f"no reason: {error!r}"]
            continue
        _count(way, found.lengths[5] < 0)
        if found.lengths[5] >= 0:
            problems.append(f"{way.name} was accepted: {path[:80]!r}")
        if (found.lengths[:5] < 0).any():
            problems.append(f"{way.name} took good rows with it")
    return problems


def try_configurations(folder: Path, random_: random.Random, count: int) -> list[str]:
    problems = []
    file = folder / "config.yaml"
    for _ in range(count):
        text, way = bad.draw(bad.CONFIGURATIONS, random_)
        file.write_bytes(text)
        problems += [f"{p}: {text[:200]!r}" for p in _refused(lambda: make_plan(load_merged(file)), way)]
    return problems


_GOOD = bad.Way("a good picture", bad.bad_name, refuse=False)
_LINK = bad.Way("a link", bad.bad_name)
_PIPE = bad.Way("a pipe", bad.bad_name)
_NO_UNICODE = bad.Way("a name that is no Unicode", bad.bad_name)
_LINKS = [b".", b"/etc", b"nowhere", b"/dev/zero", b"itself"]
_TO_FOLDERS = _LINKS[:2]


def try_folders(folder: Path, random_: random.Random, count: int) -> list[str]:
    """Try folders of class folders with hostile names, links that loop or leave, and bad files.

    A name that is no Unicode refuses its folder as a whole; in every other folder each file is looked at.
    """
    picture = pd.DataFrame({"sample_id": ["s0"], "content": bad.good("vision")[:1]})
    (clean,) = encode_runs(MediaStandIn("vision"), [picture], folder)
    problems = []
    done = 0
    while done < count:
        root = folder / "data"
        shutil.rmtree(root, ignore_errors=True)
        placed: dict[str, bad.Way] = {}
        for label in ("low", "high", bad.bad_name(random_)):
            (root / label).mkdir(parents=True)
            for _ in range(10):
                placed |= _placed(root, label, random_)
        done += len(placed)
        config = DatasetConfig(kind="class_folders", path=str(root), modality="vision")
        if random_.random() < 0.2:
            (root / "low" / f"{bad.bad_name(random_)}\udc80.png").touch()
            problems += _refused(lambda config=config: _listed_and_read(config, folder), _NO_UNICODE)
            continue
        try:
            frame, found = _listed_and_read(config, folder)
        except DaamBenchError as error:
            problems.append(f"files took their whole folder with them: {error}")
            continue
        problems += _wrong_files(placed, frame["sample_id"].tolist(), found, clean.block[0])
    return problems


def _placed(root: Path, label: str, random_: random.Random) -> dict[str, bad.Way]:
    """Put something of a hostile name into a class folder; return what should be listed, and what it is."""
    ending = random_.choice([".png", ".PNG", ".jpg", ""])
    name = f"{label}/{bad.bad_name(random_)}{ending}"
    path = root / name
    if os.path.lexists(path):
        return {}
    what, way = random_.random(), _GOOD
    if what < 0.2:
        link = random_.choice(_LINKS)
        os.symlink(os.fsencode(path) if link == b"itself" else link, os.fsencode(path))
        if link in _TO_FOLDERS:
            return {}  # a folder, which is not followed
        way = _LINK
    elif what < 0.25:
        os.mkfifo(path)
        way = _PIPE
    elif what < 0.6:
        path.write_bytes(bad.good("vision")[0])
    else:
        data, way = bad.draw(bad.VISION, random_)
        path.write_bytes(data)
    return {name: way} if ending else {}


def _wrong_files(placed: dict[str, bad.Way], listed: list[str], found: Any, good: Any) -> list[str]:
    """Return which files were left out, lack a reason for being bad, or have other values than alone."""
    problems = [f"{name!r} is not listed" for name in placed.keys() - set(listed)]
    for row, name in enumerate(listed):
        way, refused = placed[name], found.lengths[row] < 0
        _count(way, refused)
        if refused and len(found.quarantined.get(name, "")) <= 10:
            problems.append(f"{name!r}, {way.name}, has no values and no reason")
        if way.refuse and not refused:
            problems.append(f"{way.name} was accepted: {name!r}")
        if way is _GOOD and not np.array_equal(found.block[row], good):
            problems.append(f"{name!r}, {way.name}, has other values than alone")
    return problems


def _listed_and_read(config: DatasetConfig, folder: Path) -> tuple[pd.DataFrame, Any]:
    frame = list_samples("d", config)
    frame.to_parquet(folder / "samples.parquet", index=False)
    again = pd.read_parquet(folder / "samples.parquet")
    (found,) = encode_runs(MediaStandIn("vision"), [again], Path(again.attrs["folder"]))
    json.dumps(found.quarantined).encode()
    return again, found


KINDS: dict[str, Callable[[Path, random.Random, int], list[str]]] = {
    "text": _modality("text", bad.TEXT),
    "recordings": _modality("speech", bad.SPEECH),
    "images": _modality("vision", bad.VISION),
    "tables": try_tables,
    "paths": try_paths,
    "configurations": try_configurations,
    "folders": try_folders,
}
# Shares of a hundred inputs.
_SHARES = {
    "text": 20,
    "recordings": 25,
    "images": 25,
    "tables": 7,
    "paths": 1,
    "configurations": 12,
    "folders": 10,
}


def _batches(count: int) -> Iterator[tuple[str, int, int]]:
    """Yield kind, number and size of batches; small ones of each kind first."""
    number = 0
    left = {name: -(-count * share // 100) for name, share in _SHARES.items()}
    while any(left.values()):
        for name, remaining in left.items():
            size = min(remaining, _PER_BATCH)
            if size:
                yield name, number, size
                number += 1
            left[name] -= size


def feed(folder: Path, count: int, seed: int, budget: Budget) -> Tally:
    """Feed `count` bad inputs, in children with limits on time and memory."""
    tally = Tally()
    fed: dict[str, dict[str, dict[str, int]]] = {name: {} for name in KINDS}
    for name, number, size in _batches(count):
        if not budget.left():
            break
        for ended, way in _feed_batch(folder, name, f"{seed} {number}", size, tally):
            counts = fed[name].setdefault(way, {"refused": 0, "accepted": 0})
            counts[ended] += 1
    tally.facts = {"by_kind": fed}
    return tally


def _feed_batch(folder: Path, name: str, seed: str, size: int, tally: Tally) -> list[tuple[str, str]]:
    """Feed some; return (refused or accepted, what was bad) of each."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()

    def work() -> None:
        warnings.simplefilter("ignore")
        problems = KINDS[name](folder, random.Random(seed), size)
        for problem in problems:
            print("problem:", problem)
        if problems:
            raise SystemExit(1)

    ended = run_child(work, limit=_SECONDS_FOR_ONE + size * 0.25, mebibytes=_MEBIBYTES)
    tally.tried += size
    if ended.code:
        tally.failures.append(f"{name}, batch {seed!r} of {size}: {ended.problem()}")
    return re.findall(r"^(refused|accepted): (.*)$", ended.text, re.MULTILINE)
