"""A small world to torture: a table of texts, a stand-in encoder, caches in both formats, training."""

import hashlib
import json
import mmap
import shutil
import struct
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import h5py
import pandas as pd
import torch
import torch._dynamo  # the first optimiser would import it in every child
import zarr
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import Whitespace
from torch import Tensor
from transformers import BertConfig, BertModel, PreTrainedTokenizerFast
from transformers.utils.logging import disable_progress_bar

from benchmarks.torture.children import command_line, run_child
from daam_bench.cache import extraction, repair
from daam_bench.cache.extraction import ExtractionSpec
from daam_bench.cache.reader import open_cache
from daam_bench.config import (
    CacheConfig,
    DatasetConfig,
    EncoderConfig,
    FoldRule,
    Protocol,
    TrainingConfig,
    TuningConfig,
)
from daam_bench.datasets.listing import list_samples
from daam_bench.encoders.base import Prepared
from daam_bench.records import write_atomically
from daam_bench.training import bench
from daam_bench.training.run import TrainingSpec
from daam_bench.training.source import Buffer, ResidentSource, StreamingSource
from daam_bench.tuning import run as tuning
from daam_bench.tuning.samples import RowSource
from daam_bench.tuning.spec import TuningSpec

# As many rows a chunk as the comparison of batched and single rows computes: what a kill may cost.
LAYERS, FEATURES, ROWS_PER_CHUNK = 3, 5, 8
SAMPLES = 47
EPOCHS = 2
ENCODER_VARIANT = "encoder_lora_plus_r4"
CACHE_BYTES = (SAMPLES - 1) * LAYERS * FEATURES * 4  # one sample is bad
FORMATS = ("zarr", "hdf5")
# What a record or a manifest says of time, memory and machine.
_OF_CLOCKS = (
    "measurements",
    "checksum",
    "wall_seconds",
    "cpu_seconds",
    "loading_seconds",
    "samples_per_second",
    "peak_memory_bytes",
    "energy_joules",
    "environment",
)


class Count:
    """A number in memory that forked children share."""

    def __init__(self) -> None:
        self._shared = mmap.mmap(-1, 8)

    def add(self, more: int) -> None:
        """Raise the number."""
        self._set(self._now() + more)

    def take(self) -> int:
        """Return what was added since the last call."""
        now = self._now()
        self._set(0)
        return now

    def _now(self) -> int:
        return int(struct.unpack("q", self._shared[:8])[0])

    def _set(self, number: int) -> None:
        self._shared[:8] = struct.pack("q", number)


class StandIn:
    """An encoder whose values follow from the text alone; it counts the rows that it computes."""

    layers, features, window = LAYERS, FEATURES, 4
    unit, units_per_position = "characters", 1.0
    rows = Count()

    def prepare(self, samples: pd.DataFrame, folder: Path) -> Prepared:
        prepared = Prepared()
        for text in samples["text"]:
            prepared.refuse("not to be used") if text.startswith("bad") else prepared.add(text, len(text))
        return prepared

    def encode(self, prepared: Sequence[Any]) -> Tensor:
        self.rows.add(len(prepared))
        digests = [hashlib.sha512(text.encode()).digest() for text in prepared]
        values = torch.tensor([list(digest[: LAYERS * FEATURES]) for digest in digests], dtype=torch.float32)
        return (values / 64 - 2).reshape(-1, LAYERS, FEATURES)

    def settings(self) -> Mapping[str, str]:
        return {"processor": "sha512", "pooling": "none", "dtype": "float32"}


class CountingEpochs:
    """Counts the epochs that are begun, of any source."""

    begun = Count()

    def epoch(self, number: int) -> Iterator[Buffer]:
        """Yield the buffers of an epoch."""
        CountingEpochs.begun.add(1)
        yield from super().epoch(number)  # type: ignore[misc]


class CountingResident(CountingEpochs, ResidentSource):
    """A cache in memory."""


class CountingStream(CountingEpochs, StreamingSource):
    """A cache that streams."""


class CountingRows(CountingEpochs, RowSource):
    """Raw samples, for encoder LoRA."""


class World:
    """Files and jobs that every kind of torture starts from.

    Args:
        folder: an empty folder of its own.
        seeds: of every training job.
    """

    def __init__(self, folder: Path, seeds: Sequence[int] = (0, 1)) -> None:
        self.folder, self.seeds = folder, list(seeds)
        StandIn.rows, CountingEpochs.begun = Count(), Count()  # of this world's children alone
        bench.ResidentSource, bench.StreamingSource = CountingResident, CountingStream  # type: ignore[misc]
        tuning.RowSource = CountingRows  # type: ignore[misc]
        extraction.load_encoder = repair.load_encoder = lambda *_: StandIn()
        model = folder / "model"
        model.mkdir(parents=True)
        (model / "config.json").write_text("{}", encoding="utf-8")
        texts = [f"{'bad' if n == 7 else 'text'} number {n}, 'quoted', ü" for n in range(SAMPLES)]
        table = {
            "text": texts,
            "label": [n % 2 for n in range(SAMPLES)],
            "group": [f"g{n % 3}" for n in range(SAMPLES)],
        }
        self.table = folder / "table.csv"
        pd.DataFrame(table).to_csv(self.table, index=False)
        settings = {"content": "text", "label": "label", "group": "group"}
        self.dataset = DatasetConfig(kind="table", path=str(self.table), modality="text", columns=settings)
        frame = list_samples("tortured", self.dataset)
        self.samples = folder / "samples.parquet"
        write_atomically(self.samples, frame.to_parquet(index=False))

    def extraction_spec(self, kind: str) -> ExtractionSpec:
        """Return the extraction job in a format."""
        mebibytes = ROWS_PER_CHUNK * LAYERS * FEATURES * 4 / 2**20
        return ExtractionSpec(
            dataset="tortured",
            encoder_name="stand-in",
            encoder=EncoderConfig(modality="text", model=str(self.folder / "model")),
            cache=CacheConfig(format=kind, chunk_mebibytes=mebibytes),
        )

    def training_spec(self, variant: str, shuffle_bytes: int = 2**20) -> TrainingSpec:
        """Return the training job of a variant: on 3 folds, `EPOCHS` each."""
        return TrainingSpec(**self._job_of(variant, shuffle_bytes))

    def tuning_spec(self) -> TuningSpec:
        """Return the job of encoder LoRA: a real, tiny BERT, tuned on the same folds."""
        model = self.folder / "bert"
        if not model.exists():
            _save_bert(model)
        return TuningSpec(
            **self._job_of(ENCODER_VARIANT, 2**20),
            tuning=TuningConfig(batch_size=8),
            encoder_settings=EncoderConfig(modality="text", model=str(model)),
        )

    def _job_of(self, variant: str, shuffle_bytes: int) -> dict[str, Any]:
        settings = {"epochs": EPOCHS, "batch_size": 8, "decoder_channels": 3, "precision": "float32"}
        settings["shuffle_mebibytes"] = shuffle_bytes / 2**20
        return {
            "dataset": "tortured",
            "encoder": "stand-in",
            "variant": variant,
            "seeds": self.seeds,
            "folds": FoldRule(),
            "training": TrainingConfig(inner_fraction=0.3, **settings),
            "protocol": Protocol.model_validate("corrected"),
        }

    def extract(self, folder: Path, kind: str) -> None:
        """Run both steps of an extraction by the command line, in this process."""
        spec, part = self.extraction_spec(kind).model_dump_json(), folder / "parts" / "1.json"
        command_line("step", "extract-part", self.samples, part, "--spec", spec)
        command_line(
            "step", "finish-cache", self.samples, part, "--manifest", folder / "manifest.json", "--spec", spec
        )

    def train(
        self, cache: Path, folder: Path, variant: str, shuffle_bytes: int = 2**20, *options: object
    ) -> None:
        """Run a training job by the command line, in this process."""
        spec = self.training_spec(variant, shuffle_bytes).model_dump_json()
        words = ("step", "train-variant", cache / "manifest.json", folder / "finished.json", "--spec", spec)
        command_line(*words, *options)

    def tune(self, cache: Path, folder: Path) -> None:
        """Run the job of encoder LoRA by the command line, in this process."""
        words = ("step", "tune-encoder", cache / "manifest.json", self.samples, folder / "finished.json")
        command_line(*words, "--spec", self.tuning_spec().model_dump_json())

    def finished_cache(self, kind: str) -> Path:
        """Return the folder of an undisturbed cache."""
        folder = self.folder / f"whole-{kind}"
        if not folder.exists():
            ended = run_child(lambda: self.extract(folder, kind))
            if ended.code:
                raise RuntimeError(ended.text)
        return folder

    def fresh(self, name: str) -> Path:
        """Return an empty folder."""
        return emptied(self.folder / name)


def _save_bert(folder: Path) -> None:
    """Write a BERT with random weights and a tokenizer of the few words that occur."""
    known = ["[PAD]", "[UNK]", "text", "number", *map(str, range(SAMPLES))]
    words = Tokenizer(WordLevel({word: n for n, word in enumerate(known)}, unk_token="[UNK]"))
    words.pre_tokenizer = Whitespace()
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=words, unk_token="[UNK]", pad_token="[PAD]")
    sizes = {"hidden_size": 8, "intermediate_size": 11, "num_hidden_layers": LAYERS, "num_attention_heads": 2}
    torch.manual_seed(0)
    disable_progress_bar()
    BertModel(BertConfig(vocab_size=len(known), **sizes)).save_pretrained(folder)
    tokenizer.save_pretrained(folder)


def emptied(folder: Path) -> Path:
    """Return a folder in which nothing is left."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    return folder


@contextmanager
def opened(folder: Path) -> Iterator[Any]:
    """Open the store of a cache for writing by its format's own library."""
    path = open_cache(folder).path
    if path.is_dir():
        yield zarr.open_group(path, mode="r+")
        return
    with h5py.File(path, "r+") as group:
        yield group


def state_of(folder: Path) -> dict[str, bytes]:
    """Return what must not depend on history, by file: but for clocks, locks and leftovers."""
    found = {}
    for file in sorted(folder.rglob("*")):
        name = file.relative_to(folder).as_posix()
        hidden = any(part.startswith(".") for part in file.relative_to(folder).parts)
        if not file.is_file() or hidden or file.suffix == ".lock" or name.startswith("parts/"):
            continue
        data = file.read_bytes()
        found[name] = _without_clocks(data) if file.suffix == ".json" and "zarr" not in name else data
    return found


def _without_clocks(data: bytes) -> bytes:
    try:
        facts = json.loads(data)
    except ValueError:
        return data
    for key in _OF_CLOCKS:
        facts.pop(key, None)
    return json.dumps(facts, sort_keys=True).encode()


def differences(found: Mapping[str, bytes], expected: Mapping[str, bytes]) -> str | None:
    """Return which files differ, or None."""
    unlike = sorted(name for name in found.keys() | expected.keys() if found.get(name) != expected.get(name))
    return f"differs in {', '.join(unlike[:4])}" if unlike else None
