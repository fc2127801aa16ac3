"""Coverage-guided fuzzing of the parsers of our own (make fuzz).

`python -m benchmarks.torture.fuzz` tries each in a process of its own and writes the file
results/benchmarks/fuzz.json; `--parser NAME` tries one here, and prints the bytes that crashed it.
"""

import argparse
import json
import logging
import os
import re
import struct
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from daam_bench.errors import DaamBenchError

_FOLDER = Path(tempfile.mkdtemp(prefix="torture-fuzz-"))


def _written(name: str, data: bytes) -> Path:
    file = _FOLDER / name
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(data)
    return file


def ledger(data: bytes) -> None:
    from daam_bench.cache.ledger import Ledger, _checksum

    # With right checksums, too: else hardly a line would get through.
    lines = [_checksum(line) + b" " + line for line in data.split(b"\n")]
    for content in (data, b"\n".join(lines)):
        Ledger(_written("ledger", content)).read()


def manifest(data: bytes) -> None:
    from daam_bench.cache.manifest import _checksum, read_manifest

    file = _written("manifest.json", data)
    try:
        facts = json.loads(data)
        file.write_text(json.dumps(facts | {"checksum": _checksum(facts)}), encoding="utf-8")
    except (ValueError, TypeError, RecursionError):
        pass
    read_manifest(file)


def config(data: bytes) -> None:
    from daam_bench.config.merge import load_merged
    from daam_bench.plan import make_plan

    make_plan(load_merged(_written("config.yaml", data)))


def inert_pickle(data: bytes) -> None:
    from daam_bench.datasets.inert_pickle import read_inert

    read_inert(_written("batch", data))


def iemocap(data: bytes) -> None:
    from daam_bench.config import DatasetConfig
    from daam_bench.datasets.iemocap import read_iemocap

    for number in range(1, 6):
        _written(f"iemocap/Session{number}/dialog/EmoEvaluation/Ses0{number}F_impro01.txt", data)
    read_iemocap(DatasetConfig(kind="iemocap", path=str(_FOLDER / "iemocap")))


def vader(data: bytes) -> None:
    from daam_bench.datasets.vader import _read_source

    _read_source(_written("amazon.txt", data), "amazon")


def record(data: bytes) -> None:
    from daam_bench.records import read_record

    read_record(_written("fold0_seed0.json", data))


def finished(data: bytes) -> None:
    from daam_bench.records import FINISHED, read_records

    read_records(_written(FINISHED, data).parent)


def memory_of_contents(data: bytes) -> None:
    from daam_bench.contents import contents_fingerprint

    contents_fingerprint(_written("a file", b"x"), _written("contents.json", data))


def ctranslate2(data: bytes) -> None:
    from daam_bench.assets.ctranslate2 import read_variables

    read_variables(data, "WhisperSpec")


def _known(*parsers: Callable[[bytes], None]) -> dict[str, Callable[[bytes], None]]:
    return {parser.__name__: parser for parser in parsers}


PARSERS = _known(
    ledger, manifest, config, inert_pickle, iemocap, vader, record, finished, memory_of_contents, ctranslate2
)
SEEDS = {
    "ledger": b'{"chunk":0,"sha256":"00","lengths":[1],"quarantined":{"a":"b"}}',
    "manifest": b'{"store":"a.zarr","attributes":{"x":[1]}}',
    "config": b"datasets:\n  d: {kind: digits, path: x}\nencoders: {}\nexperiments: []\n",
    "inert_pickle": b"(dS'data'\ncnumpy.core.multiarray\n_reconstruct\n(cnumpy\nndarray\n(I0\ntS'b'\ntRs.",
    "iemocap": b"[6.2901 - 8.2357]\tSes01F_impro01_F000\tneu\t[2.5000, 2.5000, 2.5000]\n",
    "vader": b"1\t-1.5\tbad day\n2\t2.0\tgood\n",
    "record": b'{"key":"x","dataset":"d","epochs":[]}',
    "finished": b'{"records": ["fold0_seed0.json"], "keys": ["x"]}',
    "memory_of_contents": b'{"a file": [[1, 2, 3, 4], "00"]}',
    "ctranslate2": struct.pack("<IH", 6, 12)
    + b"WhisperSpec\0"
    + struct.pack("<IIH", 1, 1, 2)
    + b"a\0"
    + struct.pack("<BIBI", 1, 1, 0, 4)
    + bytes(4)
    + struct.pack("<I", 0),
}


def main() -> int:
    """Fuzz one parser in this process, or each in its own; return 1 if one crashed."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.torture.fuzz", description=__doc__)
    parser.add_argument("--parser", choices=PARSERS)
    parser.add_argument("--seconds", type=int, default=60, help="of each parser")
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    if given.parser:
        _fuzz(given.parser, given.seconds, given.seed)
    found = {name: _in_its_own_process(name, given.seconds, given.seed) for name in PARSERS}
    _write(found, given.seed)
    return int(any(report["crashed"] for report in found.values()))


def _in_its_own_process(name: str, seconds: int, seed: int) -> dict[str, object]:
    command = [sys.executable, "-m", "benchmarks.torture.fuzz", "--parser", name]
    command += ["--seconds", str(seconds), "--seed", str(seed)]
    done = subprocess.run(command, capture_output=True, text=True, errors="replace", check=False)
    runs = re.findall(r"^(?:Done |#)(\d+)", done.stderr, re.MULTILINE)
    report = {"runs": max(map(int, runs), default=0), "crashed": done.returncode != 0}
    print(f"{name:20} {report['runs']:9,} runs, {'CRASHED' if done.returncode else 'no crash'}", flush=True)
    if done.returncode:
        print(done.stderr[-2000:])
    return report


def _write(found: dict[str, dict[str, object]], seed: int) -> None:
    from daam_bench.environment import describe_environment

    facts = {"seed": seed, "date": time.strftime("%Y-%m-%d"), "environment": describe_environment("cpu", 1)}
    path = Path("results/benchmarks/fuzz.json")
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({"parsers": found, **facts}, indent=1) + "\n", encoding="utf-8")
    print(f"written to {path}")


def _fuzz(name: str, seconds: int, seed: int) -> None:
    """Fuzz one parser; a crash ends the process with its recipe, the input's bytes."""
    import atheris

    with atheris.instrument_imports(include=["daam_bench", "yaml"]):
        import daam_bench.assets.ctranslate2
        import daam_bench.cache.ledger
        import daam_bench.cache.manifest
        import daam_bench.config.merge
        import daam_bench.contents
        import daam_bench.datasets.iemocap
        import daam_bench.datasets.inert_pickle
        import daam_bench.datasets.vader
        import daam_bench.plan
        import daam_bench.records  # noqa: F401
    logging.disable(logging.CRITICAL)
    os.fsync = lambda _: None  # thousands of them would only wear a disk

    def one(data: bytes) -> None:
        try:
            PARSERS[name](data)
        except DaamBenchError as error:
            if len(str(error)) < 10:
                raise RuntimeError("no reason is said") from error

    corpus = _FOLDER / "corpus"
    corpus.mkdir()
    (corpus / "seed").write_bytes(SEEDS[name])
    options = [
        f"-max_total_time={seconds}",
        f"-seed={seed + 1}",
        "-timeout=10",
        "-rss_limit_mb=4000",
        "-max_len=4096",
        f"-artifact_prefix={_FOLDER}/",
    ]
    atheris.Setup([sys.argv[0], *options, str(corpus)], one)
    atheris.Fuzz()


if __name__ == "__main__":
    raise SystemExit(main())
