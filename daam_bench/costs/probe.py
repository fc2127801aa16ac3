"""A short probe: a few real samples through the encoder, a few training steps at the true shape."""

from pkgutil import resolve_name
from time import perf_counter

import numpy as np
import pandas as pd
import torch

from daam_bench.cache.batches import encode_runs
from daam_bench.config import DatasetConfig, EncoderConfig, Protocol, ShortClips, TrainingConfig
from daam_bench.costs.prediction import StepCost
from daam_bench.datasets.clips import cut_into_clips
from daam_bench.datasets.file_pattern import files_folder
from daam_bench.datasets.registry import dataset_kind
from daam_bench.encoders.base import load_encoder
from daam_bench.errors import DataError
from daam_bench.heads.build import build_model
from daam_bench.heads.presets import Variant
from daam_bench.training.replica import Split
from daam_bench.training.together import train_replica

_WARM_UP, _SAMPLES, _STEPS = 4, 32, 4


def probe_encoder(
    name: str, encoder: EncoderConfig, dataset: DatasetConfig, short_clips: ShortClips
) -> float:
    """Return how many samples a second an encoder takes, over a spread of real samples.

    Samples that cannot be used are not counted: refusing one takes no time.

    Raises:
        DataError: if the dataset cannot be read, has no samples, or none of the spread can be used.
        EncoderError: if the encoder cannot be opened.
    """
    frame: pd.DataFrame = resolve_name(dataset_kind(dataset.kind).reader)(dataset)
    if frame.empty:
        raise DataError("the dataset has no samples", where=dataset.path)
    rows = np.unique(np.linspace(0, len(frame) - 1, _WARM_UP + _SAMPLES).astype(int))
    frame = frame.iloc[rows].reset_index(drop=True)
    folder = files_folder(dataset)
    if dataset.clip_seconds is not None:
        frame = cut_into_clips(frame.assign(content_key=""), folder, dataset.clip_seconds)
    model = load_encoder(name, encoder, short_clips)
    warm_up = min(_WARM_UP, len(frame) // 2)
    list(encode_runs(model, [frame.iloc[:warm_up]], folder))
    start = perf_counter()
    (encoded,) = encode_runs(model, [frame.iloc[warm_up:]], folder)
    seconds = perf_counter() - start
    usable = int((encoded.lengths >= 0).sum())
    if not usable:
        reason = next(iter(encoded.quarantined.values()))
        raise DataError("none of the probed samples can be used", where=dataset.path, found=reason)
    return usable / seconds


def probe_variant(
    variant: Variant,
    shape: tuple[int, int],
    classes: int,
    training: TrainingConfig,
    protocol: Protocol,
) -> StepCost:
    """Time a few training steps of a variant on random hidden states of (layers, features).

    The first run, which warms up, is left out. Scoring is a forward pass, a third of a step's arithmetic.
    """
    seconds = [_train(variant, shape, classes, training, protocol, steps) for steps in (1, 1, 1 + _STEPS)]
    step = max((seconds[2] - seconds[1]) / _STEPS, 1e-9)
    return StepCost(step, step / (3 * training.batch_size), max(seconds[1] - step, 0.0))


def _train(
    variant: Variant,
    shape: tuple[int, int],
    classes: int,
    training: TrainingConfig,
    protocol: Protocol,
    steps: int,
) -> float:
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    fitted = steps * training.batch_size
    generator = torch.Generator().manual_seed(0)
    embeddings = torch.randn(fitted + 4, *shape, generator=generator).to(device)
    labels = (torch.arange(fitted + 4) % classes).to(device)
    rows = np.arange(fitted + 4)
    torch.manual_seed(0)
    model = build_model(
        variant,
        *shape,
        classes,
        protocol,
        decoder_channels=training.decoder_channels,
        density_heads=training.density_heads,
    ).to(device)
    start = perf_counter()
    train_replica(
        model,
        embeddings,
        labels,
        Split(rows[:fitted], rows[fitted : fitted + 2], rows[fitted + 2 :]),
        training.model_copy(update={"epochs": 1}),
        protocol,
        order_seed=(0, 0),
        lora_plus=variant.lora_plus,
    )
    if device.type == "cuda":
        torch.cuda.synchronize()
    return perf_counter() - start
