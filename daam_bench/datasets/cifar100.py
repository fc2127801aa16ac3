"""CIFAR-100: small photographs of 100 classes (Krizhevsky, 2009)."""

import io
import tarfile
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from PIL import Image

from daam_bench.config import DatasetConfig
from daam_bench.datasets.base import DatasetKind
from daam_bench.datasets.hugging_face import encoded_files, label_names, load_splits
from daam_bench.datasets.inert_pickle import inert_mapping, read_inert
from daam_bench.datasets.published import class_indices, split_with
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
_FOLDER = "cifar-100-python"  # what the archive unpacks to
# The larger of the published files has 155 MB.
_MOST_BYTES = 2**29

CIFAR100 = DatasetKind(
    name="cifar100",
    title="CIFAR-100: 32 x 32 photographs of 100 classes",
    reader="daam_bench.datasets.cifar100:read_cifar100",
    modality="vision",
    classes=_CLASSES,
    class_counts={"train": dict.fromkeys(_CLASSES, 500), "validation": dict.fromkeys(_CLASSES, 100)},
    source="Hugging Face uoft-cs/cifar100, or the archive's Python version, packed or unpacked",
    licence="not stated by its authors",
    citation="Krizhevsky, Learning Multiple Layers of Features from Tiny Images, 2009",
)


def read_cifar100(config: DatasetConfig) -> pd.DataFrame:
    """Return all images as PNG; the test split validates (method.md section 2).

    Raises:
        DataError: if files are missing or are not CIFAR-100's.
    """
    path = Path(config.path)
    if (path / _FOLDER / "train").is_file():
        path /= _FOLDER
    if path.is_file():
        contents = _members(path)
    elif (path / "train").is_file():
        contents = {name: read_inert(path / name) for name in _SPLITS.values()}
    else:
        return pd.concat(_from_hub(config), ignore_index=True)
    parts = [_from_archive(contents[name], path, split) for split, name in _SPLITS.items()]
    return pd.concat(parts, ignore_index=True)


def _from_hub(config: DatasetConfig) -> list[pd.DataFrame]:
    loaded = load_splits(config)
    parts = []
    for split, name in _SPLITS.items():
        data = split_with(loaded, name, ("fine_label", "img"), config.path)
        labels = class_indices(label_names(data, "fine_label"), _CLASSES, f"{config.path} ({name})")
        parts.append(_frame(labels, encoded_files(data, "img", config.path), split))
    return parts


def _members(path: Path) -> dict[str, dict[str, Any]]:
    """Return the files `train` and `test` of the archive, read in memory: nothing is unpacked to the disk."""
    found = {}
    try:
        with tarfile.open(path) as archive:
            for member in archive:
                name = member.name.rpartition("/")[2]
                wanted = name in _SPLITS.values() and name not in found and member.isreg()
                handle = archive.extractfile(member) if wanted else None
                if handle is None:
                    continue
                if member.size > _MOST_BYTES:
                    raise DataError(f"{member.name} is too large", where=path, found=f"{member.size} bytes")
                found[name] = inert_mapping(handle.read(), f"{path}: {member.name}")
    except (OSError, EOFError, tarfile.TarError, zlib.error) as error:
        raise DataError(f"cannot be read as an archive ({error})", where=path) from None
    missing = [name for name in _SPLITS.values() if name not in found]
    if missing:
        raise DataError(
            f"the archive lacks {' and '.join(missing)}",
            where=path,
            expected="cifar-100-python.tar.gz, with cifar-100-python/train and cifar-100-python/test",
        )
    return found


def _from_archive(data: dict[str, Any], path: Path, split: str) -> pd.DataFrame:
    """Return one file of the Python version: rows of 1,024 red, 1,024 green and 1,024 blue values."""
    pixels, labels = data.get("data"), data.get("fine_labels")
    if not isinstance(pixels, np.ndarray) or pixels.shape[1:] != (3072,) or not isinstance(labels, list):
        raise DataError("is no file of CIFAR-100's Python version", where=path)
    if len(labels) != len(pixels) or not all(isinstance(label, int) for label in labels):
        raise DataError("has no class number for each picture", where=path, expected=f"{len(pixels)} numbers")
    images = pixels.reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1)
    return _frame(labels, [_png(image) for image in images], split)


def _png(pixels: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG", compress_level=1)
    return buffer.getvalue()


def _frame(labels: list[int], contents: list[bytes], split: str) -> pd.DataFrame:
    names = [f"{split}/{row}" for row in range(len(labels))]
    return pd.DataFrame(
        {"sample_id": names, "label": labels, "group": "", "split": split, "content": contents}
    )
