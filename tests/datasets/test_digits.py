from io import BytesIO

import numpy as np
from PIL import Image
from sklearn.datasets import load_digits

from daam_bench.config import DatasetConfig
from daam_bench.datasets.digits import DIGITS, read_digits


def test_pictures_hold_scikit_learns_shades():
    frame, digits = read_digits(DatasetConfig(kind="digits", path="unused")), load_digits()
    assert len(frame) == DIGITS.counts[""] == 1797
    assert frame["sample_id"].is_unique
    assert frame["label"].tolist() == digits.target.tolist()
    assert set(frame["group"]) == set(frame["split"]) == {""}
    for position in (0, 571, 1796):
        picture = Image.open(BytesIO(frame["content"][position]))
        assert (picture.format, picture.mode, picture.size) == ("PNG", "L", (8, 8))
        shades = np.asarray(picture, dtype=np.float64) * 16 / 255
        np.testing.assert_allclose(shades, digits.images[position], atol=0.04)
    assert max(np.asarray(Image.open(BytesIO(c))).max() for c in frame["content"][:9]) == 255


def test_no_two_digits_are_the_same_picture():
    assert read_digits(DatasetConfig(kind="digits", path="unused"))["content"].is_unique
