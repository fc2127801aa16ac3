"""Tell which columns of a table hold what: as the user says, by usual names, then by their values."""

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import pandas as pd

from daam_bench.config import Modality
from daam_bench.datasets.class_folders import ENDINGS
from daam_bench.datasets.declaration import usual_splits
from daam_bench.errors import DataError, unknown_name

# In lower case, words joined by _ ; earlier ones are preferred.
_LABELS = (
    *("label_text", "label_name", "class_name", "label", "labels", "class", "class_index", "class_id"),
    *("category", "target", "emotion", "sentiment", "intent", "topic", "genre", "stars", "rating", "y"),
)
_TEXTS = (
    *("text", "content", "sentence", "review", "review_text", "reviewtext", "body", "message", "utterance"),
    *("document", "description", "article", "comment", "tweet", "abstract", "question", "phrase"),
)
# Words that a label's column begins or ends with, such as airline_sentiment; earlier ones are preferred.
_LABEL_WORDS = (
    *("label", "class", "category", "target", "sentiment", "emotion", "intent", "topic", "genre", "stars"),
    "rating",
)
# With these a column says something else of a label.
_NO_LABELS = (
    "confidence",
    "score",
    "probability",
    "count",
    "url",
    "date",
    "time",
    "length",
    "gold",
    "reason",
)
# What stands before a text and belongs to it.
_HEADINGS = ("title", "headline", "subject", "summary")
_FILES = ("file", "path", "filename", "file_name", "filepath", "file_path", "image", "audio", "wav", "img")
_GROUPS = (
    "group",
    "speaker",
    "speaker_id",
    "session",
    "source",
    "subject",
    "author",
    "user",
    "client_id",
    "fold",
)
_SPLITS = ("split", "set", "subset", "partition")
_IDS = ("id", "sample_id", "uid", "key")
_ORDER = ("content", "label", "group", "split", "sample_id")
_MOST_CLASSES = 1000
_LOOKED_AT = 200
Said = Mapping[str, str | list[str]]


def guess_columns(table: pd.DataFrame, said: Said, where: object) -> dict[str, Any]:
    """Return the columns that hold content, label, group, split and sample_id, as far as there are any.

    Args:
        table: its fields as text.
        said: columns that the user named; the rest is looked for.
        where: named in errors.

    Raises:
        ConfigError: if a column that the user named does not exist.
        DataError: if no column can be told to hold labels or contents.
    """
    names = [str(name) for name in table.columns]
    columns: dict[str, Any] = dict(said)
    for column in _flat(columns.values()):
        if column not in names:
            raise unknown_name("column", column, names, where)
    if "label" not in columns:
        columns["label"] = _label(table, _left(names, columns), names, where)
    if "content" not in columns:
        columns["content"] = _content(table, _left(names, columns), names, where)
    for role, usual in (("group", _GROUPS), ("split", _SPLITS), ("sample_id", _IDS)):
        name = _named(_left(names, columns), usual)
        if role not in columns and name is not None and _fits(role, table[name]):
            columns[role] = name
    return {role: columns[role] for role in _ORDER if role in columns}


def unused_splits(table: pd.DataFrame, columns: Mapping[str, Any]) -> str | None:
    """Return a column that is called like one of splits but has other values than their names, or None."""
    name = _named(_left([str(name) for name in table.columns], columns), _SPLITS)
    if "split" in columns or name is None:
        return None
    values = set(table[name].str.strip())
    return name if len(usual_splits(values)) < len(values) else None


def modality_of_files(names: Iterable[str]) -> Modality | None:
    """Return the modality that most names have the ending of; None if most have neither."""
    counts: Counter[Modality | None] = Counter()
    for name in names:
        # What lies behind a URL is no file here.
        ending = name[name.rfind(".") :].lower() if "." in name and "://" not in name else ""
        found: list[Modality] = [kind for kind in ("vision", "speech") if ending in ENDINGS[kind]]
        counts[found[0] if found else None] += 1
    media = {kind: count for kind, count in counts.items() if kind is not None}
    if not media or max(media.values()) < counts[None]:
        return None
    return max(media, key=lambda kind: media[kind])


def modality_of_column(values: "pd.Series[Any]") -> Modality | None:
    """Return the modality that the values are files of, judged by the first of them."""
    return modality_of_files(values.head(_LOOKED_AT))


def _label(table: pd.DataFrame, left: Sequence[str], names: Sequence[str], where: object) -> str:
    named, few = _usual_label(table, left), _few(table, left)
    return _found(
        named or min(few, key=lambda n: (few[n], left.index(n)), default=None), "label", names, where
    )


def has_usual_label(table: pd.DataFrame, content: str) -> bool:
    """Say whether a column beside that of the contents has the name of one of labels."""
    return _usual_label(table, [str(name) for name in table.columns if name != content]) is not None


def is_usual_label(name: str) -> bool:
    """Say whether a column has the name of one of labels, or nearly."""
    return _named([name], _LABELS) is not None or _rank_of_label(name) is not None


def _usual_label(table: pd.DataFrame, left: Sequence[str]) -> str | None:
    """Return the column whose name is usual for labels, else one that begins or ends with such a word."""
    distinct = table[list(left)].nunique()
    if named := _named([n for n in left if 2 <= distinct[n] <= _MOST_CLASSES], _LABELS):
        return named
    ranks = {name: rank for name in _few(table, left) if (rank := _rank_of_label(name)) is not None}
    return min(ranks, key=lambda name: ranks[name], default=None)


def _few(table: pd.DataFrame, left: Sequence[str]) -> dict[str, int]:
    """Return the number of values of each column that has few enough to be classes."""
    distinct = table[list(left)].nunique()
    return {n: int(distinct[n]) for n in left if 2 <= distinct[n] <= min(_MOST_CLASSES, len(table) // 2)}


def _rank_of_label(name: str) -> tuple[int, int] | None:
    """Return how well a name is one of labels: a word at its end is better than one at its beginning."""
    words = _plain(name).split("_")
    if words[-1] in _NO_LABELS:
        return None
    found = [
        (first, _LABEL_WORDS.index(w)) for first, w in enumerate((words[-1], words[0])) if w in _LABEL_WORDS
    ]
    return min(found, default=None)


def _content(
    table: pd.DataFrame, left: Sequence[str], names: Sequence[str], where: object
) -> str | list[str]:
    """Return a column of files, else a usual one of texts with its heading, else that of longest values."""
    files = [name for name in left if modality_of_column(table[name])]
    if files:
        return _named(files, _FILES) or files[0]
    varied = [name for name in left if 2 * table[name].nunique() > len(table)]
    heading, text = _named(varied, _HEADINGS), _named(varied, _TEXTS)
    if heading is not None and text is not None:
        return [heading, text]
    lengths = {name: table[name].str.len().mean() for name in left}
    longest = max(left, key=lambda n: lengths[n], default=None)
    return _found(text or heading or _named(left, _TEXTS) or longest, "content", names, where)


def _fits(role: str, values: "pd.Series[Any]") -> bool:
    """Say whether values can be groups, splits or names of samples."""
    distinct = set(values)
    if role == "group":
        return 1 < len(distinct) < len(values) and "" not in distinct
    if role == "split":
        names = set(values.str.strip())
        return len(names) > 1 and len(usual_splits(names)) == len(names)
    return len(distinct) == len(values)


def _left(names: Sequence[str], columns: Mapping[str, Any]) -> list[str]:
    taken = _flat(columns.values())
    return [name for name in names if name not in taken]


def _flat(values: Iterable[str | list[str]]) -> list[str]:
    return [name for value in values for name in ([value] if isinstance(value, str) else value)]


def _named(names: Sequence[str], usual: Sequence[str]) -> str | None:
    plain = {_plain(name): name for name in reversed(names)}
    return next((plain[name] for name in usual if name in plain), None)


def _plain(name: str) -> str:
    """Return a name in lower case, its words joined by _; classID and class ID are class_id."""
    apart = re.sub(r"(?<=[a-z])(?=[A-Z])", "_", name.strip())
    return re.sub(r"[\s_-]+", "_", apart).lower()


def _found(column: str | None, role: str, names: Sequence[str], where: object) -> str:
    if column is None:
        raise DataError(
            f"cannot tell which column holds the {role}",
            where=where,
            expected=f"--{role} with one of {', '.join(names)}",
        )
    return column
