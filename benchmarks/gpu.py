"""Extraction over bare forward passes on a GPU, for models of the paper's shapes in bfloat16.

BEiT-Large and WavLM-Large with random weights, through the same encoders as pretrained ones, on made-up
images and recordings. Bare forwards run the very batches of the extraction on inputs that are prepared
before; extraction decodes, prepares, pools, checks and writes as well. Where there is no GPU nothing is run;
`--tiny` runs small models wherever it is, to try this script itself.
"""

import argparse
import io
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import soundfile
import torch
from measure import interleave, median_ratio, write_results
from PIL import Image
from rich.progress import Progress
from transformers import (
    BeitConfig,
    BeitImageProcessor,
    BeitModel,
    Wav2Vec2FeatureExtractor,
    WavLMConfig,
    WavLMModel,
)

from daam_bench.cache.batches import Budget, batches_by_length
from daam_bench.cache.extraction import ExtractionSpec, describe, fill
from daam_bench.cache.identity import CacheIdentity
from daam_bench.cache.store import CacheLayout
from daam_bench.cache.writer import CacheWriter
from daam_bench.config import CacheConfig, EncoderConfig
from daam_bench.encoders.base import load_encoder

LARGE = {"hidden_size": 1024, "num_hidden_layers": 24, "num_attention_heads": 16, "intermediate_size": 4096}
TINY = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 64}
RATE, SECONDS = 16_000, (1.0, 5.0)  # of recordings, as clips of IEMOCAP
SCRATCH = Path("results")
Described = tuple[CacheLayout, CacheIdentity]
KINDS = 64  # of made-up contents; each sample is one of them


def save_beit(folder: Path, shape: dict[str, int]) -> None:
    """Save a BEiT with random weights; BEiT-Large is 24 x 1024 over 196 patches."""
    BeitModel(BeitConfig(**shape, image_size=224, patch_size=16)).save_pretrained(folder)
    BeitImageProcessor(
        size={"height": 224, "width": 224}, do_center_crop=False, image_mean=[0.5] * 3, image_std=[0.5] * 3
    ).save_pretrained(folder)


def save_wavlm(folder: Path, shape: dict[str, int]) -> None:
    """Save a WavLM with random weights; WavLM-Large has layer norms in its feature extractor."""
    large = {"feat_extract_norm": "layer", "do_stable_layer_norm": True, "conv_bias": False}
    narrow = {"conv_dim": (8,) * 7, "num_conv_pos_embeddings": 16, "num_conv_pos_embedding_groups": 2}
    small = narrow if shape is TINY else {}
    WavLMModel(WavLMConfig(**shape, **large, **small)).save_pretrained(folder)
    Wav2Vec2FeatureExtractor(
        sampling_rate=RATE, do_normalize=True, return_attention_mask=True
    ).save_pretrained(folder)


def image(number: int) -> bytes:
    """Return a JPEG of 256 x 256 random pixels."""
    pixels = np.random.default_rng(number).integers(0, 256, (256, 256, 3), dtype=np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "JPEG")
    return buffer.getvalue()


def recording(number: int) -> bytes:
    """Return a WAV of noise, 1 to 5 s long."""
    random = np.random.default_rng(number)
    buffer = io.BytesIO()
    noise = random.normal(scale=0.1, size=round(random.uniform(*SECONDS) * RATE))
    soundfile.write(buffer, noise, RATE, format="WAV", subtype="PCM_16")
    return buffer.getvalue()


MODELS: dict[str, tuple[str, Callable[[Path, dict[str, int]], None], Callable[[int], bytes]]] = {
    "beit_large": ("vision", save_beit, image),
    "wavlm_large": ("speech", save_wavlm, recording),
}


def samples_of(content: Callable[[int], bytes], count: int) -> pd.DataFrame:
    """Return a table of samples; contents repeat, but not what they are known by."""
    contents = [content(number) for number in range(min(KINDS, count))]
    names = [str(row) for row in range(count)]
    frame = pd.DataFrame({"sample_id": names, "content_key": names, "label": 0, "split": "", "group": ""})
    frame["content"] = [contents[row % len(contents)] for row in range(count)]
    frame.attrs = {"class_names": ["any"], "title": "", "licence": "", "source": "", "folder": "."}
    return frame


def batches_of(encoder: Any, samples: pd.DataFrame, rows_per_chunk: int) -> list[list[Any]]:
    """Return the prepared batches of an extraction."""
    found = []
    for first in range(0, len(samples), rows_per_chunk):
        chunk = samples.iloc[first : first + rows_per_chunk]
        for start in range(0, len(chunk), encoder.window):
            prepared = encoder.prepare(chunk.iloc[start : start + encoder.window], Path())
            assert not prepared.problems
            for batch in batches_by_length(prepared.positions, Budget.of_device().positions):
                found.append([prepared.inputs[row] for row in batch])
    return found


@torch.inference_mode()
def bare_forwards(encoder: Any, batches: list[list[Any]]) -> None:
    """Forward batches one after another and keep nothing."""
    for batch in batches:
        inputs, _ = encoder.batch(batch)
        encoder.model(**inputs)
    if torch.cuda.is_available():
        torch.cuda.synchronize()


def extract(encoder: Any, samples: pd.DataFrame, spec: ExtractionSpec, described: Described) -> None:
    """Fill a new cache; opening and hashing the weights, once a job, is left out."""
    with (
        tempfile.TemporaryDirectory(dir=SCRATCH) as folder,
        CacheWriter(Path(folder), spec.cache.format, *described) as writer,
    ):
        fill(writer, encoder, samples, spec, Progress(disable=True))
        writer.finish()


def measure(name: str, count: int, shape: dict[str, int]) -> tuple[dict[str, float], dict[str, Any]]:
    """Return the ratio and the samples per second of both ways for one model."""
    modality, save, content = MODELS[name]
    with tempfile.TemporaryDirectory() as folder:
        save(Path(folder), shape)
        spec = ExtractionSpec(
            dataset="made-up",
            encoder_name=name,
            encoder=EncoderConfig(modality=modality, model=folder, dtype="bfloat16"),
            cache=CacheConfig(dtype="float16"),
        )
        encoder: Any = load_encoder(name, spec.encoder)
        samples = samples_of(content, count)
        described = describe(spec, encoder, samples)
        batches = batches_of(encoder, samples, described[0].rows_per_chunk)
        seconds = interleave(
            {
                "bare": lambda: bare_forwards(encoder, batches),
                "extraction": lambda: extract(encoder, samples, spec, described),
            }
        )
    ratios = {f"{name}_extraction_over_bare_forward": median_ratio(seconds["bare"], seconds["extraction"])}
    for way, found in seconds.items():
        ratios[f"{name}_samples_per_second_{way}"] = count / float(np.median(found))
    return ratios, {"seconds": seconds, "samples": count, "batches": len(batches)}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--samples", type=int, default=4096, help="of each model")
    parser.add_argument("--tiny", action="store_true", help="small models, GPU or not: tries the script")
    given = parser.parse_args()
    if not torch.cuda.is_available() and not given.tiny:
        print("no GPU here: not run")
        return
    SCRATCH.mkdir(exist_ok=True)
    ratios: dict[str, float] = {}
    raw: dict[str, Any] = {"tiny": given.tiny}
    for name in MODELS:
        found, raw[name] = measure(name, given.samples, TINY if given.tiny else LARGE)
        ratios |= found
    device = "cuda" if torch.cuda.is_available() else "cpu"
    write_results("gpu_tiny" if given.tiny else "gpu", ratios, raw, torch.get_num_threads(), device)


if __name__ == "__main__":
    main()
