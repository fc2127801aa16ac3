"""Hedgewars' voices: actors speak the same phrases; what does a phrase express?"""

from pathlib import Path

import pandas as pd

from daam_bench.config import DatasetConfig
from daam_bench.datasets.base import DatasetKind
from daam_bench.errors import DataError

# By the phrase that the file's name states. In no class: greetings, laughter, efforts (Jump, Firepunch),
# phrases that most voices lack (Poison), and names whose recording is another phrase's in some voice
# (Flyaway is Nooo, Melon and Watchthis are Firepunch).
PHRASES = {
    "alarm": ("Fire", "Grenade", "Hurry", "Incoming", "Kamikaze", "Reinforcements", "Runaway", "Takecover"),
    "dismay": ("Bugger", "Drat", "Missed", "Nooo", "Ohdear", "Oops", "Uh-oh", "Whatthe"),
    "pain": ("Ooff1", "Ooff2", "Ooff3", "Ouch", "Ow1", "Ow2", "Ow3", "Ow4"),
    "praise": ("Amazing", "Brilliant", "Enemydown", "Excellent", "Firstblood", "Flawless", "Victory"),
    "reproach": (
        *("Boring", "Coward", "Cutitout", "Leavemealone", "Nutter"),
        *("Sameteam", "Stupid", "Traitor", "Watchit"),
    ),
    "threat": (
        *("Comeonthen", "Gonnagetyou", "Illgetyou", "Justyouwait"),
        *("Revenge", "Thisoneismine", "Youllregretthat"),
    ),
}
_VOICES = ("British", "Default", "HillBilly", "Mobster", "Pirate", "Robot", "Russian", "Singer", "Surfer")
# 20 phrases of Classic are the very recordings of Default: the two share actors, so they are one group, and
# the copies are left out.
_SHARES_ACTORS = {"Classic": "Default"}

HEDGEWARS = DatasetKind(
    name="hedgewars",
    title="Hedgewars' English voices, acted phrases in six classes",
    modality="speech",
    classes=tuple(PHRASES),
    groups=_VOICES,
    reader="daam_bench.datasets.hedgewars:read_hedgewars",
    counts={
        **dict.fromkeys(("British", "Mobster", "Pirate", "Russian", "Singer", "Surfer"), 47),
        **{"Default": 75, "HillBilly": 31, "Robot": 46},
    },
    files=(*_VOICES, *_SHARES_ACTORS),
    source="Debian hedgewars-data 1.0.2-6, Data/Sounds/voices",
    licence="GFDL-1.3",
    citation="Hedgewars, hedgewars.org",
)


def read_hedgewars(config: DatasetConfig) -> pd.DataFrame:
    """Return the phrases of the six classes, by voice and class; a group is a voice.

    Raises:
        DataError: if a voice has no phrase at all.
    """
    path = Path(config.path)
    rows = []
    for voice in sorted((*_VOICES, *_SHARES_ACTORS)):
        group = _SHARES_ACTORS.get(voice, voice)
        members = [
            (f"{voice}/{phrase}", label, group, f"{voice}/{phrase}.ogg")
            for label, phrases in enumerate(PHRASES.values())
            for phrase in phrases
            if (path / voice / f"{phrase}.ogg").is_file() and not _is_copy(path, voice, group, phrase)
        ]
        if not members:
            raise DataError(
                "a voice has no phrases",
                where=path / voice,
                expected="files such as Amazing.ogg",
                remedy="Run `snakemake assets` to fetch them, or set datasets.<name>.path to their folder.",
            )
        rows += members
    return pd.DataFrame(rows, columns=["sample_id", "label", "group", "file"]).assign(split="")


def _is_copy(path: Path, voice: str, group: str, phrase: str) -> bool:
    """Tell whether a voice only repeats the recording of the voice that it shares actors with."""
    original = path / group / f"{phrase}.ogg"
    if voice == group or not original.is_file():
        return False
    return original.read_bytes() == (path / voice / f"{phrase}.ogg").read_bytes()
