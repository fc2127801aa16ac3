"""Files that a dataset's own file names: they are as much its content as that file."""

from pathlib import Path

from daam_bench.config import DatasetConfig
from daam_bench.errors import DaamBenchError


def named_files(config: DatasetConfig) -> list[Path]:
    """Return the files that a table of images or recordings names, in the order of its rows.

    A table that cannot be read names none: the listing of its samples says why.
    """
    if config.kind != "table" or config.modality == "text":
        return []
    from daam_bench.datasets.file_pattern import files_folder
    from daam_bench.datasets.table import read_table

    try:
        names = read_table(config)["file"]
    except DaamBenchError:
        return []
    return [files_folder(config) / name for name in dict.fromkeys(names)]
