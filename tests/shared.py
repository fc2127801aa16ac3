"""What is made once for many tests: folders for all workers of a run, and a process that has torch."""

import multiprocessing
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from filelock import FileLock

# What takes long to import.
_PRELOADED = ["daam_bench.cache.repair", "daam_bench.training.run", "transformers.models.bert.modeling_bert"]


def made_once(factory: pytest.TempPathFactory, name: str, make: Callable[[Path], None]) -> Path:
    """Return a folder that `make` filled, once for all workers."""
    own = factory.getbasetemp()
    folder = (own.parent if "PYTEST_XDIST_WORKER" in os.environ else own) / name
    made = folder.with_name(f"{name}.made")
    with FileLock(f"{folder}.lock"):
        if not made.exists():
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir()
            make(folder)
            made.touch()
    return folder


def exit_code(work: Callable[..., object], *arguments: Any) -> int | None:
    """Do a function of a module in a process of its own, and return how that ended: -9 if it was killed."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(_PRELOADED)
    process = context.Process(target=_as_here, args=(dict(os.environ), work, arguments))
    process.start()
    process.join(200)
    return process.exitcode


def _as_here(environment: dict[str, str], work: Callable[..., object], arguments: tuple[Any, ...]) -> None:
    os.environ |= environment  # the server's are those of the moment when it started
    work(*arguments)
