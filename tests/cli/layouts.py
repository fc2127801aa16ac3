"""Files as people have them."""

from pathlib import Path

import numpy as np
import pandas as pd
from PIL import Image


def write_images(folder, *names):
    for number, name in enumerate(names):
        path = Path(folder, name)
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.full((3, 5, 3), number, dtype=np.uint8)).save(path)


def in_classes(*parents, count=3):
    return [
        f"{parent}/{label}/{i}.png" for parent in parents for label in ("cat", "dog") for i in range(count)
    ]


def reviews(count=60, classes=3):
    texts = [f'text {i}, with "quotes"\nand lines é' for i in range(count)]
    return pd.DataFrame({"text": texts, "label": [i % classes for i in range(count)]})
