"""Bad inputs: texts, recordings, images, tables, folders and configurations."""

import io
import json
import os
import random
import shutil
import struct
import warnings
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import soundfile
import yaml
from PIL import Image

from benchmarks.torture.children import run_child
from benchmarks.torture.tally import Budget, Tally
from benchmarks.torture.world import StandIn
from daam_bench.cache.batches import encode_runs
from daam_bench.config import DatasetConfig, load_config
from daam_bench.datasets.listing import list_samples
from daam_bench.encoders.base import Prepared
from daam_bench.encoders.media import read_audio, read_image
from daam_bench.encoders.text import text_problem
from daam_bench.errors import DaamBenchError, DataError
from daam_bench.plan import make_plan

Maker = Callable[[random.Random], bytes]
_PER_BATCH = 400
_SECONDS_FOR_ONE = 10
_MEBIBYTES = 3000
_RATE = 16000


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
                    raw = read_audio(row, folder, _RATE, 60.0).tobytes()
                else:
                    raw = read_image(row, folder).tobytes()
            except DataError as error:
                prepared.refuse(str(error))
                continue
            prepared.add(str(zlib.crc32(raw)), len(raw))
        return prepared


def _wav(samples: Any, rate: int = _RATE, subtype: str = "PCM_16") -> bytes:
    buffer = io.BytesIO()
    soundfile.write(buffer, samples, rate, format="WAV", subtype=subtype)
    return buffer.getvalue()


def _image(kind: str, random_: random.Random) -> bytes:
    buffer = io.BytesIO()
    pixels = np.frombuffer(random_.randbytes(9 * 7 * 3), np.uint8).reshape(9, 7, 3)
    Image.fromarray(pixels).save(buffer, kind)
    return buffer.getvalue()


def _bent(data: bytes, random_: random.Random) -> bytes:
    """Return data cut, with flipped bytes, doubled, or with a piece replaced."""
    way = random_.randrange(5)
    changed = bytearray(data)
    if way == 0:
        return data[: random_.randrange(len(data))]
    if way == 1:
        for _ in range(random_.randint(1, 20)):
            changed[random_.randrange(len(changed))] = random_.randrange(256)
        return bytes(changed)
    if way == 2:
        at = random_.randrange(len(data))
        return data[:at] + random_.randbytes(random_.randint(1, 40)) + data[at:]
    if way == 3:
        return random_.randbytes(random_.randint(0, 200))
    at = random_.randrange(max(1, min(60, len(data) - 4)))  # headers hold sizes
    changed[at : at + 4] = struct.pack("<I", random_.choice([0, 1, 2**31 - 1, 2**31, 2**32 - 1]))
    return bytes(changed)


def _chunk(name: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))


def _bomb(random_: random.Random) -> bytes:
    """Return a PNG of a few kilobytes that declares up to 30,000 x 30,000 pixels."""
    side = random_.choice([9000, 20000, 30000])
    head = struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0)
    rows = zlib.compress(bytes(200_000), 9)
    return b"\x89PNG\r\n\x1a\n" + _chunk(b"IHDR", head) + _chunk(b"IDAT", rows) + _chunk(b"IEND", b"")


def bad_recording(random_: random.Random) -> bytes:
    tone = np.sin(np.arange(random_.randint(1, 3000)) * 0.1).astype(np.float32)
    way = random_.randrange(20)
    if way == 0:
        return b""
    if way == 1:
        return _wav(tone[:0])
    if way == 2:
        tone[random_.randrange(len(tone))] = random_.choice([np.nan, np.inf, -np.inf])
        return _wav(tone, subtype="FLOAT")
    if way == 3:
        return _wav(np.zeros(61 * 800, np.float32), rate=800)  # longer than 60 s
    if way == 4:
        return _image("PNG", random_)
    return _bent(_wav(tone, random_.choice([8000, 16000, 44100])), random_)


def bad_image(random_: random.Random) -> bytes:
    way = random_.randrange(40)
    if way == 0:
        return b""
    if way == 1:
        return _bomb(random_)
    if way == 2:
        return _wav(np.zeros(99, np.float32))
    return _bent(_image(random_.choice(["PNG", "JPEG", "GIF", "BMP", "TIFF", "WEBP"]), random_), random_)


def bad_text(random_: random.Random) -> str:
    way = random_.randrange(8)
    if way == 0:
        return ""
    if way == 1:
        return " \t\u00a0\u2003" * random_.randint(1, 9)
    if way == 2:
        return "".join(chr(random_.randrange(0x110000)) for _ in range(random_.randint(1, 60)))
    if way == 3:
        return random_.choice(["\x00", "\ud800", "\ufeff", "\u202e"]) * random_.randint(1, 99)
    if way == 4:
        return "word " * random_.randint(1000, 9000)
    return "bad" + random_.choice(["'", '"', "\n", "\r\n", ",", ";", "\\"]) * random_.randint(1, 40)


def bad_table(random_: random.Random) -> bytes:
    lines = ["text,label,group"] + [f"t{n},{n % 2},g{n % 3}" for n in range(random_.randint(0, 9))]
    data = "\n".join(lines).encode(random_.choice(["utf-8", "utf-16", "latin-1"]))
    return _bent(data + b"\n" + random_.randbytes(random_.randint(0, 60)), random_)


_VALUES: list[Any] = [
    None,
    True,
    -1,
    0,
    2**70,
    1e400,
    float("nan"),
    "",
    "x" * 5000,
    "../../etc",
    "/dev/zero",
    "\0",
    [],
    {},
    [[]],
    {"a": []},
]


def bad_configuration(random_: random.Random) -> bytes:
    """Return a configuration with a field falsified, absurd YAML, or bent bytes."""
    way = random_.randrange(8)
    if way == 0:
        return b"a: &a [x, x]\nb: &b [*a, *a]\nc: &c [*b, *b]\nd: [*c, *c]\n"
    if way == 1:
        return b"[" * random_.randint(1, 900)
    if way == 2:
        return b"!!python/object/apply:os.system ['true']\n"
    if way == 3:
        return b"x: " + b"1" * random_.randint(1, 6000)
    base: dict[str, Any] = {
        "datasets": {"d": {"kind": "digits", "path": "resources", "folds": {"rule": "stratified"}}},
        "encoders": {"e": {"modality": "vision", "model": "resources"}},
        "experiments": [{"dataset": "d", "encoder": "e", "variants": ["mha"], "seeds": [0]}],
        "training": {"epochs": 2},
        "protocol": {"name": "paper"},
        "cache": {"dtype": "float16"},
    }
    if way == 4:
        return _bent(yaml.safe_dump(base).encode(), random_)
    holder: Any = base
    while True:
        keys = list(holder) if isinstance(holder, dict) else list(range(len(holder)))
        key = random_.choice(keys)
        if isinstance(holder[key], dict | list) and holder[key] and random_.random() < 0.7:
            holder = holder[key]
            continue
        if isinstance(holder, dict) and random_.random() < 0.3:
            holder[random_.choice(["x", "", 7, None, "../y"])] = holder.pop(key)
        else:
            holder[key] = random_.choice(_VALUES)
        return yaml.safe_dump(base).encode()


def bad_name(random_: random.Random) -> str:
    """Return a name for a file or folder with what shells and parsers stumble over."""
    parts = [
        " ",
        "'",
        '"',
        "\n",
        "$(true)",
        ";",
        "`",
        "*",
        "?",
        "\\",
        "ü",
        "\udc80",
        "-rf",
        "..",
        "%s",
        "{x}",
        "#",
    ]
    return "n" + "".join(random_.choice(parts) for _ in range(random_.randint(1, 12)))


def _modality(
    modality: str, maker: Callable[[random.Random], Any]
) -> Callable[[Path, random.Random, int], list[str]]:
    """Return what tries bad samples of a modality among good ones, and compares these with a clean run."""
    column = "text" if modality == "text" else "content"

    def attempt(folder: Path, random_: random.Random, count: int) -> list[str]:
        good: list[Any] = _good(modality)
        bad = [maker(random_) for _ in range(count)]
        mixed = [*good[:2], *bad, *good[2:]]
        frames = [
            pd.DataFrame(
                {"sample_id": [f"s{n}" for n in range(len(rows))], column: pd.Series(rows, dtype=object)}
            )
            for rows in (good, mixed)
        ]
        encoder = MediaStandIn(modality)
        (clean,), (found,) = (list(encode_runs(encoder, [frame], folder)) for frame in frames)
        problems = []
        rows = [0, 1, *range(2 + len(bad), len(mixed))]
        if not np.array_equal(found.block[rows], clean.block):
            problems.append("good rows differ from a clean run")
        finite = np.isfinite(found.block).all(axis=(1, 2))
        for row in np.flatnonzero(~finite):
            if not found.quarantined.get(f"s{row}"):
                problems.append(f"s{row} has no values and no reason")
        if set(np.flatnonzero(found.lengths < 0)) != set(np.flatnonzero(~finite)):
            problems.append("lengths disagree with values")
        return problems

    return attempt


def _good(modality: str) -> list[Any]:
    random_ = random.Random(5)
    if modality == "text":
        return [f"text number {n}" for n in range(5)]
    if modality == "speech":
        return [_wav(np.sin(np.arange(300 + 50 * n) * 0.1)) for n in range(5)]
    return [_image("PNG", random_) for _ in range(5)]


def _refused(action: Callable[[], object]) -> list[str]:
    """Return nothing if an action succeeds, or refuses with a reason."""
    try:
        action()
    except DaamBenchError as error:
        return [] if len(str(error)) > 10 else [f"no reason: {error!r}"]
    return []


def try_tables(folder: Path, random_: random.Random, count: int) -> list[str]:
    problems = []
    for _ in range(count):
        file = folder / random_.choice(["t.csv", "t.tsv", "t.parquet", "t.png"])
        file.write_bytes(bad_table(random_))
        config = DatasetConfig(kind="table", path=str(file), modality="text")
        problems += _refused(lambda config=config: list_samples("d", config))
    return problems


def try_configurations(folder: Path, random_: random.Random, count: int) -> list[str]:
    problems = []
    file = folder / "config.yaml"
    for _ in range(count):
        file.write_bytes(bad_configuration(random_))
        problems += _refused(lambda: make_plan(load_config(file)))
    return problems


def try_folders(folder: Path, random_: random.Random, count: int) -> list[str]:
    """Try folders of class folders with hostile names, links that loop or leave, and bad files."""
    problems = []
    done = 0
    while done < count:
        root = folder / "data"
        shutil.rmtree(root, ignore_errors=True)
        for label in ("low", "high", bad_name(random_)):
            inside = os.fsencode(root / label)
            os.makedirs(inside, exist_ok=True)
            for _ in range(10):
                path = os.path.join(
                    inside, os.fsencode(bad_name(random_) + random_.choice([".png", ".PNG", ".jpg", ""]))
                )
                if not os.path.lexists(path):
                    if random_.random() < 0.2:
                        os.symlink(random_.choice([b".", b"/etc", b"nowhere", path]), path)
                    else:
                        with open(path, "wb") as handle:
                            handle.write(_good("vision")[0] if random_.random() < 0.5 else bad_image(random_))
                done += 1
        config = DatasetConfig(kind="class_folders", path=str(root), modality="vision")
        problems += _refused(lambda config=config: _listed_and_read(config, folder))
    return problems


def _listed_and_read(config: DatasetConfig, folder: Path) -> None:
    frame = list_samples("d", config)
    frame.to_parquet(folder / "samples.parquet", index=False)
    again = pd.read_parquet(folder / "samples.parquet")
    (found,) = encode_runs(MediaStandIn("vision"), [again], Path(again.attrs["folder"]))
    json.dumps(found.quarantined).encode()


KINDS: dict[str, Callable[[Path, random.Random, int], list[str]]] = {
    "text": _modality("text", bad_text),
    "recordings": _modality("speech", bad_recording),
    "images": _modality("vision", bad_image),
    "tables": try_tables,
    "configurations": try_configurations,
    "folders": try_folders,
}
# Shares of a hundred inputs.
_SHARES = {"text": 20, "recordings": 25, "images": 25, "tables": 8, "configurations": 12, "folders": 10}


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
    fed = dict.fromkeys(KINDS, 0)
    for name, number, size in _batches(count):
        if not budget.left():
            break
        _feed_batch(folder, name, f"{seed} {number}", size, tally)
        fed[name] += size
    tally.facts = {"by_kind": fed}
    return tally


def _feed_batch(folder: Path, name: str, seed: str, size: int, tally: Tally) -> None:
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
