"""How embeddings are stored."""

from typing import Literal

from pydantic import Field

from daam_bench.config.section import Section


class CacheConfig(Section):
    """How embeddings are stored."""

    format: Literal["zarr", "hdf5"] = "zarr"
    dtype: Literal["float32", "float16"] = Field("float32", description="precision of the stored embeddings")
    url: str | None = Field(
        None,
        description="place for Zarr stores, such as s3://bucket/folder, opened with fsspec; credentials come "
        "from the environment. By default results/embeddings",
    )
    chunk_mebibytes: float = Field(16.0, gt=0, le=1024, description="size of one chunk, the unit of writing")
    on_bad_sample: Literal["quarantine", "stop"] = Field(
        "quarantine",
        description="a sample that cannot be read or encoded: leave it out and report it, or stop",
    )
