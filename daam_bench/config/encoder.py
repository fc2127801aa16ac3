"""Frozen pre-trained transformers."""

from typing import Literal

from pydantic import Field

from daam_bench.config.dataset import Modality
from daam_bench.config.section import MOST, REVISION, Section


class EncoderConfig(Section):
    """A frozen pre-trained transformer and how its hidden states are pooled."""

    modality: Modality
    model: str = Field(description="folder in Hugging Face format, or a hub id")
    revision: str | None = Field(
        None, pattern=REVISION, description="commit of a hub id; a hub id without it is refused"
    )
    dtype: Literal["float32", "bfloat16", "float16"] = Field(
        "float32", description="precision of the forward pass"
    )
    max_length: int | None = Field(
        None, ge=1, le=MOST, description="text: longest input in tokens; longer is cut"
    )
    tokens: Literal["all", "patches"] = Field(
        "all",
        description="vision: mean over all tokens, the class token included, or over patches only (D12)",
    )
    device_map: Literal["auto"] | None = Field(
        None, description="auto: spread a model over all GPUs that is too large for one"
    )
