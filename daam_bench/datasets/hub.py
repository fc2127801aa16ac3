"""A dataset of the Hugging Face hub at one commit, which is also the one that is read without a network."""

from contextlib import suppress
from pathlib import Path
from typing import Any

from daam_bench.contents import contents_fingerprint
from daam_bench.errors import DataError


def load_at_commit(path: str, subset: str | None, revision: str | None) -> Any:
    """Return a dataset of the hub at a commit, or what lies in a folder if there is no commit.

    Without a network the library `datasets` takes the latest commit that it has prepared, whichever was asked
    for. Here the files of the commit come first, if they are in the cache of the hub.

    Raises:
        DataError: if another commit was loaded.
        OSError, ValueError, RuntimeError: what `datasets` raises.
    """
    from datasets import load_dataset
    from huggingface_hub import constants, snapshot_download
    from huggingface_hub.errors import LocalEntryNotFoundError

    if revision is not None and constants.HF_HUB_OFFLINE:
        with suppress(LocalEntryNotFoundError):
            folder = snapshot_download(path, repo_type="dataset", revision=revision, local_files_only=True)
            return load_dataset(folder, name=subset)
    if revision is None:
        return load_dataset(path, name=subset, cache_dir=_prepared(Path(path)))
    loaded = load_dataset(path, name=subset, revision=revision)
    _check_commit(loaded, path, revision)
    return loaded


def _prepared(path: Path) -> str:
    """Return where `datasets` keeps what it makes of a folder: another place for other contents.

    It knows files by their clocks alone, and would give old rows of a file that was replaced by one as old.
    """
    from datasets import config

    places = Path(config.HF_DATASETS_CACHE, "folders")
    return str(places / contents_fingerprint(path, places / "contents.json")[:16])


def _check_commit(loaded: Any, path: str, revision: str) -> None:
    for split in loaded.values():
        for source in split.info.download_checksums or {}:
            if "@" in source and f"@{revision}" not in source:
                raise DataError(
                    "the hub cannot be reached, and another commit is in the cache of datasets",
                    where=path,
                    expected=revision,
                    found=source,
                    remedy=f"Fetch it where there is a network: hf download --repo-type dataset {path} "
                    f"--revision {revision}",
                )
