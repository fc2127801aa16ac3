"""Coverage-guided fuzzing of the parsers of our own: `python -m benchmarks.torture.fuzz PARSER RUNS SEED`."""

import json
import logging
import sys
import tempfile
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
    from daam_bench.config import load_config

    load_config(_written("config.yaml", data))


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


PARSERS: dict[str, Callable[[bytes], None]] = {
    f.__name__: f for f in (ledger, manifest, config, inert_pickle, iemocap, vader, record)
}
SEEDS = {
    "ledger": b'{"chunk":0,"sha256":"00","lengths":[1],"quarantined":{"a":"b"}}',
    "manifest": b'{"store":"a.zarr","attributes":{"x":[1]}}',
    "config": b"datasets:\n  d: {kind: digits, path: x}\nencoders: {}\nexperiments: []\n",
    "inert_pickle": b"(dS'data'\ncnumpy.core.multiarray\n_reconstruct\n(cnumpy\nndarray\n(I0\ntS'b'\ntRs.",
    "iemocap": b"[6.2901 - 8.2357]\tSes01F_impro01_F000\tneu\t[2.5000, 2.5000, 2.5000]\n",
    "vader": b"1\t-1.5\tbad day\n2\t2.0\tgood\n",
    "record": b'{"key":"x","dataset":"d","epochs":[]}',
}


def main() -> None:
    """Fuzz one parser; a crash ends the process with its recipe, the input's bytes."""
    import atheris

    name, runs, seed = sys.argv[1], sys.argv[2], sys.argv[3]
    with atheris.instrument_imports(include=["daam_bench", "yaml"]):
        import daam_bench.cache.ledger
        import daam_bench.cache.manifest
        import daam_bench.config
        import daam_bench.datasets.iemocap
        import daam_bench.datasets.inert_pickle
        import daam_bench.datasets.vader
        import daam_bench.records  # noqa: F401
    logging.disable(logging.CRITICAL)

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
        f"-atheris_runs={runs}",
        f"-seed={int(seed) + 1}",
        "-timeout=10",
        "-rss_limit_mb=4000",
        "-max_len=4096",
    ]
    atheris.Setup([sys.argv[0], *options, str(corpus)], one)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
