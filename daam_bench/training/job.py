"""What every job of replicas shares: its folds and seeds, its held-out rows, and how a result is written."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import torch

from daam_bench.cache.reader import EmbeddingCache
from daam_bench.environment import describe_environment
from daam_bench.errors import ConfigError, RecordError
from daam_bench.records import RunRecord, read_record, write_atomically, write_record
from daam_bench.training.baselines import predict_majority
from daam_bench.training.bench import Bench
from daam_bench.training.checkpoint import remove_checkpoint
from daam_bench.training.cost import peak_memory_bytes
from daam_bench.training.folds import Fold, Rows, hold_out
from daam_bench.training.metrics import score
from daam_bench.training.replica import Split
from daam_bench.training.spec import JobSpec

Place = tuple[Fold, int]


def places_of(spec: JobSpec, bench: Bench, only_fold: int | None = None) -> list[Place]:
    """Return fold and seed of each replica of a job; of one fold alone if it is given.

    Raises:
        ConfigError: if there is no such fold.
    """
    folds = [fold for fold in bench.folds if only_fold in (None, fold.index)]
    if not folds:
        raise ConfigError("no such fold", expected=f"0 to {len(bench.folds) - 1}", found=only_fold)
    return [(fold, seed) for fold in folds for seed in spec.seeds]


def stem_of(place: Place) -> str:
    """Return the name of a replica's files without ending."""
    return f"fold{place[0].index}_seed{place[1]}"


def unfinished(folder: Path, places: list[Place], key_of: Callable[[Place], str]) -> list[Place]:
    """Return the replicas that have no record of their key yet; of the others, clear away the checkpoints.

    A run that was killed between a replica's record and the end of its checkpoint leaves the latter behind.
    """
    left = []
    for place in places:
        if _has_record(folder, place, key_of(place)):
            remove_checkpoint(folder / stem_of(place))
        else:
            left.append(place)
    return left


def _has_record(folder: Path, place: Place, key: str) -> bool:
    try:
        return read_record(folder / f"{stem_of(place)}.json").key == key
    except RecordError:
        return False


def inner_rows(spec: JobSpec, bench: Bench, place: Place) -> tuple[Rows, Rows]:
    """Return the training rows of a replica divided in two: (fitted, held out)."""
    fraction = spec.training.inner_fraction
    return hold_out(place[0].train, bench.labels, bench.groups, bench.contents, fraction, place[1])


def split_of(spec: JobSpec, bench: Bench, place: Place) -> Split:
    """Return the rows of a replica; some are held out if the protocol chooses the epoch on them (D6)."""
    fold = place[0]
    if spec.protocol.select == "inner":
        return Split(*inner_rows(spec, bench, place), fold.validation)
    return Split(fold.train, None, fold.validation)


def write_result(
    spec: JobSpec,
    bench: Bench,
    place: Place,
    folder: Path,
    key: str,
    predictions: Rows,
    facts: dict[str, Any],
) -> None:
    """Write predictions, then the record, which makes them count.

    Args:
        spec: the job.
        bench: its samples.
        place: fold and seed.
        folder: of the variant.
        key: of the record.
        predictions: class index of each validation sample of the fold.
        facts: further fields of the record.
    """
    fold, seed = place
    labels, metric = bench.labels[fold.validation], spec.training.metric
    majority = predict_majority(bench.labels, fold, bench.cache.class_names)
    record = RunRecord(
        key=key,
        dataset=spec.dataset,
        encoder=spec.encoder,
        variant=spec.variant,
        spec=spec.model_dump(mode="json", exclude={"seeds"}),
        fold=fold.index,
        fold_name=fold.name,
        seed=seed,
        metric=metric,
        score=score(metric, labels, predictions),
        majority_score=score(metric, labels, majority.predictions),
        train_samples=len(fold.train),
        validation_samples=len(fold.validation),
        **_origin(bench.cache),
        cache_identity=bench.cache.identity.digest,
        peak_memory_bytes=peak_memory_bytes(bench.device),
        environment=describe_environment(str(bench.device), torch.get_num_threads()),
        **facts,
    )
    ids = bench.cache.layout.sample_ids
    frame = pd.DataFrame(
        {
            "sample_id": [ids[bench.usable[row]] for row in fold.validation],
            "label": labels,
            "prediction": predictions,
        }
    )
    write_atomically(folder / f"{record.stem}.parquet", frame.to_parquet(index=False))
    write_record(folder, record)


def _origin(cache: EmbeddingCache) -> dict[str, Any]:
    """Return what a record says of its data beside their names."""
    attributes = cache.layout.attributes
    names = ("modality", "dataset_kind", "encoder_model")
    return {name: attributes.get(name, "") for name in names} | {"cache_shape": cache.layout.shape}
