"""What a published dataset must have, however it was saved again."""

from collections.abc import Mapping, Sequence
from typing import Any

from daam_bench.errors import DataError


def split_with(splits: Mapping[str, Any], name: str, columns: Sequence[str], where: object) -> Any:
    """Return a split of a Hugging Face dataset.

    Raises:
        DataError: if it is not there, or lacks one of the columns.
    """
    if name not in splits:
        raise DataError("a split is missing", where=where, expected=name, found=", ".join(splits))
    missing = [column for column in columns if column not in splits[name].column_names]
    if missing:
        raise DataError(
            f"a column is missing in split {name}",
            where=where,
            expected=", ".join(missing),
            found=", ".join(splits[name].column_names),
        )
    return splits[name]


def class_indices(labels: Sequence[str], classes: Sequence[str], where: object) -> list[int]:
    """Return the index of the class of each label.

    Raises:
        DataError: naming the first rows, if labels are no class.
    """
    indices = {name: index for index, name in enumerate(classes)}
    unknown = [f"{label!r} in row {row}" for row, label in enumerate(labels) if label not in indices]
    if unknown:
        raise DataError(
            f"{len(unknown)} labels are no class",
            where=where,
            expected=", ".join(classes[:10]),
            found=", ".join(unknown[:4]),
        )
    return [indices[label] for label in labels]
