"""Checks of the machine: Python, packages, GPU, threads, memory."""

import os
import platform
import re
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, requires, version

import psutil

from daam_bench.checks.finding import Finding, Level
from daam_bench.environment import has_bfloat16

_ENOUGH_MEMORY = 4e9
# "torch>=2.8" and "dask[array]>=2026.8", without an environment marker: name and lower or exact bound.
_REQUIREMENT = re.compile(r"^([A-Za-z0-9_.-]+)(?:\[[^\]]*\])?\s*(>=|==)\s*([0-9][0-9.]*)\s*$")


def check_versions() -> Iterator[Finding]:
    """Compare the installed packages with what this package declares."""
    behind = []
    declared = requires("daam-bench") or []
    for line in declared:
        found = _REQUIREMENT.match(line)
        if found is None:  # an extra
            continue
        name, sign, wanted = found.groups()
        try:
            present = version(name)
        except PackageNotFoundError:
            behind.append(f"{name} is missing ({sign}{wanted})")
            continue
        have, want = _numbers(present), _numbers(wanted)
        if have < want or (sign == "==" and have != want):
            behind.append(f"{name} {present} ({sign}{wanted})")
    remedy = "Install the package again: pip install -e . (or make tables, which sets up .venv)."
    if behind:
        yield Finding("fail", "packages", "; ".join(behind), remedy)
    else:
        torch = f"torch {version('torch')}, transformers {version('transformers')}"
        yield Finding("ok", "packages", f"Python {platform.python_version()}, {torch}, all as declared")


def _numbers(text: str) -> tuple[int, ...]:
    """Return the leading numbers of a version: 2.13.0+cpu is (2, 13, 0)."""
    numbers = [int(part) for part in re.findall(r"\d+", text.split("+", maxsplit=1)[0])]
    while numbers and numbers[-1] == 0:
        numbers.pop()
    return tuple(numbers)


def check_device() -> Iterator[Finding]:
    """Say what will compute: a GPU with its memory, or the processor."""
    import torch

    if torch.cuda.is_available():
        for index in range(torch.cuda.device_count()):
            free, total = torch.cuda.mem_get_info(index)
            text = f"{torch.cuda.get_device_name(index)}, {free / 1e9:.0f} of {total / 1e9:.0f} GB free"
            level: Level = "ok" if free > total / 2 else "warn"
            yield Finding(
                level, "GPU", text, "" if level == "ok" else "Another program uses it: nvidia-smi names it."
            )
    elif torch.version.cuda is not None:
        remedy = (
            "nvidia-smi says whether the driver works; without a GPU install constraints-cpu.txt's torch."
        )
        yield Finding("warn", "GPU", f"torch is built for CUDA {torch.version.cuda} but finds none", remedy)
    else:
        said = "" if has_bfloat16("cpu") else " (no bfloat16: mixed precision is float32)"
        yield Finding("ok", "GPU", f"none; everything runs on the processor{said}")


def check_processor() -> Iterator[Finding]:
    """Compare the threads that a process would take with the cores that it may use."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    wanted = os.environ.get("OMP_NUM_THREADS", "")
    text = f"{cores} cores, OMP_NUM_THREADS {wanted or 'not set (Snakemake sets it for each job)'}"
    if wanted.isdigit() and int(wanted) > cores:
        yield Finding(
            "warn", "threads", text, f"export OMP_NUM_THREADS={cores}; more only wait for each other."
        )
    else:
        yield Finding("ok", "threads", text)
    free = psutil.virtual_memory().available
    text = f"{free / 1e9:.1f} GB of memory free"
    if free < _ENOUGH_MEMORY:
        yield Finding("warn", "memory", text, "Close other programs, or run snakemake with --cores 1.")
    else:
        yield Finding("ok", "memory", text)
