"""One training job: every fold and seed of a variant on one cache, each kept as soon as it is finished."""

import hashlib
import io
import json
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter, process_time
from typing import Any

import numpy as np
import pandas as pd
import torch
from filelock import FileLock
from jaxtyping import Float
from pydantic import BaseModel, ConfigDict, Field
from rich.progress import Progress
from safetensors.torch import save as save_tensors
from torch import Tensor

from daam_bench.cache.reader import EmbeddingCache, open_cache
from daam_bench.config import FoldRule, Protocol, TrainingConfig, VariantConfig
from daam_bench.environment import describe_environment
from daam_bench.errors import ConfigError, RecordError
from daam_bench.fingerprint import source_fingerprint
from daam_bench.heads.build import build_model
from daam_bench.heads.model import AttentionClassifier, HasDensity
from daam_bench.heads.own import fingerprint_of_file, own_variant
from daam_bench.heads.presets import Variant, find_variant
from daam_bench.records import RunRecord, read_record, write_atomically, write_finished, write_record
from daam_bench.training.baselines import predict_best_single_layer, predict_majority
from daam_bench.training.folds import Fold, Rows, deal_folds, hold_out
from daam_bench.training.loop import Split, train_replica
from daam_bench.training.metrics import score
from daam_bench.training.names import BASELINES

_ROOMS = ("heads", "training")


class TrainingSpec(BaseModel):
    """What one training job computes; equal specs and equal caches give equal results."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    dataset: str
    encoder: str
    variant: str
    seeds: list[int]
    folds: FoldRule
    training: TrainingConfig
    protocol: Protocol
    own: VariantConfig | None = Field(None, description="of a user's own module")
    own_sha256: str | None = Field(None, description="of its file, so that an edit trains anew")

    def entry(self) -> Variant:
        """Return the table entry of the variant.

        Raises:
            ConfigError: if an own module's file is missing, or is not the one that was planned with.
        """
        if self.own is None:
            return find_variant(self.variant)
        entry = own_variant(self.variant, self.own)
        if (found := fingerprint_of_file(self.own.file)) != self.own_sha256:
            raise ConfigError(
                "the file changed since the run was planned",
                where=self.own.file,
                expected=f"sha256 {self.own_sha256}",
                found=found,
                remedy="Start the run again.",
            )
        return entry


@dataclass(frozen=True)
class Bench:
    """A resident cache with its folds, shared by the replicas of a job."""

    cache: EmbeddingCache
    embeddings: Tensor
    labels: Rows
    folds: list[Fold]
    device: torch.device
    usable: Rows
    groups: list[str]
    contents: list[str]


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
        progress: shows replicas and time left.
        only_fold: train this fold alone.
        finish: write the list of finished records, from which tables are made; not of a part of them.

    Raises:
        CacheError: if the cache is not finished or damaged.
        DataError: if the folds cannot be dealt.
        ConfigError: if there is no such fold.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with FileLock(folder / ".lock"):
        bench = _open_bench(cache_path, spec.folds)
        folds = [fold for fold in bench.folds if only_fold in (None, fold.index)]
        if not folds:
            raise ConfigError("no such fold", expected=f"0 to {len(bench.folds) - 1}", found=only_fold)
        replicas = [(fold, seed) for fold in folds for seed in spec.seeds]
        task = progress.add_task(f"{spec.dataset} x {spec.encoder}: {spec.variant}", total=len(replicas))
        records = []
        for fold, seed in replicas:
            records.append(
                _finished(spec, bench, fold, seed, folder) or _run_one(spec, bench, fold, seed, folder)
            )
            progress.advance(task)
        if finish and only_fold is None:
            write_finished(folder, records)
    return records


def _open_bench(path: Path, rule: FoldRule) -> Bench:
    cache = open_cache(path)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    values = cache.load()
    usable = np.flatnonzero(np.isfinite(values).all(axis=(1, 2)))
    labels = np.asarray(cache.layout.labels, dtype=np.int64)[usable]
    layout = cache.layout
    columns = (layout.groups, layout.splits, layout.contents)
    groups, splits, contents = ([names[i] for i in usable] for names in columns)
    folds = deal_folds(labels, groups, splits, contents, rule)
    embeddings = torch.from_numpy(values[usable].astype(np.float32)).to(device)
    return Bench(cache, embeddings, labels, folds, device, usable, groups, contents)


def _key(spec: TrainingSpec, bench: Bench, fold: Fold, seed: int) -> str:
    facts = spec.model_dump(mode="json", exclude={"seeds"}) | {
        "fold": fold.index,
        "seed": seed,
        "cache": bench.cache.identity.digest,
        "source": source_fingerprint(*_ROOMS),
    }
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()


def _finished(spec: TrainingSpec, bench: Bench, fold: Fold, seed: int, folder: Path) -> RunRecord | None:
    """Return the record of an equal replica that an earlier run finished."""
    try:
        record = read_record(folder / f"fold{fold.index}_seed{seed}.json")
    except RecordError:
        return None
    return record if record.key == _key(spec, bench, fold, seed) else None


def _run_one(spec: TrainingSpec, bench: Bench, fold: Fold, seed: int, folder: Path) -> RunRecord:
    wall, cpu = perf_counter(), process_time()
    compute = _score_baseline if spec.variant in BASELINES else _train_variant
    predictions, details = compute(spec, bench, fold, seed, folder)
    validation, metric = bench.labels[fold.validation], spec.training.metric
    record = RunRecord(
        key=_key(spec, bench, fold, seed),
        dataset=spec.dataset,
        encoder=spec.encoder,
        variant=spec.variant,
        spec=spec.model_dump(mode="json", exclude={"seeds"}),
        fold=fold.index,
        fold_name=fold.name,
        seed=seed,
        metric=metric,
        score=score(metric, validation, predictions),
        majority_score=score(metric, validation, predict_majority(bench.labels, fold).predictions),
        train_samples=len(fold.train),
        validation_samples=len(fold.validation),
        cache_identity=bench.cache.identity.digest,
        wall_seconds=perf_counter() - wall,
        cpu_seconds=process_time() - cpu,
        environment=describe_environment(str(bench.device), torch.get_num_threads()),
        **details,
    )
    frame = pd.DataFrame(
        {
            "sample_id": [bench.cache.layout.sample_ids[bench.usable[row]] for row in fold.validation],
            "label": validation,
            "prediction": predictions,
        }
    )
    write_atomically(folder / f"{record.stem}.parquet", frame.to_parquet(index=False))
    write_record(folder, record)
    return record


def _score_baseline(
    spec: TrainingSpec, bench: Bench, fold: Fold, seed: int, _folder: Path
) -> tuple[Rows, dict[str, Any]]:
    if spec.variant == "majority":
        found = predict_majority(bench.labels, fold)
    else:
        embeddings = bench.embeddings.cpu().numpy()
        inner = _hold_out(spec, bench, fold, seed)
        found = predict_best_single_layer(embeddings, bench.labels, fold, inner, spec.training.metric)
    return found.predictions, {"kind": "baseline", "note": found.note}


def _hold_out(spec: TrainingSpec, bench: Bench, fold: Fold, seed: int) -> tuple[Rows, Rows]:
    fraction = spec.training.inner_fraction
    return hold_out(fold.train, bench.labels, bench.groups, bench.contents, fraction, seed)


def _train_variant(
    spec: TrainingSpec, bench: Bench, fold: Fold, seed: int, folder: Path
) -> tuple[Rows, dict[str, Any]]:
    split = Split(fold.train, None, fold.validation)
    if spec.protocol.select == "inner":
        fitted, held_out = _hold_out(spec, bench, fold, seed)
        split = Split(fitted, held_out, fold.validation)
    classes = len(bench.cache.class_names)
    entry = spec.entry()
    torch.manual_seed(seed)
    layers, features = bench.embeddings.shape[1:]
    model = build_model(
        entry,
        layers,
        features,
        classes,
        spec.protocol,
        decoder_channels=spec.training.decoder_channels,
        density_heads=spec.training.density_heads,
    ).to(bench.device)
    outcome = train_replica(
        model,
        bench.embeddings,
        torch.from_numpy(bench.labels).to(bench.device),
        split,
        spec.training,
        spec.protocol,
        order_seed=(seed, fold.index),
        lora_plus=entry.lora_plus,
    )
    stem = folder / f"fold{fold.index}_seed{seed}"
    _save_attention(model, bench, fold, stem)
    counts = model.parameter_counts()
    return outcome.predictions.numpy(), {
        "kind": "attention",
        "note": model.note(),
        "selected_epoch": outcome.selected_epoch,
        "epochs": outcome.epochs,
        "parameters_attention": counts.attention,
        "parameters_with_decoder": counts.with_decoder,
        "parameters_with_classifier": counts.with_classifier,
        "parameter_ranges": _ranges(model),
        "protocol": spec.protocol.model_dump(),
        "training": spec.training.model_dump(),
    }


def _save_attention(model: AttentionClassifier, bench: Bench, fold: Fold, stem: Path) -> None:
    state = {name: tensor.contiguous() for name, tensor in model.attention.state_dict().items()}
    write_atomically(stem.with_suffix(".safetensors"), save_tensors(state))
    if isinstance(model.attention, HasDensity):
        buffer = io.BytesIO()
        np.savez(buffer, density=mean_density(model, bench.embeddings, fold.validation).cpu().numpy())
        write_atomically(stem.with_suffix(".density.npz"), buffer.getvalue())


@torch.inference_mode()
def mean_density(
    model: AttentionClassifier, embeddings: Float[Tensor, "sample layer feature"], rows: Rows
) -> Float[Tensor, "layer feature"]:
    """Return DA averaged over samples, in evaluation mode, float32 (paper section 3.4)."""
    model.eval()
    parts = [torch.from_numpy(part) for part in np.array_split(rows, max(1, len(rows) // 256))]
    total = torch.stack([model.density(embeddings[part]).float().sum(dim=0) for part in parts]).sum(dim=0)
    return total / len(rows)


def _ranges(model: AttentionClassifier) -> dict[str, tuple[float, float]]:
    """Return min and max of each density parameter after training, by its name."""
    wanted = ("mean_offset", "scaled_variance", "spread")
    return {
        name.rsplit(".", 1)[-1]: (float(values.detach().min()), float(values.detach().max()))
        for name, values in model.attention.named_parameters()
        if name.rsplit(".", 1)[-1] in wanted
    }
