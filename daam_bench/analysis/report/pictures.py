"""The figures as parts of the page."""

import base64
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from daam_bench.analysis.aggregate import title_of
from daam_bench.analysis.captions import CURVE, FIGURES
from daam_bench.analysis.names import CACHE_FIGURES, DENSITY_FIGURES
from daam_bench.records import RunRecord


@dataclass(frozen=True)
class Picture:
    """A picture as a data address, with what it shows; `variant` is empty where it shows all."""

    data: str
    text: str
    variant: str = ""


def pictures_of(dataset: str, encoder: str, figures: Path, records: Sequence[RunRecord]) -> list[Picture]:
    """Return the pictures of a cache: those of all variants first, then those of each density variant."""
    variants = dict.fromkeys(r.variant for r in records if (r.dataset, r.encoder) == (dataset, encoder))
    wanted = [(kind, f"{kind}_{dataset}_{encoder}", "") for kind in CACHE_FIGURES]
    wanted += [(kind, f"{kind}_{dataset}_{encoder}_{v}", v) for v in variants for kind in DENSITY_FIGURES]
    return [
        picture_of(file, FIGURES[kind].format(title_of(variant)), variant)
        for kind, stem, variant in wanted
        if (file := figures / f"{stem}.png").exists()
    ]


def picture_of(file: Path, text: str, variant: str = "") -> Picture:
    """Return a PNG as a data address."""
    return Picture(f"data:image/png;base64,{base64.b64encode(file.read_bytes()).decode()}", text, variant)


def curve_of(file: Path) -> Picture:
    """Return the curve of a layer ablation."""
    kind, _, place = file.stem.partition("_ablation_")
    what = f"Score over the number of layers kept ({kind}s), {place}: "
    return picture_of(file, what + CURVE)
