"""Bad inputs: texts, recordings, images, tables, folders and configurations.

Only what is surely bad counts as tried; what was bent at random and may still be good is counted beside it,
as `perhaps_bad`.
"""

import json
import os
import random
import re
import shutil
import signal
import warnings
import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from benchmarks.torture import bad
from benchmarks.torture.children import Ended, run_child
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
        for row in samples.to_dict("records"):
            with _watched(row["sample_id"]):
                self._add(row, folder, prepared)
        return prepared

    def _add(self, row: dict[Any, Any], folder: Path, prepared: Prepared) -> None:
        if self.modality == "text":
            problem = text_problem(row["text"])
            prepared.add(row["text"], len(row["text"])) if problem is None else prepared.refuse(problem)
            return
        try:
            if self.modality == "speech":
                raw = read_audio(row, folder, bad.RATE, bad.LONGEST).tobytes()
            else:
                raw = read_image(row, folder).tobytes()
        except DataError as error:
            prepared.refuse(str(error))
            return
        prepared.add(str(zlib.crc32(raw)), len(raw))


@contextmanager
def _watched(name: str) -> Iterator[None]:
    """Say what is tried; end this process if that takes too long, also where it hangs outside of Python."""
    print("trying:", json.dumps(name), flush=True)
    left, _ = signal.setitimer(signal.ITIMER_REAL, _SECONDS_FOR_ONE)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, left)  # of what this is a part of


def _encoded(modality: str, frame: pd.DataFrame, folder: Path) -> Any:
    (found,) = encode_runs(MediaStandIn(modality), [frame], folder)
    return found


def _clean(modality: str, folder: Path) -> Any:
    """Return the values of the good samples by themselves."""
    column = "text" if modality == "text" else "content"
    good = bad.good(modality)
    ids = [f"s{n}" for n in range(len(good))]
    frame = pd.DataFrame({"sample_id": ids, column: pd.Series(good, dtype=object)})
    return _encoded(modality, frame, folder).block


def _modality(modality: str, ways: Sequence[bad.Way]) -> Callable[[Path, random.Random, int], list[str]]:
    """Return what tries bad samples of a modality among good ones, and compares these with a clean run."""
    column = "text" if modality == "text" else "content"

    def attempt(folder: Path, random_: random.Random, count: int) -> list[str]:
        good, clean = bad.good(modality), _clean(modality, folder)
        made = [bad.draw(ways, random_) for _ in range(count)]
        mixed = [*good[:2], *(data for data, _ in made), *good[2:]]
        ids = [f"s{n}" for n in range(len(mixed))]
        frame = pd.DataFrame({"sample_id": ids, column: pd.Series(mixed, dtype=object)})
        found = _encoded(modality, frame, folder)
        problems = []
        same = {data: row for row, data in enumerate(good)}
        finite = np.isfinite(found.block).all(axis=(1, 2))
        for row, data in enumerate(mixed):
            way = made[row - 2][1] if 2 <= row < 2 + count else None
            if way is not None:
                _count(way, not finite[row])
            if way is not None and way.refuse and finite[row]:
                problems.append(f"{way.name} was accepted: {data[:80]!r}")
            elif not finite[row] and not found.quarantined.get(f"s{row}"):
                problems.append(f"s{row} has no values and no reason")
            elif (found.lengths[row] < 0) == finite[row]:
                problems.append(f"s{row}: its length disagrees with its values")
            elif data in same and not np.array_equal(found.block[row], clean[same[data]]):
                problems.append(f"s{row}, which is good, differs from a clean run")
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
        (name, data), way = bad.draw(bad.TABLES, random_)
        file = folder / name
        file.write_bytes(data)
        config = DatasetConfig(kind="table", path=str(file), modality="text")
        with _watched(way.name):
            problems += _refused(lambda config=config: list_samples("d", config), way)
    return problems


def try_paths(folder: Path, random_: random.Random, count: int) -> list[str]:
    """Try tables in which one path leads where no picture or recording is; the good rows must stay."""
    problems = []
    for modality in ("vision", "speech"):
        root = folder / modality
        _lay_out(root, modality)
        clean = _clean(modality, folder)
        half = (count + (modality == "vision")) // 2
        for _ in range(half):
            path, way = bad.draw(bad.PATHS, random_)
            with _watched(way.name):
                problem = _try_path(root, modality, path, way, clean)
            problems += [] if problem is None else [f"{way.name}, {modality}: {problem}: {path[:80]!r}"]
    return problems


def _lay_out(root: Path, modality: str) -> None:
    """Write good files under names that hide what they are, and what is none beside them."""
    (root / "inside").mkdir(parents=True)
    for name, data in zip(bad.GOOD_NAMES, bad.good(modality), strict=True):
        (root / name).write_bytes(data)
    for name in ("text.png", "text.wav"):
        (root / name).write_text("a text\n")
    links = {"zero": "/dev/zero", "leaves": "/etc/hostname", "loop": "loop.bin"}
    links |= {"there": "back.bin", "back": "there.bin"}
    for name, target in links.items():
        (root / f"{name}.bin").symlink_to(target)
    (root / "around").symlink_to(".")
    os.mkfifo(root / "pipe.bin")


def _try_path(root: Path, modality: str, path: str, way: bad.Way, clean: Any) -> str | None:
    """Return what is wrong with how a table is read whose last row has a path that leads nowhere good."""
    config = DatasetConfig(kind="table", path=str(root / "t.parquet"), modality=modality)
    column = {"vision": "image", "speech": "audio"}[modality]
    frame = pd.DataFrame({column: [*bad.GOOD_NAMES, path], "label": [0, 1, 0, 1, 0, 1]})
    frame.to_parquet(config.path)
    try:
        _, found = _listed_and_read(config, root)
    except DaamBenchError as error:
        return f"it took the good rows with it ({error})"
    good = len(bad.GOOD_NAMES)
    _count(way, found.lengths[good] < 0)
    if found.lengths[good] >= 0:
        return "it was accepted"
    if not np.array_equal(found.block[:good], clean):
        return "good rows differ from a clean run"
    return None


def try_configurations(folder: Path, random_: random.Random, count: int) -> list[str]:
    problems = []
    file = folder / "config.yaml"
    for _ in range(count):
        text, way = bad.draw(bad.CONFIGURATIONS, random_)
        file.write_bytes(text)
        with _watched(way.name):
            found = _refused(lambda: make_plan(load_merged(file)), way)
        problems += [f"{problem}: {text[:200]!r}" for problem in found]
    return problems


_GOOD = {
    "vision": bad.Way("a good picture", bad.bad_name, refuse=False),
    "speech": bad.Way("a good recording", bad.bad_name, refuse=False),
}
_BAD = {"vision": bad.VISION, "speech": bad.SPEECH}
_ENDINGS = {"vision": [".png", ".PNG", ".jpg", ""], "speech": [".wav", ".WAV", ".flac", ""]}
_LINK = bad.Way("a link", bad.bad_name)
_PIPE = bad.Way("a pipe", bad.bad_name)
_NO_UNICODE = bad.Way("a name that is no Unicode", bad.bad_name)
_LINKS = [b".", b"/etc", b"nowhere", b"/dev/zero", b"itself"]
_TO_FOLDERS = _LINKS[:2]


def try_folders(folder: Path, random_: random.Random, count: int) -> list[str]:
    """Try folders of class folders with hostile names, links that loop or leave, and bad files.

    A name that is no Unicode refuses its folder as a whole; in every other folder each file is looked at.
    """
    clean = {modality: _clean(modality, folder)[0] for modality in _GOOD}
    problems = []
    done, turn = 0, 0
    while done < count:
        modality, turn = list(_GOOD)[turn % 2], turn + 1
        root = folder / "data"
        shutil.rmtree(root, ignore_errors=True)
        placed: dict[str, bad.Way] = {}
        for label in ("low", "high", bad.bad_name(random_)):
            (root / label).mkdir(parents=True)
            for _ in range(10):
                placed |= _placed(root, label, modality, random_)
        done += len(placed)
        config = DatasetConfig(kind="class_folders", path=str(root), modality=modality)
        if turn % 7 == 2:
            (root / "low" / f"{bad.bad_name(random_)}\udc80{_ENDINGS[modality][0]}").touch()
            with _watched(_NO_UNICODE.name):
                problems += _refused(lambda config=config: _listed_and_read(config, folder), _NO_UNICODE)
            continue
        try:
            with _watched("a folder"):
                frame, found = _listed_and_read(config, folder)
        except DaamBenchError as error:
            problems.append(f"files took their whole folder with them: {error}")
            continue
        problems += _wrong_files(placed, frame["sample_id"].tolist(), found, clean[modality])
    return problems


def _placed(root: Path, label: str, modality: str, random_: random.Random) -> dict[str, bad.Way]:
    """Put something of a hostile name into a class folder; return what should be listed, and what it is."""
    ending = random_.choice(_ENDINGS[modality])
    name = f"{label}/{bad.bad_name(random_)}{ending}"
    path = root / name
    if os.path.lexists(path):
        return {}
    what, way = random_.random(), _GOOD[modality]
    if what < 0.2:
        link = random_.choice(_LINKS)
        os.symlink(os.fsencode(path) if link == b"itself" else link, os.fsencode(path))
        if link in _TO_FOLDERS:
            return {}  # a folder, which is not followed
        way = _LINK
    elif what < 0.25:
        os.mkfifo(path)
        way = _PIPE
    elif what < 0.4:
        path.write_bytes(bad.good(modality)[0])
    else:
        data, way = bad.draw(_BAD[modality], random_)
        path.write_bytes(data)
    return {name: way} if ending else {}


def _wrong_files(placed: dict[str, bad.Way], listed: list[str], found: Any, good: Any) -> list[str]:
    """Return which files were left out, lack a reason for being bad, or have other values than alone."""
    problems = [f"{name!r} is not listed" for name in placed.keys() - set(listed)]
    for row, name in enumerate(listed):
        way, refused = placed[name], found.lengths[row] < 0
        _count(way, refused)
        if way.refuse and not refused:
            problems.append(f"{way.name} was accepted: {name!r}")
        elif refused and len(found.quarantined.get(name, "")) <= 10:
            problems.append(f"{name!r}, {way.name}, has no values and no reason")
        elif way in _GOOD.values() and not np.array_equal(found.block[row], good):
            problems.append(f"{name!r}, {way.name}, has other values than alone")
    return problems


def _listed_and_read(config: DatasetConfig, folder: Path) -> tuple[pd.DataFrame, Any]:
    frame = list_samples("d", config)
    frame.to_parquet(folder / "samples.parquet", index=False)
    again = pd.read_parquet(folder / "samples.parquet")
    found = _encoded(str(config.modality), again, Path(again.attrs["folder"]))
    json.dumps(found.quarantined).encode()
    return again, found


@dataclass(frozen=True)
class Kind:
    """A kind of inputs.

    Attributes:
        attempt: tries some in a folder, says of each what was bad and how it ended; returns what is wrong.
        ways: all that is bad about its inputs; a name that two have means the same.
        share: of a hundred inputs that are surely bad.
    """

    attempt: Callable[[Path, random.Random, int], list[str]]
    ways: Sequence[bad.Way]
    share: int


_OF_FOLDERS = (*bad.VISION, *bad.SPEECH, *_GOOD.values(), _LINK, _PIPE, _NO_UNICODE)
KINDS = {
    "text": Kind(_modality("text", bad.TEXT), bad.TEXT, 22),
    "recordings": Kind(_modality("speech", bad.SPEECH), bad.SPEECH, 25),
    "images": Kind(_modality("vision", bad.VISION), bad.VISION, 25),
    "tables": Kind(try_tables, bad.TABLES, 7),
    "paths": Kind(try_paths, bad.PATHS, 1),
    "configurations": Kind(try_configurations, bad.CONFIGURATIONS, 10),
    "folders": Kind(try_folders, _OF_FOLDERS, 10),
}


def feed(folder: Path, count: int, seed: int, budget: Budget) -> Tally:
    """Feed at least `count` inputs that are surely bad, in children with limits on time and memory."""
    tally = Tally(facts={"perhaps_bad": {"tried": 0, "refused": 0, "accepted": 0}, "by_kind": {}})
    left = {name: -(-count * kind.share // 100) for name, kind in KINDS.items()}
    number = 0
    while budget.left() and any(wanted > 0 for wanted in left.values()):
        for name in [name for name, wanted in left.items() if wanted > 0]:
            before = tally.tried
            # Some more than are wanted: not all are surely bad.
            size = min(left[name] + left[name] // 2 + 5, _PER_BATCH)
            ended = _feed_batch(folder, name, f"{seed} {number}", size)
            _note(tally, name, f"{name}, batch '{seed} {number}' of {size}", ended)
            left[name] -= size if ended.code else max(1, tally.tried - before)
            number += 1
    return tally


def _feed_batch(folder: Path, name: str, seed: str, size: int) -> Ended:
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()

    def work() -> None:
        warnings.simplefilter("ignore")
        for problem in KINDS[name].attempt(folder, random.Random(seed), size):
            print("problem:", json.dumps(problem))

    return run_child(work, limit=_SECONDS_FOR_ONE + size * 0.25, mebibytes=_MEBIBYTES)


def _note(tally: Tally, name: str, recipe: str, ended: Ended) -> None:
    """Count what a batch says that it tried, what is wrong with it, and a crash."""
    sure = {way.name for way in KINDS[name].ways if way.refuse}
    fed, perhaps = tally.facts["by_kind"].setdefault(name, {}), tally.facts["perhaps_bad"]
    for how, way in re.findall(r"^(refused|accepted): (.*)$", ended.text, re.MULTILINE):
        fed.setdefault(way, {"refused": 0, "accepted": 0})[how] += 1
        if way in sure:
            tally.tried += 1
        else:
            perhaps["tried"] += 1
            perhaps[how] += 1
    for problem in re.findall(r"^problem: (.*)$", ended.text, re.MULTILINE):
        tally.failures.append(f"{recipe}: {json.loads(problem)}")
    if ended.code:
        tally.note(recipe, _crash(ended))


def _crash(ended: Ended) -> str:
    """Return how a child came to its end, and at which input."""
    at = "".join(re.findall(r"^trying: (.*)$", ended.text, re.MULTILINE)[-1:])
    if ended.code == -signal.SIGALRM:
        return f"no end after {_SECONDS_FOR_ONE} s: {at}"
    return f"{ended.problem()}, at {at}"
