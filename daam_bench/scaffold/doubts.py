"""Tell folders that are classes from those that only look so, and lists of files that nothing reads."""

import re
from collections.abc import Sequence
from itertools import islice
from pathlib import Path

from daam_bench.datasets.class_folders import split_folders
from daam_bench.datasets.declaration import usual_splits

_NUMBERED = re.compile(r"(.*[^\W\d_])[\W_]*\d+")
# What may be numbered and yet be a class; "" is a name without a word or a number.
_CLASSES = {"", "class", "category", "cat", "label", "type", "grade", "level", "stage", "digit", "star"}
_LISTS = (".txt", ".lst", ".list", ".csv", ".tsv")


def no_classes(files: Sequence[str]) -> list[str]:
    """Return the class folders that are none by their name, such as _background_noise_."""
    return [name for name in _class_folders(files) if name.startswith("_")]


def numbered_alike(files: Sequence[str]) -> str | None:
    """Say what to do where class folders have one word and different numbers; None where they do not."""
    folders = [name for name in _class_folders(files) if not name.startswith("_")]
    if not _numbered(folders):
        return None
    return (
        f"folders {', '.join(folders[:3])}... are numbered alike, as folds, speakers, sessions or parts are: "
        "if they are not the classes, give --label-pattern (and --group-pattern for the folder), or a table "
        f"with the labels of the files; the first file is {files[0]}"
    )


def may_be_classes(files: Sequence[str]) -> bool:
    """Say whether the folders that files lie in may be classes: several, not numbered alike, no splits."""
    folders = sorted({Path(file).parent.name for file in files})
    return len(folders) > 1 and not _numbered(folders) and len(usual_splits(folders)) < len(folders)


def lists_of_files(root: Path, files: Sequence[str]) -> str | None:
    """Say which text files in a folder list files, as those of a test split do: none of them is read."""
    names, lists = {Path(file).name for file in files}, []
    for file in sorted(root.glob("*")):
        if file.suffix.lower() in _LISTS and file.is_file():
            with file.open(encoding="utf-8", errors="replace") as lines:
                words = re.split(r"[\s,;|]+", "".join(islice(lines, 3)))
            if any(word and Path(word).name in names for word in words):
                lists.append(file.name)
    if not lists:
        return None
    return (
        f"{', '.join(lists)}: lists of files, not used; for splits move files into folders train and test "
        "with the class folders below, or give a table with columns of path, label and split"
    )


def _class_folders(files: Sequence[str]) -> list[str]:
    depth = int(bool(split_folders(files)))
    return sorted({parts[depth] for file in files if len(parts := file.split("/")) > depth + 1})


def _numbered(folders: Sequence[str]) -> bool:
    """Say whether names are one word with different numbers: fold1, fold2; Actor_01, Actor_02."""
    words = {match.group(1).lower() if (match := _NUMBERED.fullmatch(name)) else "" for name in folders}
    return len(folders) > 1 and len(words) == 1 and words.isdisjoint(_CLASSES)
