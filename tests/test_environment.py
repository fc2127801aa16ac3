"""pyproject.toml is the one list of dependencies; environment.yml and the imports stay true to it."""

import ast
import re
import sys
import tomllib
from collections.abc import Iterable
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
ENVIRONMENT = yaml.safe_load((ROOT / "environment.yml").read_text(encoding="utf-8"))
REQUIRED = ("torch", "transformers", "h5py", "zarr", "dask", "datasets", "pandas", "snakemake", "matplotlib")
DISTRIBUTION_OF = {
    "PIL": "pillow",
    "markdown_it": "markdown-it-py",
    "sklearn": "scikit-learn",
    "upath": "universal-pathlib",
    "yaml": "pyyaml",
}


def names(requirements: Iterable[str]) -> set[str]:
    """Return the canonical distribution names of requirement lines."""
    return {canonicalize_name(Requirement(line).name) for line in requirements}


def third_party_imports(source: str) -> set[str]:
    """Return the distributions that a module imports anywhere, also inside functions."""
    modules: set[str] = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            modules |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            modules.add(node.module.split(".")[0])
    outside = modules - set(sys.stdlib_module_names) - {"daam_bench", "benchmarks"}
    return {canonicalize_name(DISTRIBUTION_OF.get(module, module)) for module in outside}


def test_environment_has_the_python_of_pyproject() -> None:
    pins = [line for line in ENVIRONMENT["dependencies"] if isinstance(line, str)]
    expected = f"python{PROJECT['requires-python']}"
    assert expected in pins, f"environment.yml: write {expected!r} under dependencies (has {pins})"


def test_environment_takes_everything_else_from_pyproject() -> None:
    sections = [line["pip"] for line in ENVIRONMENT["dependencies"] if isinstance(line, dict)]
    cure = (
        "environment.yml: its pip section must be the one line '-e .[test]'; list versions in pyproject.toml"
    )
    assert sections == [["-e .[test]"]], cure
    plain = {re.split(r"[<>=!~ ]", line)[0] for line in ENVIRONMENT["dependencies"] if isinstance(line, str)}
    assert plain == {"python", "pip"}, cure
    assert ENVIRONMENT["channels"] == ["conda-forge"]
    assert "test" in PROJECT["optional-dependencies"]


@pytest.mark.parametrize("package", REQUIRED)
def test_core_package_is_declared(package: str) -> None:
    assert package in names(PROJECT["dependencies"]), f"pyproject.toml: put {package} back under dependencies"


def is_own(module: Path) -> bool:
    return module.is_dir() or module.with_suffix(".py").is_file()


@pytest.mark.parametrize("folder", ["daam_bench", "workflow", "tests"])
def test_every_import_is_declared(folder: str) -> None:
    declared = names(PROJECT["dependencies"])
    if folder == "tests":
        declared |= names(PROJECT["optional-dependencies"]["test"])
    missing = {
        f"{distribution} ({path.relative_to(ROOT)})"
        for path in (ROOT / folder).rglob("*.py")
        for distribution in third_party_imports(path.read_text(encoding="utf-8"))
        if distribution not in declared and not is_own(ROOT / folder / distribution)
    }
    assert not missing, f"pyproject.toml: declare what is imported: {', '.join(sorted(missing))}"


def test_cpu_constraint_satisfies_pyproject() -> None:
    lines = (ROOT / "constraints-cpu.txt").read_text(encoding="utf-8").split()
    pins = [Requirement(line) for line in lines]
    torch = next(Requirement(line) for line in PROJECT["dependencies"] if line.startswith("torch"))
    assert [pin.name for pin in pins] == ["torch"]
    version = next(iter(pins[0].specifier)).version
    assert torch.specifier.contains(version), f"constraints-cpu.txt: torch {version} is outside {torch}"


def test_import_scan_sees_lazy_imports_and_other_names() -> None:
    source = "import os\nfrom . import peer\nimport daam_bench.plan\n\ndef f():\n    from PIL import Image\n"
    assert third_party_imports(source + "import numpy.typing\n") == {"pillow", "numpy"}
