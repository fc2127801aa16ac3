"""What a result was computed with: versions, hardware, git commit."""

import os
import platform
import subprocess
from functools import cache
from importlib.metadata import version
from pathlib import Path

_PACKAGES = ("daam-bench", "torch", "transformers", "peft", "numpy", "scikit-learn", "zarr", "h5py")


@cache
def _git_commit() -> str:
    command = ["git", "-C", str(Path(__file__).parent), "describe", "--always", "--dirty", "--abbrev=40"]
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return "unknown"


@cache
def _processor() -> str:
    information = Path("/proc/cpuinfo")
    if information.exists():
        for line in information.read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    return platform.processor() or platform.machine()


@cache
def has_bfloat16(device: str) -> bool:
    """Return whether a device multiplies bfloat16 by itself.

    A processor that does not takes several times as long as in float32: mixed precision is computed in
    float32 there. Builds of torch without oneDNN, which is asked, are taken to have it.

    Args:
        device: as torch names it.
    """
    import torch

    if not device.startswith("cpu") or not torch.backends.mkldnn.is_available():  # type: ignore[no-untyped-call]
        return True
    return bool(torch.ops.mkldnn._is_mkldnn_bf16_supported())


def _name_of(device: str) -> str:
    """Return a device as torch names it, of a GPU with its name, how many there are, and CUDA's version."""
    import torch

    if not device.startswith("cuda") or not torch.cuda.is_available():
        return device
    name, count = torch.cuda.get_device_name(device), torch.cuda.device_count()
    return f"{device}: {name}, one of {count}; CUDA {torch.version.cuda}"


def describe_environment(device: str, threads: int) -> dict[str, str]:
    """Return versions, hardware and commit as text.

    Args:
        device: what the numbers were computed on, as torch names it.
        threads: number of threads the process used.
    """
    versions = {package: version(package) for package in _PACKAGES}
    return versions | {
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.machine()}",
        "processor": f"{_processor()}, {os.cpu_count()} cores",
        "device": _name_of(device),
        "threads": str(threads),
        "bfloat16": "yes" if has_bfloat16(device) else "no: mixed precision is float32",
        "git_commit": _git_commit(),
    }
