"""Asterisk's telephone prompts: what kind of prompt is it? One speaker, 8 kHz."""

import re
from pathlib import Path

import pandas as pd

from daam_bench.config import DatasetConfig
from daam_bench.datasets.base import DatasetKind
from daam_bench.errors import DataError

# A family is a folder, or the beginning of a name in the top folder. Small folders (dictate, followme,
# silence) and single prompts are in no family.
_FAMILIES = {
    "conference": r"conf(bridge)?-[^/]+",
    "digits": r"digits/[^/]+",
    "letters": r"letters/[^/]+",
    "phonetic": r"phonetic/[^/]+",
    "voicemail": r"vm-[^/]+",
}

ASTERISK = DatasetKind(
    name="asterisk",
    title="Asterisk's English prompts in five families",
    modality="speech",
    classes=tuple(_FAMILIES),
    groups=(),
    reader="daam_bench.datasets.asterisk:read_asterisk",
    counts={"": 383},
    files=("digits", "letters", "phonetic"),
    source="Debian asterisk-core-sounds-en-wav 1.6.1-1",
    licence="CC-BY-SA-3.0",
    citation="Asterisk core sounds, English, recorded by Allison Smith",
)


def read_asterisk(config: DatasetConfig) -> pd.DataFrame:
    """Return the prompts of the five families: conference, digits, letters, phonetic alphabet, voicemail.

    All are one person's voice, hence no groups.

    Raises:
        DataError: if a family has no file.
    """
    path = Path(config.path)
    files = sorted(file.relative_to(path).as_posix() for file in path.rglob("*.wav"))
    rows = []
    for label, (family, pattern) in enumerate(_FAMILIES.items()):
        members = [file for file in files if re.fullmatch(pattern, file)]
        if not members:
            raise DataError(
                "a family has no prompts",
                where=path,
                expected=f"files of {family}: {pattern}.wav",
                remedy="Run `snakemake assets` to fetch them, or set datasets.<name>.path to their folder.",
            )
        rows += [(file.removesuffix(".wav"), label, file) for file in members]
    frame = pd.DataFrame(rows, columns=["sample_id", "label", "file"])
    return frame.assign(group="", split="")
