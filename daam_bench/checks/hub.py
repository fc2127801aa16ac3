"""What a plan takes from the Hugging Face hub: whether it is here, may be downloaded, and how large it is."""

import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypeVar

from daam_bench.checks.finding import Finding
from daam_bench.checks.weights import opened_files, weight_files
from daam_bench.config import DatasetConfig
from daam_bench.costs.samples import is_prepared
from daam_bench.plan import Plan

# Organisations whose models ask for an agreement: what can be said where the hub cannot be asked.
_GATED = ("meta-llama/", "google/gemma", "mistralai/")
# Seconds that the hub has for an answer; its client waits for ever.
_PATIENCE = 5.0

Answer = TypeVar("Answer")


@dataclass(frozen=True)
class HubNeed:
    """One repository of the hub that a plan takes.

    Attributes:
        finding: what the doctor says of it.
        repository: its id.
        takes: bytes that it has yet to take on the disk; None if that is not known. A dataset is kept twice,
            as it is downloaded and as it is read.
    """

    finding: Finding
    repository: str
    takes: int | None


class Silent(Exception):
    """The hub gives no answer; the text says why."""


class Hub:
    """Asks the hub; once it gave no answer, it is not asked again."""

    def __init__(self) -> None:
        from huggingface_hub import constants

        self.off = bool(constants.HF_HUB_OFFLINE)
        self._silent = "HF_HUB_OFFLINE is set" if self.off else ""

    def ask(self, question: Callable[[], Answer]) -> Answer:
        """Return the answer to a question.

        Raises:
            Silent: if there is none in time, or no network.
            HfHubHTTPError: if the hub refuses.
        """
        from huggingface_hub.errors import HfHubHTTPError

        if self._silent:
            raise Silent(self._silent)
        answers: list[Any] = []
        errors: list[Exception] = []

        def run() -> None:
            try:
                answers.append(question())
            except Exception as error:  # whatever library the hub's client uses has errors of its own
                errors.append(error)

        # A thread that may be left behind: neither the client nor a name look-up has a time limit.
        thread = threading.Thread(target=run, daemon=True)
        thread.start()
        thread.join(_PATIENCE)
        if answers:
            answer: Answer = answers[0]
            return answer
        if errors and isinstance(errors[0], HfHubHTTPError):
            raise errors[0]
        reason = (str(errors[0]).splitlines() or [""])[0] if errors else f"no answer in {_PATIENCE:g} s"
        self._silent = f"no network ({reason or type(errors[0]).__name__})"
        raise Silent(self._silent)


def hub_needs(plan: Plan) -> Iterator[HubNeed]:
    """Yield every model and dataset of a plan that lies on the hub, local folders left out."""
    hub = Hub()
    for name, dataset in plan.datasets.items():
        if dataset.revision is not None and not Path(dataset.path).exists():
            yield _dataset_need(f"datasets.{name}", dataset, hub)
    for name, encoder in plan.encoders.items():
        if encoder.revision is not None and not Path(encoder.model).exists():
            yield _model_need(f"encoders.{name}", encoder.model, encoder.revision, hub)


def _dataset_need(name: str, config: DatasetConfig, hub: Hub) -> HubNeed:
    revision = str(config.revision)
    if is_prepared(config):
        text = f"{config.path} at {revision[:12]}: in the cache of datasets"
        return HubNeed(Finding("ok", name, text), config.path, 0)
    return _to_download(name, config.path, revision, "dataset", hub, "")


def _model_need(name: str, repository: str, revision: str, hub: Hub) -> HubNeed:
    def find(file: str) -> Path | None:
        return _cached(repository, file, revision, "model")

    here, missing = weight_files(find)
    if find("config.json") is not None and here and not missing:
        text = f"{repository} at {revision[:12]}: in the hub's cache"
        return HubNeed(Finding("ok", name, text), repository, 0)
    part = f"{len(here)} of {len(here) + len(missing)} files of weights are here; " if missing else ""
    return _to_download(name, repository, revision, "model", hub, part)


def _cached(repository: str, file: str, revision: str, kind: str) -> Path | None:
    from huggingface_hub import try_to_load_from_cache

    found = try_to_load_from_cache(repository, file, revision=revision, repo_type=kind)
    return Path(found) if isinstance(found, str) else None


def _to_download(
    name: str, repository: str, revision: str, kind: Literal["model", "dataset"], hub: Hub, part: str
) -> HubNeed:
    """Ask whether a repository may be downloaded, and how much of it is still to come."""
    import huggingface_hub
    from huggingface_hub.errors import GatedRepoError, HfHubHTTPError, RepositoryNotFoundError

    text = f"{repository} at {revision[:12]}: {part}"
    try:
        hub.ask(lambda: huggingface_hub.auth_check(repository, repo_type=kind))
        size = hub.ask(lambda: _bytes_to_come(repository, revision, kind))
    except GatedRepoError:
        return HubNeed(_gated(name, repository), repository, None)
    except RepositoryNotFoundError:
        remedy = "Correct the id in the configuration; for a private one, `hf auth login` or set HF_TOKEN."
        found = f"{repository}: the hub has no such {kind}, or shows it to others only"
        return HubNeed(Finding("fail", name, found, remedy), repository, None)
    except HfHubHTTPError as error:
        reason = (str(error).splitlines() or ["no reason given"])[0]
        remedy = "Check the commit in the configuration, and the token: `hf auth whoami` says whose it is."
        return HubNeed(Finding("fail", name, f"{text}the hub refuses: {reason}", remedy), repository, None)
    except Silent as error:
        return HubNeed(_not_asked(name, repository, f"{text}{error}", hub), repository, None)
    return HubNeed(
        Finding("ok", name, f"{text}the first run downloads {size / 1e9:.2f} GB, access is granted"),
        repository,
        size if kind == "model" else 2 * size,
    )


def _bytes_to_come(repository: str, revision: str, kind: str) -> int:
    from huggingface_hub import HfApi

    api = HfApi()
    ask = api.model_info if kind == "model" else api.dataset_info
    files = ask(repository, revision=revision, files_metadata=True, timeout=_PATIENCE).siblings or []
    sizes = {file.rfilename: file.size or 0 for file in files}
    wanted = opened_files(sizes) if kind == "model" else sizes
    return sum(size for file, size in wanted.items() if _cached(repository, file, revision, kind) is None)


def _gated(name: str, repository: str) -> Finding:
    from huggingface_hub import get_token

    accept = f"Accept its licence on huggingface.co/{repository}"
    if get_token() is None:
        remedy = f"{accept}, then `hf auth login` or set HF_TOKEN."
        return Finding("fail", name, f"{repository} is gated and no token is set", remedy)
    found = f"{repository} is gated, and your token's account may not read it"
    return Finding("fail", name, found, f"{accept} with that account, and wait until it is granted.")


def _not_asked(name: str, repository: str, text: str, hub: Hub) -> Finding:
    """Return what can be said of a repository that is not here, without the hub."""
    from huggingface_hub import get_token

    if repository.startswith(_GATED) and get_token() is None:
        return _gated(name, repository)
    if hub.off:
        remedy = f"Fetch it where there is a network (hf download {repository}), or unset HF_HUB_OFFLINE."
        return Finding("fail", name, f"{text}, and it is not in the hub's cache", remedy)
    remedy = "The first run downloads it: start it where the hub can be reached."
    return Finding("warn", name, f"{text}: access and size cannot be asked", remedy)
