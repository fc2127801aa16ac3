"""The locked versions are those that pyproject.toml admits, and CI audits them."""

import subprocess
import sys
import tomllib
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[2]
SAID = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
PROJECT = SAID["project"]
# What builds the package, with what that needs.
BUILDERS = ("hatchling", "packaging", "pathspec", "pluggy", "tomlkit", "trove-classifiers")


def read_pins():
    lines = (ROOT / "requirements-lock.txt").read_text(encoding="utf-8").splitlines()
    return {canonicalize_name(r.name): r for r in map(Requirement, (x for x in lines if x[:1] != "#"))}


def test_the_lock_pins_every_dependency_within_its_range():
    pins = read_pins()
    assert all(str(pin.specifier).startswith("==") for pin in pins.values())
    named = [line for lines in PROJECT["optional-dependencies"].values() for line in lines]
    named += SAID["build-system"]["requires"]
    for wanted in map(Requirement, PROJECT["dependencies"] + named):
        if canonicalize_name(wanted.name) == "daam-bench":
            continue  # its own extras
        pin = pins.get(canonicalize_name(wanted.name))
        assert pin is not None, f"run `python .ci/lock > requirements-lock.txt`: {wanted.name} is not in it"
        version = str(pin.specifier).removeprefix("==")
        assert wanted.specifier.contains(version, prereleases=True), f"{wanted}, but the lock has {version}"


def test_what_builds_the_package_is_locked_with_what_it_needs():
    assert [Requirement(line).name for line in SAID["build-system"]["requires"]] == ["hatchling"]
    assert not set(BUILDERS) - read_pins().keys()


def test_nothing_is_locked_that_nothing_needs():
    lines = (ROOT / "requirements-lock.txt").read_text(encoding="utf-8").splitlines()
    made = subprocess.run([sys.executable, ROOT / ".ci/lock"], capture_output=True, text=True, check=True)
    needed = {line.partition("==")[0] for line in made.stdout.splitlines()}
    assert "torch" in needed
    for name in (line.partition("==")[0] for line in lines if line[:1] != "#"):
        try:
            distribution(name)
        except PackageNotFoundError:
            continue  # for clusters, or another system
        assert name in needed, f"run `python .ci/lock > requirements-lock.txt`: nothing needs {name}"


def test_ci_installs_and_audits_the_lock():
    script = (ROOT / ".ci/run").read_text(encoding="utf-8")
    # Newer versions of pip build under the second one alone.
    for kind in ("PIP_CONSTRAINT", "PIP_BUILD_CONSTRAINT"):
        assert f' {kind}="$PWD/requirements-lock.txt"' in script
    assert "-e atheris requirements-lock.txt" in script  # of the fuzzer alone, which is a job of its own
    jobs = yaml.safe_load((ROOT / ".github/workflows/ci.yml").read_text(encoding="utf-8"))["jobs"]
    said = [step.get("run", "") for job in jobs.values() for step in job["steps"]]
    assert any("pip-audit" in line and "requirements-lock.txt" in line for line in said)
