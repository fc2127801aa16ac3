"""The state of a replica after an epoch, on disk: tensors as safetensors, the rest as JSON, no pickle.

A checkpoint is two files: the tensors under a name of their epoch, then `<stem>.checkpoint.json`, which names
them with their sha256 and has a checksum of its own. Replacing the second is what makes the first count.
"""

import hashlib
import json
from pathlib import Path
from typing import Any

import torch
from pydantic import BaseModel, ConfigDict
from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor

from daam_bench.errors import RecordError
from daam_bench.records import EpochRecord, write_atomically
from daam_bench.training.replica import Replica

# What reading a file that was damaged, or written by a stranger, may end in.
_UNREADABLE = (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError)


class _Facts(BaseModel):
    """What a checkpoint says beside its tensors."""

    model_config = ConfigDict(extra="forbid")

    key: str
    tensors: str
    sha256: str
    epochs: list[EpochRecord]
    pending: tuple[int, float, float] | None
    best_epoch: int
    best_rank: float
    learning_rates: list[float]
    plateau: dict[str, Any] | None
    seconds: tuple[float, float, float]
    joules: float | None


def save_checkpoint(stem: Path, key: str, replica: Replica) -> None:
    """Write what a replica needs to go on; it is durable when this returns.

    Args:
        stem: path of the replica's files without ending.
        key: of the replica's record; a checkpoint of another key is never used.
        replica: at the end of an epoch.
    """
    data = save(_tensors(replica))
    tensors = stem.with_name(f"{stem.name}.{replica.trained_epochs}.checkpoint")
    write_atomically(tensors, data)
    facts = {
        "key": key,
        "tensors": tensors.name,
        "sha256": hashlib.sha256(data).hexdigest(),
        "epochs": [record.model_dump(mode="json") for record in replica.epochs],
        "pending": replica.pending,
        "best_epoch": replica.best_epoch,
        "best_rank": replica.best_rank,
        "learning_rates": [group["lr"] for group in replica.optimizer.param_groups],
        "plateau": None if replica.plateau is None else replica.plateau.state_dict(),
        "seconds": [replica.wall_seconds, replica.cpu_seconds, replica.loading_seconds],
        "joules": replica.energy_joules,
    }
    text = json.dumps(facts)
    checked = {"checksum": _checksum(text), "facts": text}
    write_atomically(_facts_of(stem), json.dumps(checked).encode())
    for older in stem.parent.glob(f"{stem.name}.*.checkpoint"):
        if older != tensors:
            older.unlink(missing_ok=True)


def load_checkpoint(stem: Path, key: str, replica: Replica) -> bool:
    """Bring a new replica to where its checkpoint is; return whether there is a whole one of this key.

    Raises:
        RecordError: if there is, but it is that of another model, which no run leaves behind.
    """
    facts = _read_facts(stem)
    if facts is None or facts.key != key:
        return False
    try:
        data = (stem.parent / Path(facts.tensors).name).read_bytes()
        if hashlib.sha256(data).hexdigest() != facts.sha256:
            return False
        tensors = load(data)
    except (*_UNREADABLE, SafetensorError):
        return False  # none, or damaged: the replica starts anew
    try:
        _restore(replica, tensors)
        _restore_facts(replica, facts)
    except (ValueError, KeyError, TypeError, AttributeError, RuntimeError) as error:
        raise RecordError(
            f"the checkpoint is not one of this replica ({str(error).splitlines()[0]})",
            where=_facts_of(stem),
            remedy="Delete it: the replica starts anew.",
        ) from None
    return True


def remove_checkpoint(stem: Path, key: str | None = None) -> None:
    """Delete a replica's checkpoint, once its record is written; with a key, none that is of another."""
    facts = None if key is None else _read_facts(stem)
    if facts is not None and facts.key != key:
        return
    _facts_of(stem).unlink(missing_ok=True)
    for tensors in stem.parent.glob(f"{stem.name}.*.checkpoint"):
        tensors.unlink(missing_ok=True)


def _read_facts(stem: Path) -> _Facts | None:
    """Return what a checkpoint says beside its tensors; None if there is none, or it is damaged."""
    try:
        checked = json.loads(_facts_of(stem).read_bytes())
        facts = _Facts.model_validate(json.loads(checked["facts"]))
        return facts if _checksum(checked["facts"]) == checked["checksum"] else None
    except _UNREADABLE:
        return None


def _checksum(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def _facts_of(stem: Path) -> Path:
    return stem.with_name(f"{stem.name}.checkpoint.json")


def _tensors(replica: Replica) -> dict[str, Tensor]:
    found = {"noise": replica.noise, "best_predictions": replica.best_predictions}
    found |= {f"model.{name}": value for name, value in replica.model.state_dict().items()}
    found |= {f"best.{name}": value for name, value in replica.best_state.items()}
    for index, moments in replica.optimizer.state_dict()["state"].items():
        found |= {f"optimizer.{index}.{name}": value for name, value in moments.items()}
    # Copies: safetensors refuses tensors that share memory.
    return {name: value.detach().cpu().contiguous().clone() for name, value in found.items()}


def _restore(replica: Replica, tensors: dict[str, Tensor]) -> None:
    def part(prefix: str) -> dict[str, Tensor]:
        return {name[len(prefix) :]: value for name, value in tensors.items() if name.startswith(prefix)}

    device = next(replica.model.parameters()).device
    replica.noise, replica.best_predictions = tensors["noise"], tensors["best_predictions"]
    replica.model.load_state_dict(part("model."))
    replica.best_state = {name: value.to(device) for name, value in part("best.").items()}
    state: dict[int, dict[str, Tensor]] = {}
    for name, value in part("optimizer.").items():
        index, moment = name.split(".", 1)
        state.setdefault(int(index), {})[moment] = value
    replica.optimizer.load_state_dict({**replica.optimizer.state_dict(), "state": state})
    for parameter, moments in replica.optimizer.state.items():
        for name, value in moments.items():
            if value.shape == parameter.shape:
                # The fused step goes through memory in the order of the parameter, which is channels last.
                moments[name] = torch.empty_like(parameter).copy_(value)


def _restore_facts(replica: Replica, facts: _Facts) -> None:
    replica.epochs, replica.pending = facts.epochs, facts.pending
    replica.best_epoch, replica.best_rank = facts.best_epoch, facts.best_rank
    replica.wall_seconds, replica.cpu_seconds, replica.loading_seconds = facts.seconds
    replica.energy_joules = facts.joules
    for group, rate in zip(replica.optimizer.param_groups, facts.learning_rates, strict=True):
        group["lr"] = rate
    if replica.plateau is not None:
        plateau = facts.plateau or {}
        # torch takes them for attributes, of any name.
        if plateau.keys() != replica.plateau.state_dict().keys():
            raise ValueError("another schedule")
        replica.plateau.load_state_dict(plateau)
