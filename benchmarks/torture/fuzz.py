"""Coverage-guided fuzzing of the parsers of our own (make fuzz).

`python -m benchmarks.torture.fuzz` tries each in a process of its own and writes the file
results/benchmarks/fuzz.json; `--parser NAME` tries one here, and prints the bytes that crashed it.

Left out is what is a plain call of a library: Parquet (pyarrow), images (PIL), the tensors of checkpoints and
models (safetensors), arrays and their metadata (zarr, h5py), recordings but for the sizes in their headers.
"""

import argparse
import hashlib
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
from contextlib import suppress
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


def recording_sizes(data: bytes) -> None:
    from daam_bench.encoders.cut_recordings import check_whole

    check_whole(data)


def checkpoint(data: bytes) -> None:
    from daam_bench.training.checkpoint import _checksum, load_checkpoint
    from daam_bench.training.replica import Replica

    # It stays empty: tensors would have to have the right sha256, too.
    stem, replica = _FOLDER / "fold0_seed0", Replica.__new__(Replica)
    text = data.decode(errors="replace")
    for content in (data, json.dumps({"checksum": _checksum(text), "facts": text}).encode()):
        _written("fold0_seed0.checkpoint.json", content)
        load_checkpoint(stem, "key", replica)


def structure(data: bytes) -> None:
    from daam_bench.cache.structure import restore_structure

    for content in (data, hashlib.sha256(data).digest() + data):
        with suppress(OSError):  # a size that no disk has
            restore_structure(_written("cache.h5", b"values"), _written("cache.h5.structure", content))


def rates(data: bytes) -> None:
    from daam_bench.cache.rates import read_journals, sum_measurements

    _written("parts/a.zarr.1-of-1.rates.jsonl", data)
    sum_measurements(read_journals(_FOLDER / "parts", "a.zarr"))


def part(data: bytes) -> None:
    from daam_bench.cache.extraction import _measured, _read_part

    file = _written("no parts/part.json", data)
    _measured([_read_part(file)], file.parent)


def probes(data: bytes) -> None:
    from daam_bench.costs.probed import PROBE, Probes, _key

    entry = b'{"probes": {"' + _key({}).encode() + b'": ' + data + b"}}"
    for content in (data, entry):
        found = Probes(_written(PROBE, content).parent)
        found.rate({}), found.step({}), found.problem({})


def weights_index(data: bytes) -> None:
    from daam_bench.checks.weights import _names_of

    _names_of(_written("model.safetensors.index.json", data))


def made_of(data: bytes) -> None:
    from daam_bench.analysis.tables.made_of import ENDING, read_made_of

    read_made_of(_written(f"table.{ENDING}", data).with_name("table.csv"))


def table(data: bytes) -> None:
    from daam_bench.config import DatasetConfig
    from daam_bench.datasets.table import read_table

    for encoding in (None, "cp1252"):
        path = str(_written("samples.csv", data))
        read_table(DatasetConfig(kind="table", path=path, modality="text", encoding=encoding))


def _known(*parsers: Callable[[bytes], None]) -> dict[str, Callable[[bytes], None]]:
    return {parser.__name__: parser for parser in parsers}


PARSERS = _known(
    *(ledger, manifest, structure, rates, part, checkpoint, record, finished, made_of, probes),
    *(config, memory_of_contents, weights_index, ctranslate2),
    *(table, iemocap, vader, inert_pickle, recording_sizes),
)
_MEASURED = b'{"computed_samples": 2, "reused_samples": 1, "units": 8.0, "seconds": 0.5, "unit": "tokens"}'
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
    "structure": struct.pack("<QQ", 6, 0) + struct.pack("<QQ", 1, 2) + b"ab",
    "rates": b"\n" + _MEASURED + b"\n" + _MEASURED[:9],
    "part": b'{"store": "a.zarr", "part": [1, 1], "measurements": ' + _MEASURED + b"}",
    "checkpoint": b'{"key": "key", "tensors": "fold0_seed0.1.checkpoint", "sha256": "00", "epochs": [], '
    b'"pending": [1, 0.5, 0.5], "best_epoch": 1, "best_rank": 0.5, "learning_rates": [0.1], "plateau": null, '
    b'"seconds": [1, 1, 0], "joules": null}',
    "made_of": b'{"runs": {"runs/a": "00"}, "studies": {}}',
    "probes": b'{"samples_per_second": 2.5, "seconds": {"step": 1, "sample": 1, "start": 1}, "problem": "x"}',
    "weights_index": b'{"weight_map": {"a": "model-1-of-1.safetensors"}}',
    "table": b'text,label,group\n"one, two",0,a\nthree,1,b\n',
    "recording_sizes": b"RIFF,\0\0\0WAVEfmt \x10\0\0\0" + bytes(16) + b"data\x08\0\0\0" + bytes(8),
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
    _write(found, given.seconds, given.seed)
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


def _write(found: dict[str, dict[str, object]], seconds: int, seed: int) -> None:
    from daam_bench.environment import describe_environment

    facts = {
        "seconds": seconds,
        "seed": seed,
        "date": time.strftime("%Y-%m-%d"),
        "environment": describe_environment("cpu", 1),
    }
    path = Path("results/benchmarks/fuzz.json")
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({"parsers": found, **facts}, indent=1) + "\n", encoding="utf-8")
    print(f"written to {path}")


def _fuzz(name: str, seconds: int, seed: int) -> None:
    """Fuzz one parser; a crash ends the process with its recipe, the input's bytes."""
    import atheris

    with atheris.instrument_imports(include=["daam_bench", "yaml"]):
        import daam_bench.analysis.tables.made_of
        import daam_bench.assets.ctranslate2
        import daam_bench.cache.extraction
        import daam_bench.cache.ledger
        import daam_bench.cache.manifest
        import daam_bench.cache.rates
        import daam_bench.cache.structure
        import daam_bench.checks.weights
        import daam_bench.config.merge
        import daam_bench.contents
        import daam_bench.costs.probed
        import daam_bench.datasets.iemocap
        import daam_bench.datasets.inert_pickle
        import daam_bench.datasets.table
        import daam_bench.datasets.vader
        import daam_bench.encoders.media
        import daam_bench.plan
        import daam_bench.records
        import daam_bench.training.checkpoint  # noqa: F401
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
