"""CIFAR-100: small photographs of 100 classes (Krizhevsky, 2009)."""

import io
from pathlib import Path

import numpy as np
import pandas as pd
from PIL import Image

from daam_bench.config import DatasetConfig
from daam_bench.datasets.base import DatasetKind
from daam_bench.datasets.hugging_face import encoded_files, label_names, load_splits
from daam_bench.datasets.inert_pickle import read_inert
from daam_bench.errors import DataError

# The classes of the hub's `fine_label` and of the archive's `meta`, in their order.
_NAMES = """
    apple aquarium_fish baby bear beaver bed bee beetle bicycle bottle bowl boy bridge bus butterfly
    camel can castle caterpillar cattle chair chimpanzee clock cloud cockroach couch crab crocodile
    cup dinosaur dolphin elephant flatfish forest fox girl hamster house kangaroo keyboard lamp
    lawn_mower leopard lion lizard lobster man maple_tree motorcycle mountain mouse mushroom
    oak_tree orange orchid otter palm_tree pear pickup_truck pine_tree plain plate poppy porcupine
    possum rabbit raccoon ray road rocket rose sea seal shark shrew skunk skyscraper snail snake
    spider squirrel streetcar sunflower sweet_pepper table tank telephone television tiger tractor
    train trout tulip turtle wardrobe whale willow_tree wolf woman worm
"""
_CLASSES = tuple(_NAMES.split())
_SPLITS = {"train": "train", "validation": "test"}

CIFAR100 = DatasetKind(
    name="cifar100",
    title="CIFAR-100: 32 x 32 photographs of 100 classes",
    reader="daam_bench.datasets.cifar100:read_cifar100",
    modality="vision",
    classes=_CLASSES,
    class_counts={"train": dict.fromkeys(_CLASSES, 500), "validation": dict.fromkeys(_CLASSES, 100)},
    source="Hugging Face uoft-cs/cifar100, or the folder of the archive's Python version",
    licence="not stated by its authors",
    citation="Krizhevsky, Learning Multiple Layers of Features from Tiny Images, 2009",
)


def read_cifar100(config: DatasetConfig) -> pd.DataFrame:
    """Return all images as PNG; the test split validates (method.md section 2).

    Raises:
        DataError: if files are missing or are not CIFAR-100's.
    """
    folder = Path(config.path)
    if (folder / "train").is_file():
        return pd.concat([_from_archive(folder / f, s) for s, f in _SPLITS.items()], ignore_index=True)
    loaded = load_splits(config)
    parts = []
    for split, name in _SPLITS.items():
        labels = [_CLASSES.index(label) for label in label_names(loaded[name], "fine_label")]
        parts.append(_frame(labels, encoded_files(loaded[name], "img"), split))
    return pd.concat(parts, ignore_index=True)


def _from_archive(path: Path, split: str) -> pd.DataFrame:
    """Read one file of the Python version: rows of 1,024 red, 1,024 green and 1,024 blue values."""
    data = read_inert(path)
    pixels, labels = data.get("data"), data.get("fine_labels")
    if not isinstance(pixels, np.ndarray) or pixels.shape[1:] != (3072,) or not isinstance(labels, list):
        raise DataError("is no file of CIFAR-100's Python version", where=path)
    images = pixels.reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1)
    return _frame([int(label) for label in labels], [_png(image) for image in images], split)


def _png(pixels: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG", compress_level=1)
    return buffer.getvalue()


def _frame(labels: list[int], contents: list[bytes], split: str) -> pd.DataFrame:
    names = [f"{split}/{row}" for row in range(len(labels))]
    return pd.DataFrame(
        {"sample_id": names, "label": labels, "group": "", "split": split, "content": contents}
    )
