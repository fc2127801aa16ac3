"""Which folders of records a table is made of: a list beside its file."""

import hashlib
import json
import os
from pathlib import Path

from daam_bench.analysis.tables.base import Results
from daam_bench.errors import RecordError
from daam_bench.records import FINISHED, write_atomically

ENDING = "sources.json"


def write_made_of(table: Path, results: Results) -> Path:
    """Write the list beside a table; return its path.

    It has the folders, relative to its own, with the sha256 of their lists of finished records.

    Args:
        table: the CSV file.
        results: what the table is made of.
    """
    kinds = {"runs": results.folders, "studies": results.studies}
    found = {
        kind: {Path(os.path.relpath(folder, table.parent)).as_posix(): _digest(folder) for folder in folders}
        for kind, folders in kinds.items()
    }
    path = table.with_suffix(f".{ENDING}")
    write_atomically(path, (json.dumps(found, indent=1) + "\n").encode())
    return path


def read_made_of(table: Path) -> tuple[Results, list[Path]]:
    """Return what a table is made of, and the folders that were trained anew since it was written.

    Raises:
        RecordError: if there is no such list beside the table, or one of its folders has no finished records.
    """
    path = table.with_suffix(f".{ENDING}")
    try:
        found = json.loads(path.read_bytes())
        folders = {
            kind: {
                Path(os.path.normpath(table.parent / name)): digest for name, digest in found[kind].items()
            }
            for kind in ("runs", "studies")
        }
    except FileNotFoundError:
        raise RecordError(
            "the table does not say what it is made of",
            where=table,
            expected=f"{path.name} beside it",
            remedy="`snakemake tables` writes both.",
        ) from None
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        raise RecordError(
            "not a list of what a table is made of", where=path, remedy="`snakemake tables` writes it again."
        ) from None
    changed = [f for known in folders.values() for f, digest in known.items() if _digest(f) != digest]
    return Results(list(folders["runs"]), list(folders["studies"])), changed


def _digest(folder: Path) -> str:
    try:
        return hashlib.sha256((folder / FINISHED).read_bytes()).hexdigest()
    except (OSError, ValueError):  # also a name that no folder can have
        raise RecordError(
            "no finished records are here any more",
            where=folder,
            expected=FINISHED,
            remedy="`snakemake tables` trains what is missing and writes the tables again.",
        ) from None
