"""A result on disk: one JSON record per replica, its per-sample predictions beside it.

Layout below `results/runs/<dataset>/<encoder>/<variant>/`:

    fold<F>_seed<S>.json           the record (`RunRecord`)
    fold<F>_seed<S>.parquet        sample_id, label, prediction, one row per validation sample
    fold<F>_seed<S>.density.npz    `density` [layer, feature], mean DA over the validation samples, and
                                   `training_density`, over the training samples (density variants only)
    fold<F>_seed<S>.safetensors    trained parameters of the attention part; of encoder LoRA its updates
                                   under the names that peft gives them, and its head
    finished.json                  the records that the job consists of, with their checksums, written last

Derived runs have the same files below `results/studies/<dataset>/<encoder>/<study>/<variant>/`.
"""

import hashlib
import json
import math
import os
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from daam_bench.errors import RecordError

# A name of a dataset, encoder or variant: it is that of a folder, too.
Name = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9_.-]*$", max_length=64)]
FINISHED = "finished.json"
_LISTED = re.compile(r"fold[0-9]+_seed[0-9]+\.json")
_AGAIN = f"Delete it and {FINISHED} beside it, and run snakemake: the other replicas are kept."
_TRAIN = f"Delete {FINISHED} beside it, if it is there, and run snakemake: the other replicas are kept."
# Losses of a replica that diverged are NaN and stay NaN; JSON's null would be no number on reading.
_MODEL = ConfigDict(extra="forbid", frozen=True, ser_json_inf_nan="constants")
# What differs between two runs of equal key.
COST_FIELDS = (
    "wall_seconds",
    "cpu_seconds",
    "loading_seconds",
    "samples_per_second",
    "peak_memory_bytes",
    "energy_joules",
)


class EpochRecord(BaseModel):
    """Losses and scores of one epoch; scores are in [0, 1], of the record's metric."""

    model_config = _MODEL

    epoch: int = Field(ge=1)
    learning_rate: float
    train_loss: float
    validation_loss: float | None = None
    validation_score: float
    inner_score: float | None = Field(None, description="on the held-out part of the training split")


def diverged_in(epochs: Iterable[EpochRecord]) -> int | None:
    """Return the first epoch whose training loss is not finite, or None: the replica diverged there."""
    return next((e.epoch for e in epochs if not math.isfinite(e.train_loss)), None)


class EntropyRecord(BaseModel):
    """How broadly one trained head attends, over validation samples (method.md section 3, Entropy); nats.

    `gaussian` is the differential entropy of a head's Gaussian in units of its slice's standard deviation: it
    may be negative and has no maximum. `density` (the density normalised over a head's layers) and `softmax`
    (attention weights) are entropies of shares, from 0 to `maximum`, the logarithm of their number.
    """

    model_config = _MODEL

    kind: Literal["gaussian", "density", "softmax"]
    head: int = Field(ge=0)
    mean: float
    low: float = Field(description="5 % quantile over samples and features, or over samples and queries")
    high: float = Field(description="95 % quantile")
    maximum: float | None = Field(None, description="logarithm of the number of shares")


class RunRecord(BaseModel):
    """What one replica (dataset x encoder x variant x fold x seed) gave, and everything it came from."""

    model_config = _MODEL

    key: str = Field(description="hash of everything that determines the numbers; equal key, equal result")
    dataset: Name
    encoder: Name
    variant: Name
    modality: str = Field("", description="text, speech or vision; empty in older records")
    dataset_kind: str = Field("", description="what reads the dataset, whatever its name is")
    encoder_model: str = Field("", description="hub id or folder of the encoder")
    cache_shape: tuple[int, int, int] | None = Field(None, description="(samples, layers, features)")
    kind: str = Field(description="attention (a trained variant), encoder_tuning (encoder LoRA) or baseline")
    fold: int = Field(ge=0)
    fold_name: str = Field(description="the group or split that validates, for example a source's name")
    seed: int = Field(ge=0)
    metric: str = Field(description="accuracy, balanced_accuracy or macro_f1")
    score: float = Field(ge=0, le=1, description="of the selected epoch, on the validation samples")
    majority_score: float = Field(ge=0, le=1, description="of the training split's most frequent class")
    train_samples: int
    validation_samples: int
    selected_epoch: int | None = None
    epochs: list[EpochRecord] = Field(default_factory=list)
    parameters_attention: int | None = None
    parameters_with_decoder: int | None = None
    parameters_with_classifier: int | None = None
    parameter_ranges: dict[str, tuple[float, float]] = Field(
        default_factory=dict,
        description="(min, max) after training of mean_offset, scaled_variance, spread (density variants)",
    )
    layers: list[int] | None = Field(
        None, description="numbers, from 1, of the layers that were trained on; None for all of them"
    )
    entropies: list[EntropyRecord] = Field(default_factory=list, description="one a kind and head")
    protocol: dict[str, Any] = Field(default_factory=dict)
    training: dict[str, Any] = Field(default_factory=dict)
    cache_identity: str
    wall_seconds: float = Field(description="of this replica's own steps and predictions")
    cpu_seconds: float = Field(description="of all threads, likewise")
    loading_seconds: float | None = Field(
        None, description="that training waited for values, shared equally by the replicas of a job"
    )
    samples_per_second: float | None = Field(None, description="training samples, over wall_seconds")
    flops_forward: int | None = Field(None, description="floating point operations, one sample")
    flops_training: int | None = Field(None, description="of a forward and a backward pass, one sample")
    peak_memory_bytes: int | None = Field(
        None,
        description="most that the process (on a GPU: its tensors) had in use from the start of this "
        "replica, or of those that it trained beside, to its end; where the system does not tell that, "
        "until its end",
    )
    energy_joules: float | None = Field(
        None,
        description="of the hardware while the job ran, shared by wall_seconds; of a job that was killed, "
        "up to its last checkpoint too; none where not readable",
    )
    environment: dict[str, str] = Field(description="versions, hardware, git commit")
    spec: dict[str, Any] = Field(
        default_factory=dict,
        description="the job without its seeds: with fold and seed it repeats this record",
    )
    note: str = ""

    @property
    def stem(self) -> str:
        """File name of this replica without its ending."""
        return f"fold{self.fold}_seed{self.seed}"


def write_atomically(path: Path, data: bytes) -> None:
    """Replace a file in one step: it holds the old bytes or all the new ones, also after a power cut."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with temporary.open("wb") as handle:
            handle.write(data)
            handle.flush()
            os.fsync(handle.fileno())
        temporary.replace(path)
    except BaseException:
        # A full disk must not be made fuller by what could not be written.
        temporary.unlink(missing_ok=True)
        raise


def remove_temporaries(folder: Path) -> None:
    """Remove what killed writers left behind; only under the lock of the folder."""
    for temporary in folder.glob(".*.tmp"):
        temporary.unlink(missing_ok=True)


def write_record(folder: Path, record: RunRecord) -> Path:
    """Write a record to its place in a variant's folder; return the path."""
    path = folder / f"{record.stem}.json"
    write_atomically(path, (record.model_dump_json(indent=1) + "\n").encode())
    return path


def read_record(path: Path) -> RunRecord:
    """Read one record.

    Raises:
        RecordError: if the file is missing or is not a record.
    """
    try:
        return RunRecord.model_validate_json(path.read_bytes())
    except FileNotFoundError:
        raise RecordError("no such run record", where=path, remedy=_TRAIN) from None
    except ValidationError as error:
        raise RecordError(
            f"not a run record ({str(error).splitlines()[0]})",
            where=path,
            remedy=_AGAIN,
        ) from None


def write_finished(folder: Path, records: list[RunRecord]) -> None:
    """Write the list of the written records that a variant's job consists of; only these enter tables."""
    listing = {
        "records": [f"{record.stem}.json" for record in records],
        "keys": [record.key for record in records],
        "sha256": [digest_of(folder / f"{record.stem}.json") for record in records],
    }
    write_atomically(folder / FINISHED, (json.dumps(listing, indent=1) + "\n").encode())


def digest_of(path: Path) -> str:
    """Return the sha256 of what a record's file says, but for what differs between runs of equal key."""
    unlike = {*COST_FIELDS, "environment"}
    facts = {name: value for name, value in json.loads(path.read_bytes()).items() if name not in unlike}
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()


def read_records(folder: Path) -> list[RunRecord]:
    """Read the finished records of one variant's folder, in the order of its list.

    Raises:
        RecordError: if the job has not finished, a record is missing or damaged, or one is not what it was
            when the list was written.
    """
    path = folder / FINISHED
    if not path.exists():
        raise RecordError(
            "this variant has not been trained to the end", where=folder, remedy="Run snakemake."
        )
    try:
        listing = json.loads(path.read_bytes())
        names, keys = list(listing["records"]), list(listing["keys"])
        digests = list(listing.get("sha256", ()))  # older lists have none
        if not all(_LISTED.fullmatch(name) for name in names):
            raise ValueError("not the name of a record")
    except (ValueError, KeyError, TypeError, RecursionError):
        raise RecordError("not a list of run records", where=path, remedy=_AGAIN) from None
    records = [read_record(folder / name) for name in names]
    if [record.key for record in records] != keys:
        raise RecordError("its records are of another configuration", where=path, remedy=_AGAIN)
    for name, digest in zip(names, digests, strict=False):
        if digest_of(folder / name) != digest:
            raise RecordError("was changed after it was written", where=folder / name, remedy=_AGAIN)
    return records
