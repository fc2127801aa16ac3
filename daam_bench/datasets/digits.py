"""Handwritten digits that come with scikit-learn: 8 x 8 pixels, 17 shades of grey."""

from io import BytesIO

import numpy as np
import pandas as pd

from daam_bench.config import DatasetConfig
from daam_bench.datasets.base import DatasetKind

DIGITS = DatasetKind(
    name="digits",
    title="Handwritten digits, 8 x 8 pixels",
    modality="vision",
    classes=tuple("0123456789"),
    groups=(),
    reader="daam_bench.datasets.digits:read_digits",
    counts={"": 1797},
    reads_path=False,
    source="scikit-learn, sklearn.datasets.load_digits: test part of the UCI set",
    licence="CC-BY-4.0 (UCI), BSD-3-Clause (scikit-learn)",
    citation="Alpaydin and Kaynak, Optical Recognition of Handwritten Digits, UCI, 1998",
)

_DARKEST = 16


def read_digits(_config: DatasetConfig) -> pd.DataFrame:
    """Return all digits in scikit-learn's order, each a grey PNG in `content`.

    The writers are not known, hence no groups.

    The configuration's path is not used: the pictures lie inside scikit-learn.
    """
    from sklearn.datasets import load_digits

    digits = load_digits()
    images, labels = digits.images, digits.target
    return pd.DataFrame(
        {
            "sample_id": [f"{number:04d}" for number in range(len(labels))],
            "label": labels.astype("int64"),
            "group": "",
            "split": "",
            "content": [_png(image) for image in images],
        }
    )


def _png(image: np.ndarray) -> bytes:
    """Return shades 0 to 16 as a PNG with shades 0 to 255."""
    from PIL import Image

    buffer = BytesIO()
    Image.fromarray(np.rint(image * (255 / _DARKEST)).astype(np.uint8)).save(buffer, format="PNG")
    return buffer.getvalue()
