"""One cell without Snakemake: samples, leakage check, cache and training, as the workflow does them."""

from collections.abc import Sequence
from pathlib import Path

import pandas as pd
from rich.progress import Progress

from daam_bench.adapters.presets import ENCODER_VARIANTS
from daam_bench.assets import fetch_asset
from daam_bench.cache.extraction import ExtractionSpec, describe, extract_part, finish_cache
from daam_bench.cache.manifest import MANIFEST, read_manifest
from daam_bench.config import Config
from daam_bench.datasets.leakage import check_leakage
from daam_bench.datasets.listing import list_samples
from daam_bench.encoders.base import load_encoder
from daam_bench.errors import CacheError, unknown_name
from daam_bench.heads.presets import VARIANTS
from daam_bench.plan import RESOURCES, Plan
from daam_bench.records import RunRecord, write_atomically
from daam_bench.specs import extraction_spec, training_spec, tuning_spec
from daam_bench.threads import OF_TRAINING, computing_with
from daam_bench.training.folds import check_dealing
from daam_bench.training.names import BASELINES
from daam_bench.training.run import run_job
from daam_bench.training.spec import TrainingSpec
from daam_bench.tuning.run import run_tuning
from daam_bench.tuning.spec import TuningSpec

_ONLY_PART = (1, 1)


def run_cell(
    config: Config,
    plan: Plan,
    cell: tuple[str, str, str],
    fold: int | None,
    seeds: Sequence[int] | None,
    caches: Path,
    output: Path,
    progress: Progress,
) -> list[RunRecord]:
    """Train one variant, score one baseline or tune the encoder; extract the cache if there is none.

    Args:
        config: what the workflow would run.
        plan: its jobs.
        cell: dataset, encoder, variant.
        fold: number of the only fold; None for all.
        seeds: None for those of the configuration.
        caches: results of the workflow, whose cache is used if it is the very one that is wanted.
        output: folder for `samples/`, `embeddings/` and `runs/`, laid out as results are.
        progress: shows samples and replicas.

    Raises:
        ConfigError: if the plan has no such dataset, encoder, variant or fold.
        DataError: if the dataset is not there, or leaks.
        EncoderError: if the encoder cannot be opened.
        CacheError: if the cache cannot be written.
    """
    dataset, encoder, variant = cell
    variants = [*VARIANTS, *config.variants, *BASELINES, *ENCODER_VARIANTS]
    for kind, name, known in (
        ("dataset", dataset, plan.datasets),
        ("encoder", encoder, plan.encoders),
        ("variant", variant, variants),
    ):
        if name not in known:
            raise unknown_name(kind, name, known, "experiments")
    own = {"seeds": list(seeds)} if seeds else {}
    folder, finish = output / "runs" / dataset / encoder / variant, fold is None and not seeds
    plan.require_files()
    if variant in ENCODER_VARIANTS:
        tuning = TuningSpec.model_validate(tuning_spec(config, plan, dataset, encoder, variant) | own)
        cache = make_cache(config, plan, dataset, encoder, caches, output, progress)
        samples = output / "samples" / f"{dataset}.parquet"
        return run_tuning(tuning, cache, samples, folder, progress, fold, finish)
    spec = TrainingSpec.model_validate(training_spec(config, plan, dataset, encoder, variant) | own)
    cache = make_cache(config, plan, dataset, encoder, caches, output, progress)
    with computing_with(OF_TRAINING):
        return run_job(spec, cache, folder, progress, only_fold=fold, finish=finish)


def make_cache(
    config: Config, plan: Plan, dataset: str, encoder: str, caches: Path, output: Path, progress: Progress
) -> Path:
    """Return the folder of the cache that a configuration asks for; extract it below `output` if need be."""
    for path in (plan.datasets[dataset].path, plan.encoders[encoder].model):
        _fetch(path)
    frame = list_samples(dataset, plan.datasets[dataset])
    samples = output / "samples" / f"{dataset}.parquet"
    write_atomically(samples, frame.to_parquet(index=False))
    check_dealing(frame, plan.datasets[dataset].folds, f"datasets.{dataset}.folds")
    check_leakage(frame, plan.datasets[dataset], str(samples.with_suffix(".leakage.csv")))
    spec = ExtractionSpec.model_validate(extraction_spec(config, plan, dataset, encoder))
    frame = pd.read_parquet(samples)
    _, identity = describe(spec, load_encoder(encoder, spec.encoder, spec.short_clips), frame)
    folder = output / "embeddings" / dataset / encoder
    for place in (caches / "embeddings" / dataset / encoder, folder):
        try:
            if read_manifest(place / MANIFEST)["digest"] == identity.digest:
                return place
        except CacheError:
            continue
    part = folder / "parts" / "1-of-1.json"
    extract_part(spec, frame, part, _ONLY_PART, progress)
    finish_cache(spec, samples, [part], folder / MANIFEST)
    return folder


def _fetch(path: str) -> None:
    """Fetch the pinned asset of a path, as the workflow's first rule does."""
    import json

    parts = Path(path).parts
    if Path(path).exists() or len(parts) < 2 or parts[0] != str(RESOURCES):
        return
    folder = RESOURCES / parts[1]
    hashes = fetch_asset(parts[1], folder)
    write_atomically(RESOURCES / f"{parts[1]}.json", (json.dumps(hashes, indent=1) + "\n").encode())
