"""IEMOCAP in its own release layout (Busso et al., 2008)."""

import re
from pathlib import Path

import pandas as pd

from daam_bench.config import DatasetConfig
from daam_bench.datasets.base import DatasetKind
from daam_bench.errors import DataError

_SESSIONS = tuple(f"Session{number}" for number in range(1, 6))
_CLASSES = ("neutral", "happy", "anger", "sadness")
# Excited is merged into happy; all other codes (frustrated, surprised, undecided, ...) are left out.
_CODES = {"neu": "neutral", "hap": "happy", "exc": "happy", "ang": "anger", "sad": "sadness"}
_TURN = re.compile(r"^\[[\d.]+ - [\d.]+\]\t(Ses0\d[FM]_\w+)\t(\w+)\t\[")

IEMOCAP = DatasetKind(
    name="iemocap",
    title="IEMOCAP: acted dialogues, four emotions, five sessions",
    reader="daam_bench.datasets.iemocap:read_iemocap",
    modality="speech",
    classes=_CLASSES,
    groups=_SESSIONS,
    counts={"Session1": 1085, "Session2": 1023, "Session3": 1151, "Session4": 1031, "Session5": 1241},
    class_counts={"": {"neutral": 1708, "happy": 1636, "anger": 1103, "sadness": 1084}},
    files=_SESSIONS,
    source="University of Southern California, on request: https://sail.usc.edu/iemocap/",
    licence="research licence of the University of Southern California",
    citation="Busso et al., IEMOCAP, Language Resources and Evaluation 42, 2008",
)


def read_iemocap(config: DatasetConfig) -> pd.DataFrame:
    """Return the utterances of the four emotions, one row each, sessions as groups.

    Labels come from `SessionN/dialog/EmoEvaluation/*.txt`, recordings from `SessionN/sentences/wav/`.

    Raises:
        DataError: if a session has no evaluations, or an utterance no recording.
    """
    root = Path(config.path)
    rows = []
    for session in _SESSIONS:
        # macOS archives carry hidden twins (._name) of every file.
        files = sorted((root / session / "dialog" / "EmoEvaluation").glob("Ses*.txt"))
        if not files:
            raise DataError(
                "no evaluations of this session",
                where=root,
                expected=f"{session}/dialog/EmoEvaluation/Ses*.txt",
                remedy="Set datasets.<name>.path to the folder that has Session1 to Session5.",
            )
        for file in files:
            for line in file.read_text(encoding="latin-1").splitlines():
                turn = _TURN.match(line)
                if turn is not None and turn.group(2) in _CODES:
                    rows.append(_row(session, turn.group(1), _CODES[turn.group(2)]))
    table = pd.DataFrame(rows, columns=["sample_id", "label", "group", "split", "file"])
    missing = [file for file in table["file"] if not (root / file).is_file()]
    if missing:
        # The published counts are those of the labels: they would hold for a half unpacked copy, too.
        raise DataError(
            f"{len(missing)} of {len(table)} recordings are not there",
            where=root,
            found=f"no {missing[0]}",
            remedy="Unpack the whole release: Session1 to Session5 with their sentences/wav.",
        )
    return table


def _row(session: str, turn: str, emotion: str) -> tuple[str, int, str, str, str]:
    dialogue = turn.rsplit("_", 1)[0]
    file = f"{session}/sentences/wav/{dialogue}/{turn}.wav"
    return turn, _CLASSES.index(emotion), session, "", file
