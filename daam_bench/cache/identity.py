"""What determines a cache's numbers, and how to name what differs."""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Self

from pydantic import BaseModel, ConfigDict, ValidationError

from daam_bench.cache.store import CacheLayout
from daam_bench.errors import CacheError

# Raise it when extraction or the stored layout changes any number: older caches are then made anew.
SCHEMA_VERSION = 2
# What transformers reads of a model; a trainer leaves other .bin files beside them.
_OF_A_MODEL = ("*.safetensors", "pytorch_model*.bin", "config.json")
_OF_THE_WRITER = {"transformers_version", "_name_or_path"}


class CacheIdentity(BaseModel):
    """Everything that determines a cache's numbers; two equal identities have equal caches."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    schema_version: int
    dataset: str
    encoder: dict[str, str | None]
    stored_dtype: str
    samples: str

    @classmethod
    def of_attributes(cls, attributes: Mapping[str, Any], where: Path) -> Self:
        """Return the identity that a store's attributes have.

        Raises:
            CacheError: if they have none.
        """
        try:
            return cls.model_validate(attributes["identity"])
        except (KeyError, ValidationError) as error:
            first = str(error).splitlines()[0]
            raise CacheError(f"its identity is missing or damaged ({first})", where=where) from None

    @property
    def digest(self) -> str:
        """Sha256 of the identity in canonical JSON."""
        text = json.dumps(self.model_dump(mode="json"), sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(text.encode()).hexdigest()

    def differences(self, other: "CacheIdentity") -> list[str]:
        """Return one line for each field that differs, with both values."""
        mine, theirs = _flatten(self), _flatten(other)
        return [
            f"{key}: {mine.get(key, 'absent')} here, {theirs.get(key, 'absent')} there"
            for key in sorted(mine | theirs)
            if mine.get(key) != theirs.get(key)
        ]


def _flatten(identity: CacheIdentity) -> dict[str, object]:
    fields = identity.model_dump(mode="json")
    encoder = fields.pop("encoder")
    return fields | {f"encoder.{key}": value for key, value in encoder.items()}


def digest_of_samples(layout: CacheLayout) -> str:
    """Return the sha256 over the ordered ids, labels, groups, splits and content hashes."""
    digest = hashlib.sha256()
    columns = (layout.sample_ids, layout.labels, layout.groups, layout.splits, layout.contents)
    for row in zip(*columns, strict=True):
        digest.update(json.dumps([str(value) for value in row]).encode() + b"\n")
    return digest.hexdigest()


def files_of_model(folder: Path) -> list[Path]:
    """Return the files of a model's folder that determine its numbers."""
    return sorted({file for pattern in _OF_A_MODEL for file in folder.glob(pattern)})


def hash_model(folder: Path) -> str:
    """Return the sha256 over names and contents of the files that determine a model's numbers.

    Of config.json the settings count: neither their order nor which version of transformers wrote them.

    Raises:
        CacheError: if there are no such files.
    """
    files = files_of_model(folder)
    if not files:
        raise CacheError("no files to identify", where=folder, expected=" or ".join(_OF_A_MODEL))
    digest = hashlib.sha256()
    for file in files:
        with file.open("rb") as handle:
            content = hashlib.file_digest(handle, "sha256").hexdigest()
        if file.suffix == ".json":
            content = _digest_of_settings(file) or content
        digest.update(f"{file.relative_to(folder)} {content}\n".encode())
    return digest.hexdigest()


def _digest_of_settings(file: Path) -> str:
    """Return the sha256 of a model's settings; nothing if they cannot be read, which opening them says."""
    try:
        settings = json.loads(file.read_bytes())
        kept = {name: value for name, value in settings.items() if name not in _OF_THE_WRITER}
        return hashlib.sha256(json.dumps(kept, sort_keys=True).encode()).hexdigest()
    except (ValueError, RecursionError, AttributeError):
        return ""
