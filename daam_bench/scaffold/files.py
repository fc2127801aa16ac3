"""Find the column of a table that names files, and where these lie."""

import os
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import pandas as pd

from daam_bench.datasets.class_folders import ENDINGS, media_files
from daam_bench.datasets.declaration import as_text
from daam_bench.datasets.file_pattern import CONTENT, filled
from daam_bench.datasets.table import PARQUET, encoding_of, open_table
from daam_bench.errors import DataError
from daam_bench.scaffold.columns import Said, has_usual_label, modality_of_column

EVERY = set().union(*ENDINGS.values())
_LOOKED_AT, _TRIED, _MOST_TABLES = 200, 12, 20
_LONGEST_VALUE = 60
# The share of rows whose file must be found; others are left out one by one.
ENOUGH = 0.8
# A file that more rows than this name is named by chance.
_MOST_ROWS = 10
# With fewer the names are there by chance.
_FEW = 0.2


@dataclass(frozen=True)
class Match:
    """A column that names files.

    Attributes:
        column: its name.
        files: the dataset's setting; None where names are relative to the table's folder.
        share: of the rows whose file is there.
        found: number of different files.
        example: the first of them.
    """

    column: str
    files: str | None
    share: float
    found: int
    example: str


def find_table(root: Path) -> Path | None:
    """Return the table, in a folder or below it, that says what is in most of the files it names.

    None if there is no such table. Tables with a usual name for their labels come first, then those of
    training, then those that name most files.
    """
    files = media_files(root, EVERY)
    names = media_files(root, {".csv", ".tsv", *PARQUET}) if files else []
    best: dict[Path, tuple[bool, bool, int]] = {}
    for name in sorted(names, key=lambda name: (name.count("/"), name))[:_MOST_TABLES]:
        path = root / name
        if "submission" in path.stem.lower():  # of a competition: its labels are to be filled in
            continue
        try:
            table = open_table(path, encoding_of(path)).apply(as_text)
        except DataError:
            continue
        match = match_files(table, path, root, files, list(table.columns))
        if match is not None and match.share >= ENOUGH:
            trained = path.stem.lower().startswith("train")
            best[path] = (has_usual_label(table, match.column), trained, match.found)
    return max(best, key=lambda path: best[path], default=None)


def files_of(
    table: pd.DataFrame, path: Path, said: Mapping[str, str], columns: Said, root: Path | None
) -> Match | None:
    """Return the column that names images or recordings, and where they lie; None if the table holds texts.

    Raises:
        DataError: if the files of one column lie in several folders that no column tells apart.
    """
    names = [
        str(name) for name in table.columns if name not in {v for k, v in columns.items() if k != "content"}
    ]
    named = [str(columns["content"])] if isinstance(columns.get("content"), str) else names
    if said.get("modality") == "text" or not set(named) <= set(names):
        return None
    # No folder need be gone through for texts, or for paths that are right as they are.
    usual = [name for name in named if modality_of_column(table[name])]
    if root is None and any((path.parent / v).is_file() for name in usual for v in table[name].head(20) if v):
        return None
    texts = {name for name in named if table[name].head(_LOOKED_AT).str.contains(r"\s").mean() > 0.5} - {
        *usual
    }
    if root is None and texts and not usual:
        return None
    root = root or path.parent
    words = [name for name in named if name not in texts]
    match = match_files(table, path, root, media_files(root, EVERY), words)
    if match is None or match.share >= ENOUGH or match.share < _FEW:
        return None if match is None or match.share < _FEW else match
    raise DataError(
        f"column {match.column} names files in several folders, which no column tells apart",
        where=path,
        found=f"{match.share:.0%} of them as {match.files or 'named'}",
        remedy="Move them into one folder, or write a column with the name of each one's folder.",
    )


def no_table(path: Path) -> DataError:
    """Return the error of a folder in which no table names files."""
    files, tables = media_files(path, EVERY), media_files(path, {".csv", ".tsv", *PARQUET})
    return DataError(
        "no table in this folder names the files below it",
        where=path,
        expected="a CSV, TSV or Parquet file with a column of names, with or without their ending",
        found=", ".join([*tables[:3], *files[:3]]) or "neither tables, images nor recordings",
        remedy=f"Give the table itself: {path / tables[0]}." if tables else None,
    )


def match_files(
    table: pd.DataFrame, path: Path, root: Path, files: Sequence[str], columns: Sequence[str]
) -> Match | None:
    """Return the column that names the most different files, and where they lie; None if none names any.

    Args:
        table: its fields as text.
        path: of the table.
        root: folder that holds the table and the files.
        files: paths of files below it.
        columns: those that may name files.
    """
    by_name: Mapping[str, list[str]] = defaultdict(list)
    for file in files:
        name = PurePosixPath(file)
        by_name[name.name].append(file)
        by_name[name.stem].append(file)
    there, best = set(files), []
    for column in columns:
        for pattern in _patterns(table, column, by_name):
            paths = filled(pattern, table, column)
            hits = paths.isin(there)
            rank = (paths[hits].nunique(), table[column].nunique(), -pattern.count("{"))
            best.append((rank, column, pattern, float(hits.mean())))
    if not best:
        return None
    rank, column, pattern, share = max(best, key=lambda entry: entry[0])
    # A column of numbers, such as labels, may be the names of some files by chance.
    if 2 * rank[0] < min(len(table), len(files)) or _MOST_ROWS * rank[0] < share * len(table):
        return None
    whole = str(PurePosixPath(os.path.relpath(root, path.parent)) / pattern)
    setting = None if whole == CONTENT else whole.removesuffix(f"/{CONTENT}")
    paths = filled(pattern, table, column)
    return Match(column, setting, share, rank[0], paths[paths.isin(there)].iloc[0])


def _patterns(table: pd.DataFrame, column: str, by_name: Mapping[str, list[str]]) -> list[str]:
    """Return the patterns, relative to the root, by which most of the first values name files."""
    counts: Counter[str] = Counter()
    for row in table.head(_LOOKED_AT).to_dict("records"):
        value = str(row[column]).removeprefix("./")
        name = PurePosixPath(value).name
        for file in by_name.get(name, [])[:_TRIED] if value else []:
            ending = "" if PurePosixPath(file).name == name else PurePosixPath(file).suffix
            above = file.removesuffix(f"{value}{ending}")
            if above == file or "{" in above or not (above == "" or above.endswith("/")):
                continue
            if above:
                counts.update(_by_columns(above, {str(k): str(v) for k, v in row.items()}, column, ending))
            counts[f"{above}{CONTENT}{ending}"] += 1
    return [pattern for pattern, _ in counts.most_common(_TRIED)]


def _by_columns(above: str, row: Mapping[str, str], column: str, ending: str) -> Iterator[str]:
    """Give patterns in which another column says a part of the folder."""
    for name, value in row.items():
        if (
            name != column
            and 0 < len(value) <= _LONGEST_VALUE
            and value in above
            and not set("{}") & set(name)
        ):
            head, _, tail = above.rpartition(value)
            yield f"{head}{{{name}}}{tail}{CONTENT}{ending}"
