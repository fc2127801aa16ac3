"""One training job: every fold and seed of a variant on one cache; a killed job goes on where it was."""

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path
from time import perf_counter, process_time
from typing import Any

import torch
from filelock import FileLock
from rich.progress import Progress
from torch import Tensor

from daam_bench.allocator import keep_freed_memory
from daam_bench.errors import DataError
from daam_bench.fingerprint import source_fingerprint
from daam_bench.heads.build import build_model
from daam_bench.locks import wait_for
from daam_bench.records import RunRecord, read_record, remove_temporaries, write_finished
from daam_bench.training.baselines import predict_best_single_layer, predict_majority
from daam_bench.training.bench import Bench, memory_bytes, open_bench
from daam_bench.training.checkpoint import load_checkpoint, remove_checkpoint, save_checkpoint
from daam_bench.training.cost import SharedCosts, begin_peak_memory, flops_per_sample
from daam_bench.training.density import MeanDensity, save_attention
from daam_bench.training.entropy import measure_entropies, some_rows, try_measures
from daam_bench.training.folds import Fold, Rows
from daam_bench.training.job import (
    Place,
    inner_rows,
    places_of,
    split_of,
    stem_of,
    unfinished,
    write_result,
)
from daam_bench.training.names import BASELINES
from daam_bench.training.replica import Replica
from daam_bench.training.spec import TrainingSpec
from daam_bench.training.together import score_together, train_epochs

_ROOMS = ("heads", "training")
# Of a replica's parameters: they, their gradients, two moments, the best state, and an epoch being scored.
_COPIES = 6


def run_job(
    spec: TrainingSpec,
    cache_path: Path,
    folder: Path,
    progress: Progress,
    only_fold: int | None = None,
    finish: bool = True,
) -> list[RunRecord]:
    """Train (or, for a baseline, score) every fold and seed that has no finished record of the same key.

    Args:
        spec: what to compute; `variant` is one of `heads.presets.VARIANTS` or of `BASELINES`.
        cache_path: a finished cache.
        folder: where the records of this variant are written; one process at a time, others wait.
        progress: shows epochs and time left.
        only_fold: train this fold alone.
        finish: write the list of finished records, from which tables are made; not of a part of them.

    Raises:
        CacheError: if the cache is not finished or damaged.
        DataError: if the folds cannot be dealt.
        ConfigError: if there is no such fold.
    """
    keep_freed_memory()
    folder.mkdir(parents=True, exist_ok=True)
    with wait_for(FileLock(folder / ".lock"), folder):
        remove_temporaries(folder)
        bench = open_bench(cache_path, spec.folds, spec.training.shuffle_bytes)
        places = places_of(spec, bench, only_fold)
        left = unfinished(folder, places, lambda place: _key(spec, bench, place))
        title = f"{spec.dataset} x {spec.encoder}: {spec.variant}"
        baseline = spec.variant in BASELINES
        each = 1 if baseline else spec.training.epochs
        task = progress.add_task(title, total=len(places) * each, completed=(len(places) - len(left)) * each)

        def advance(replicas: int) -> None:
            progress.advance(task, replicas)

        if baseline:
            for place in left:
                _score_baseline(spec, bench, place, folder)
                advance(1)
        else:
            # A processor gains nothing by passing together in memory, and a killed job keeps what is done.
            alone = bench.source.in_memory and bench.device.type == "cpu"
            size = 1 if alone else _replicas_at_once(spec, bench)
            for start in range(0, len(left), size):
                _train(spec, bench, left[start : start + size], folder, advance)
        records = [read_record(folder / f"{stem_of(place)}.json") for place in places]
        if finish and only_fold is None:
            write_finished(folder, records)
    return records


def _key(spec: TrainingSpec, bench: Bench, place: Place) -> str:
    facts = spec.model_dump(mode="json", exclude={"seeds", "layers"}) | {
        "layers": layers_of(spec, place[0]),
        "fold": place[0].index,
        "seed": place[1],
        "cache": bench.cache.identity.digest,
        "source": source_fingerprint(*_ROOMS),
    }
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()


def layers_of(spec: TrainingSpec, fold: Fold) -> list[int] | None:
    """Return the numbers, from 1, of the layers that a fold is trained on; None for all."""
    return None if spec.layers is None else spec.layers[fold.index]


def _score_baseline(spec: TrainingSpec, bench: Bench, place: Place, folder: Path) -> None:
    begin_peak_memory(bench.device)
    wall, cpu = perf_counter(), process_time()
    if spec.variant == "majority":
        found = predict_majority(bench.labels, place[0], bench.cache.class_names)
    else:
        inner = _inner_rows(spec, bench, place)
        layers = (bench.layer(number).numpy() for number in range(1, bench.cache.layout.layers + 1))
        found = predict_best_single_layer(layers, bench.labels, place[0], inner, spec.training.metric)
    facts: dict[str, Any] = {"wall_seconds": perf_counter() - wall, "cpu_seconds": process_time() - cpu}
    facts |= {"kind": "baseline", "note": found.note, "layers": layers_of(spec, place[0])}
    facts |= {"protocol": spec.protocol.model_dump()}
    write_result(spec, bench, place, folder, _key(spec, bench, place), found.predictions, facts)


def _inner_rows(spec: TrainingSpec, bench: Bench, place: Place) -> tuple[Rows, Rows] | None:
    """Return the training rows divided in two; None if they are too few."""
    try:
        return inner_rows(spec, bench, place)
    except DataError:
        return None


def _train(spec: TrainingSpec, bench: Bench, places: list[Place], folder: Path, advance: Any) -> None:
    """Train some replicas together and write their records."""
    begin_peak_memory(bench.device)
    replicas = [_replica(spec, bench, place) for place in places]
    marks = [(folder / stem_of(place), _key(spec, bench, place)) for place in places]
    _resume(replicas, marks)
    advance(sum(replica.trained_epochs for replica in replicas))
    costs = SharedCosts(replicas, bench.source, bench.device)

    def after_epoch() -> None:
        costs.deal()
        for replica, mark in zip(replicas, marks, strict=True):
            save_checkpoint(*mark, replica)
        advance(len(replicas))

    unscored = train_epochs(replicas, bench.source, after_epoch)
    folds = [fold for fold, _ in places]
    has_density = spec.entry().has_density
    densities = [MeanDensity(*pair) for pair in zip(replicas, folds, strict=True)] if has_density else []
    score_together(unscored, bench.source, densities)
    costs.deal()
    shown: dict[int, Tensor] = {}
    for number, (place, replica, mark) in enumerate(zip(places, replicas, marks, strict=True)):
        outcome = replica.outcome()
        save_attention(replica.model, densities[number].maps() if has_density else {}, mark[0])
        if place[0].index not in shown:  # seeds of a fold are shown the same samples
            shown = {place[0].index: _some_values(bench, place[0], replica)}
        facts = _facts(spec, replica, shown[place[0].index]) | {"layers": layers_of(spec, place[0])}
        write_result(spec, bench, place, folder, mark[1], outcome.predictions.numpy(), facts)
        remove_checkpoint(mark[0])


def _resume(replicas: list[Replica], marks: list[tuple[Path, str]]) -> None:
    """Bring replicas to their checkpoints, where there are any."""
    for replica, mark in zip(replicas, marks, strict=True):
        load_checkpoint(*mark, replica)


def _replica(spec: TrainingSpec, bench: Bench, place: Place) -> Replica:
    fold, seed = place
    layers = layers_of(spec, fold)
    training = spec.training
    if training.density_heads and layers and len(layers) % training.density_heads:
        # Heads that cannot share these layers give way to the usual number.
        training = training.model_copy(update={"density_heads": None})
    entry = spec.entry()
    count = bench.cache.layout.layers if layers is None else len(layers)
    torch.manual_seed(seed)
    model = build_model(
        entry,
        count,
        bench.cache.layout.features,
        len(bench.cache.class_names),
        spec.protocol,
        decoder_channels=training.decoder_channels,
        density_heads=training.density_heads,
    ).to(bench.device)
    if entry.own:
        try_measures(entry, model.attention, count, bench.cache.layout.features)
    return Replica(
        model,
        torch.from_numpy(bench.labels).to(bench.device),
        split_of(spec, bench, place),
        training,
        spec.protocol,
        order_seed=(seed, fold.index),
        lora_plus=entry.lora_plus,
        layers=layers,
    )


def _facts(spec: TrainingSpec, replica: Replica, values: Tensor) -> dict[str, Any]:
    """Return what a record says of a trained replica; `values` are some of its validation samples."""
    model = replica.model
    counts = model.parameter_counts()
    forward, training = flops_per_sample(model, values[:2])
    samples = len(replica.split.fitted) * len(replica.epochs)
    return {
        "kind": "attention",
        "note": "; ".join(filter(None, (replica.divergence, model.note()))),
        "selected_epoch": replica.best_epoch,
        "epochs": replica.epochs,
        "parameters_attention": counts.attention,
        "parameters_with_decoder": counts.with_decoder,
        "parameters_with_classifier": counts.with_classifier,
        "parameter_ranges": dict(_ranges(replica)),
        "entropies": measure_entropies(
            model.attention, values, replica.training.batch_size, spec.entry().has_density
        ),
        "protocol": spec.protocol.model_dump(),
        "training": replica.training.model_dump(),
        "wall_seconds": replica.wall_seconds,
        "cpu_seconds": replica.cpu_seconds,
        "loading_seconds": replica.loading_seconds,
        "energy_joules": replica.energy_joules,
        "samples_per_second": samples / replica.wall_seconds,
        "flops_forward": forward,
        "flops_training": training,
    }


def _some_values(bench: Bench, fold: Fold, replica: Replica) -> Tensor:
    """Return some validation samples as a replica sees them, [sample, layer, feature]."""
    rows = some_rows(fold.validation)
    parts = [buffer.take(buffer.own(rows), replica.layers) for buffer in bench.source.subset(rows)]
    return torch.cat(parts)


def _ranges(replica: Replica) -> Iterator[tuple[str, tuple[float, float]]]:
    """Yield each density parameter's name with its min and max after training."""
    for name, values in replica.model.attention.named_parameters():
        last = name.rsplit(".", 1)[-1]
        if last in ("mean_offset", "scaled_variance", "spread"):
            yield last, (float(values.detach().min()), float(values.detach().max()))


def _replicas_at_once(spec: TrainingSpec, bench: Bench) -> int:
    """Return how many replicas may be in memory together: as many as fit where values may lie."""
    model = _replica(spec, bench, (bench.folds[0], spec.seeds[0])).model
    size = sum(parameter.numel() * parameter.element_size() for parameter in model.parameters())
    return max(1, int(memory_bytes(bench.device) // (_COPIES * size)))
