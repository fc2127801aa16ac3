"""VADER's human-rated snippets from four sources (Hutto and Gilbert, ICWSM 2014)."""

from pathlib import Path

import pandas as pd

from daam_bench.config import DatasetConfig
from daam_bench.datasets.base import DatasetKind
from daam_bench.errors import DataError

_FILES = {
    "amazon": "amazonReviewSnippets_GroundTruth.txt",
    "movies": "movieReviewSnippets_GroundTruth.txt",
    "news": "nytEditorialSnippets_GroundTruth.txt",
    "tweets": "tweets_GroundTruth.txt",
}

VADER = DatasetKind(
    name="vader",
    title="VADER snippets: Amazon reviews, movie reviews, New York Times editorials, tweets",
    modality="text",
    classes=("negative", "neutral", "positive"),
    groups=tuple(_FILES),
    reader="daam_bench.datasets.vader:read_vader",
    files=tuple(_FILES.values()),
    counts={"amazon": 3708, "movies": 10605, "news": 5190, "tweets": 4200},
    source="PyPI vaderSentiment 3.3.2, additional_resources/hutto_ICWSM_2014.tar.gz",
    licence="MIT",
    citation="Hutto and Gilbert, VADER, ICWSM 2014",
)


def read_vader(config: DatasetConfig) -> pd.DataFrame:
    """Return all snippets in file order.

    A mean human rating (-4 to 4) below -1 is negative, above 1 positive, else neutral.

    Raises:
        DataError: if a file is missing or a line is not `id, rating, text` with tabs between.
    """
    path = Path(config.path)
    return pd.concat([_read_source(path / file, group) for group, file in _FILES.items()], ignore_index=True)


def _read_source(path: Path, group: str) -> pd.DataFrame:
    try:
        lines = path.read_text(encoding="latin-1").split("\n")
    except FileNotFoundError:
        raise DataError(
            "file of the VADER data is missing",
            where=path,
            expected=", ".join(_FILES.values()),
            remedy="Run `snakemake assets` to fetch it, or set datasets.<name>.path to its folder.",
        ) from None
    rows = [line.rstrip("\r").split("\t", 2) for line in lines if line.strip()]
    try:
        frame = pd.DataFrame([(i, float(rating), text.strip()) for i, rating, text in rows])
    except ValueError as error:
        raise DataError(f"a line is not id, rating, text ({error})", where=path) from None
    if frame.empty:
        raise DataError("the file is empty", where=path, expected="lines of id, rating, text")
    return pd.DataFrame(
        {
            "sample_id": group + "/" + frame[0],
            "label": 1 + (frame[1] > 1).astype("int64") - (frame[1] < -1).astype("int64"),
            "group": group,
            "split": "",
            "text": frame[2],
        }
    )
