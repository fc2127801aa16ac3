"""One job of encoder LoRA: every fold and seed of an encoder variant; a killed job goes on where it was."""

import hashlib
import json
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
from filelock import FileLock
from rich.progress import Progress
from safetensors.torch import save

from daam_bench.adapters.presets import KIND
from daam_bench.cache.reader import open_cache
from daam_bench.fingerprint import source_fingerprint
from daam_bench.locks import wait_for
from daam_bench.records import (
    RunRecord,
    read_record,
    remove_temporaries,
    write_atomically,
    write_finished,
)
from daam_bench.training.bench import Bench, bench_of, best_device, usable_rows
from daam_bench.training.checkpoint import load_checkpoint, remove_checkpoint, save_checkpoint
from daam_bench.training.cost import SharedCosts, begin_peak_memory
from daam_bench.training.job import Place, places_of, stem_of, unfinished, write_result
from daam_bench.training.together import train_together
from daam_bench.tuning.cost import flops_of_row, median_row
from daam_bench.tuning.replica import TunedReplica
from daam_bench.tuning.samples import RowSource
from daam_bench.tuning.session import Session, open_session
from daam_bench.tuning.spec import TuningSpec

ROOMS = ("adapters", "encoders", "training", "tuning")


def run_tuning(
    spec: TuningSpec,
    cache_path: Path,
    samples: Path,
    folder: Path,
    progress: Progress,
    only_fold: int | None = None,
    finish: bool = True,
) -> list[RunRecord]:
    """Tune every fold and seed that has no finished record of the same key.

    Folds, held-out rows, quarantined samples and their order are those of the cache: a result is paired with
    those of the cached variants, sample by sample. The encoder is loaded, adapted and proven once.

    Args:
        spec: what to compute.
        cache_path: the finished cache of the same samples and encoder; of it no values are read.
        samples: the table that it was extracted from.
        folder: where the records of this variant are written; one process at a time, others wait.
        progress: shows epochs and time left.
        only_fold: tune this fold alone.
        finish: write the list of finished records, from which tables are made; not of a part of them.

    Raises:
        CacheError: if the cache is not finished, or not of these samples.
        DataError: if the folds cannot be dealt, or a sample cannot be read.
        EncoderError: if the encoder cannot be opened or adapted, or an adapter does nothing.
        ConfigError: if there is no such fold or variant.
    """
    spec.entry()
    folder.mkdir(parents=True, exist_ok=True)
    with wait_for(FileLock(folder / ".lock"), folder):
        remove_temporaries(folder)
        cache, device = open_cache(cache_path), best_device()
        bench = bench_of(cache, spec.folds, device, RowSource(len(usable_rows(cache)), device))
        places = places_of(spec, bench, only_fold)
        left = unfinished(folder, places, lambda place: _key(spec, bench, place))
        each = spec.budget.epochs
        task = progress.add_task(
            f"{spec.dataset} x {spec.encoder}: {spec.variant}",
            total=len(places) * each,
            completed=(len(places) - len(left)) * each,
        )
        session = open_session(spec, bench, pd.read_parquet(samples)) if left else None
        for place in left:
            assert session is not None  # there is a replica left
            _tune(session, place, folder, lambda epochs: progress.advance(task, epochs))
        records = [read_record(folder / f"{stem_of(place)}.json") for place in places]
        if finish and only_fold is None:
            write_finished(folder, records)
    return records


def _key(spec: TuningSpec, bench: Bench, place: Place) -> str:
    facts = spec.model_dump(mode="json", exclude={"seeds"}) | {
        "fold": place[0].index,
        "seed": place[1],
        "cache": bench.cache.identity.digest,
        "source": source_fingerprint(*ROOMS),
    }
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()


def _tune(session: Session, place: Place, folder: Path, advance: Callable[[int], None]) -> None:
    """Tune one replica from its start, or from its checkpoint, and write its record."""
    bench, stem = session.bench, folder / stem_of(place)
    key = _key(session.spec, bench, place)
    begin_peak_memory(bench.device)
    replica = session.replica(place)
    load_checkpoint(stem, key, replica)
    costs = SharedCosts([replica], session.reader, bench.device)
    logging.info("%s: from epoch %d; %s", stem.name, replica.trained_epochs + 1, session.proof)
    advance(replica.trained_epochs)

    def after_epoch() -> None:
        costs.deal()
        save_checkpoint(stem, key, replica)
        advance(1)

    train_together([replica], bench.source, after_epoch)
    costs.deal()
    outcome = replica.outcome()
    _save(session, replica, stem.with_suffix(".safetensors"))
    facts = _facts(session, replica)
    write_result(session.spec, bench, place, folder, key, outcome.predictions.numpy(), facts)
    remove_checkpoint(stem)


def _save(session: Session, replica: TunedReplica, path: Path) -> None:
    """Write the updates under peft's names, and the head's state behind `head.`."""
    head = {f"head.{name}": value for name, value in replica.classifier.head.state_dict().items()}
    tensors = session.adapters.state_for_peft() | head
    write_atomically(path, save({name: value.cpu().contiguous() for name, value in tensors.items()}))


def _facts(session: Session, replica: TunedReplica) -> dict[str, Any]:
    spec, bench = session.spec, session.bench
    counts = replica.model.parameter_counts()
    lengths = bench.cache.lengths[bench.usable]
    forward, training = flops_of_row(replica.classifier, median_row(lengths, replica.split.fitted))
    samples = len(replica.split.fitted) * len(replica.epochs)
    used = replica.training.model_dump(exclude={"decoder_channels", "density_heads", "shuffle_mebibytes"})
    return {
        "kind": KIND,
        "note": "; ".join(filter(None, (replica.divergence, str(session.proof)))),
        "selected_epoch": replica.best_epoch,
        "epochs": replica.epochs,
        "parameters_attention": counts.attention,
        "parameters_with_decoder": counts.with_decoder,
        "parameters_with_classifier": counts.with_classifier,
        "protocol": spec.protocol.model_dump(),
        "training": used | {"alpha": spec.tuning.alpha, "rank": spec.entry().rank},
        "wall_seconds": replica.wall_seconds,
        "cpu_seconds": replica.cpu_seconds,
        "loading_seconds": replica.loading_seconds,
        "energy_joules": replica.energy_joules,
        "samples_per_second": samples / replica.wall_seconds,
        "flops_forward": forward,
        "flops_training": training,
    }
