"""Parts of a cache for other programs, written chunk by chunk: Parquet, NumPy or CSV."""

import os
import zipfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from daam_bench.cache.reader import EmbeddingCache, open_cache
from daam_bench.errors import CacheError, ConfigError

FORMATS = (".parquet", ".npz", ".csv")


def export_cache(path: Path, target: Path, layers: Sequence[int] | None = None) -> int:
    """Write chosen layers of a cache to one file, by its ending; return the number of samples.

    .parquet: a row a sample, its metadata and a list of features for each layer (`layer_<l>`). .npz:
    `embeddings` [sample, layer, feature], `layers`, and an array for each column of metadata. .csv: metadata
    alone. No more than one chunk of values is in memory at a time.

    Args:
        path: a store, its manifest, or the folder of one.
        target: the file; replaced only when it is whole.
        layers: numbers of layers, counted from 1; None for all.

    Raises:
        CacheError: if there is no finished cache, or a chunk is damaged.
        ConfigError: if the ending is unknown or a layer does not exist.
    """
    if target.suffix not in FORMATS:
        raise ConfigError("unknown format", where=target, expected=f"a file ending in {', '.join(FORMATS)}")
    cache = open_cache(path)
    count = cache.layout.layers
    chosen = list(range(1, count + 1)) if layers is None else list(layers)
    wrong = [layer for layer in chosen if not 1 <= layer <= count]
    if wrong:
        raise ConfigError("no such layer", where=path, expected=f"1 to {count}", found=wrong)
    writer = {".parquet": _write_parquet, ".npz": _write_npz, ".csv": _write_csv}[target.suffix]
    temporary = target.with_name(f".{target.name}.{os.getpid()}.part")
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        writer(cache, temporary, chosen)
        temporary.replace(target)
    except OSError as error:
        raise CacheError(f"cannot be written ({error.strerror or error})", where=target) from None
    finally:
        temporary.unlink(missing_ok=True)
    return cache.layout.samples


def metadata(cache: EmbeddingCache) -> pd.DataFrame:
    """Return one row a sample: sample_id, label, class_name, group, split, content, length, quarantined."""
    layout = cache.layout
    return pd.DataFrame(
        {
            "sample_id": layout.sample_ids,
            "label": layout.labels,
            "class_name": [cache.class_names[label] for label in layout.labels],
            "group": layout.groups,
            "split": layout.splits,
            "content": layout.contents,
            "length": cache.lengths,
            "quarantined": [cache.quarantined.get(name, "") for name in layout.sample_ids],
        }
    )


def _blocks(
    cache: EmbeddingCache, layers: Sequence[int]
) -> Iterator[tuple[slice, npt.NDArray[np.floating[Any]]]]:
    index = [layer - 1 for layer in layers]
    for rows, block in cache.iter_chunks():
        yield rows, np.ascontiguousarray(block[:, index])


def _write_csv(cache: EmbeddingCache, target: Path, _layers: Sequence[int]) -> None:
    metadata(cache).to_csv(target, index=False)


def _write_parquet(cache: EmbeddingCache, target: Path, layers: Sequence[int]) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    frame, writer = metadata(cache), None
    for rows, block in _blocks(cache, layers):
        table = pa.Table.from_pandas(frame.iloc[rows], preserve_index=False)
        for place, layer in enumerate(layers):
            values = pa.array(block[:, place].reshape(-1))
            column = pa.FixedSizeListArray.from_arrays(values, block.shape[2])
            table = table.append_column(f"layer_{layer}", column)
        writer = writer or pq.ParquetWriter(target, table.schema)
        writer.write_table(table)
    if writer is not None:
        writer.close()


def _write_npz(cache: EmbeddingCache, target: Path, layers: Sequence[int]) -> None:
    frame = metadata(cache)
    shape = (cache.layout.samples, len(layers), cache.layout.features)
    with zipfile.ZipFile(target, "w", zipfile.ZIP_STORED, allowZip64=True) as archive:
        with archive.open("embeddings.npy", "w", force_zip64=True) as handle:
            kind = np.dtype(cache.layout.dtype)
            header = {"descr": kind.str, "fortran_order": False, "shape": shape}
            np.lib.format.write_array_header_2_0(handle, header)
            for _, block in _blocks(cache, layers):
                handle.write(block.tobytes())
        numbers = ("label", "length")
        columns = {name: frame[name].to_numpy() for name in numbers}
        texts = {str(n): frame[n].to_numpy(dtype=str) for n in frame if n not in numbers}
        arrays: dict[str, npt.NDArray[Any]] = {**columns, **texts, "layers": np.asarray(layers)}
        for name, values in arrays.items():
            with archive.open(f"{name}.npy", "w") as handle:
                np.lib.format.write_array(handle, values, allow_pickle=False)
