"""AG News: titles and descriptions of four topics (Zhang, Zhao and LeCun, 2015)."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from daam_bench.config import DatasetConfig
from daam_bench.datasets.base import DatasetKind
from daam_bench.datasets.hugging_face import label_names, load_splits
from daam_bench.datasets.published import class_indices, split_with
from daam_bench.errors import DataError

_CLASSES = ("World", "Sports", "Business", "Sci/Tech")
_FILES = {"train": "train.csv", "validation": "test.csv"}
_SPLITS = {"train": "train", "validation": "test"}

AG_NEWS = DatasetKind(
    name="ag_news",
    title="AG News: title and description, four topics",
    reader="daam_bench.datasets.ag_news:read_ag_news",
    modality="text",
    classes=_CLASSES,
    class_counts={"train": dict.fromkeys(_CLASSES, 30_000), "validation": dict.fromkeys(_CLASSES, 1_900)},
    source="Hugging Face fancyzhx/ag_news, or the folder with train.csv and test.csv",
    licence="non-commercial use, as the corpus's author states",
    citation="Zhang, Zhao and LeCun, Character-level Convolutional Networks, NeurIPS 2015",
)


def read_ag_news(config: DatasetConfig) -> pd.DataFrame:
    """Return all articles; the test split validates (method.md section 2).

    Raises:
        DataError: if files, splits or columns are missing or are not class, title, description.
    """
    if (Path(config.path) / _FILES["train"]).exists():
        parts = [_read_csv(Path(config.path) / file, split) for split, file in _FILES.items()]
    else:
        loaded = load_splits(config)
        parts = [_from_hub(loaded, name, split, config.path) for split, name in _SPLITS.items()]
    return pd.concat(parts, ignore_index=True)


def _read_csv(path: Path, split: str) -> pd.DataFrame:
    try:
        names = ["class", "title", "description"]
        # "None" and "NA" are words in a headline.
        table = pd.read_csv(path, header=None, names=names, dtype=str, keep_default_na=False)
        labels = table["class"].astype("int64") - 1
    except (OSError, ValueError) as error:
        first = str(error).splitlines()[0]
        raise DataError(f"is not class, title, description ({first})", where=path) from None
    return _frame(labels, table["title"].fillna("") + " " + table["description"].fillna(""), split)


def _from_hub(loaded: Mapping[str, Any], name: str, split: str, where: str) -> pd.DataFrame:
    data = split_with(loaded, name, ("text", "label"), where)
    labels = class_indices(label_names(data, "label"), _CLASSES, f"{where} ({name})")
    # The hub's column `text` is title and description, joined by a space.
    return _frame(pd.Series(labels), pd.Series([text or "" for text in data["text"]]), split)


def _frame(labels: "pd.Series[int]", texts: "pd.Series[str]", split: str) -> pd.DataFrame:
    names = [f"{split}/{row}" for row in range(len(labels))]
    return pd.DataFrame(
        {"sample_id": names, "label": labels, "group": "", "split": split, "text": texts.astype(str)}
    )
