"""Imports go one way through the rooms of the package, and the light rooms stay light."""

import ast
import subprocess
import sys
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parent.parent / "daam_bench"
# Left to right; rooms of one step are peers and do not know each other. The package itself is the first.
FLOW = (
    ("",),
    ("errors",),
    ("records", "fingerprint", "environment", "assets", "locks", "allocator", "threads"),
    ("contents",),
    ("config",),
    ("datasets", "encoders", "heads", "adapters"),
    ("studies",),
    ("plan",),
    ("specs",),
    ("cache",),
    ("training",),
    ("analysis", "tuning"),
    ("steps",),
    ("costs", "direct", "provenance", "scaffold"),
    ("checks",),
    ("cli",),
)
LONGEST_MODULE = 400
Graph = dict[str, set[str]]


def import_graph(package: Path) -> Graph:
    """Return module -> modules of the same package that it imports, also inside functions."""
    files = {_module_name(package, path): path for path in package.rglob("*.py")}
    graph: Graph = {}
    for module, path in files.items():
        base = module if path.name == "__init__.py" else module.rpartition(".")[0]
        names = _imported_names(ast.parse(path.read_text(encoding="utf-8")), base)
        targets = {target for name in names if (target := _nearest(name, set(files)))}
        graph[module] = targets - {module}
    return graph


def _module_name(package: Path, path: Path) -> str:
    parts = path.relative_to(package.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def _imported_names(tree: ast.Module, base: str) -> set[str]:
    """Return dotted names of everything imported; `base` is the package that relative imports start from."""
    names: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            parents = base.split(".")[: len(base.split(".")) - node.level + 1] if node.level else []
            origin = ".".join([*parents, *([node.module] if node.module else [])])
            names |= {f"{origin}.{alias.name}" for alias in node.names}
        elif isinstance(node, ast.Call) and ast.unparse(node.func).endswith("import_module"):
            names |= {a.value for a in node.args if isinstance(a, ast.Constant) and isinstance(a.value, str)}
    return names


def _nearest(name: str, modules: set[str]) -> str | None:
    """Return the module that a dotted name is, or lies in; None for other packages."""
    while name and name not in modules:
        name = name.rpartition(".")[0]
    return name or None


def room_of(module: str) -> str:
    """Return the first name below the package; the package itself is the room ''."""
    return module.partition(".")[2].partition(".")[0]


def problems_of(graph: Graph) -> list[str]:
    """Return what breaks the flow: unknown rooms, imports to the right or to a peer, cycles."""
    step = {room: number for number, rooms in enumerate(FLOW) for room in rooms}
    problems = [
        f"{module}: room {room_of(module)!r} has no place in FLOW (tests/test_import_flow.py)"
        for module in graph
        if room_of(module) not in step
    ]
    for module, targets in graph.items():
        here = room_of(module)
        for there in sorted(room_of(target) for target in targets):
            if here != there and here in step and there in step and step[there] >= step[here]:
                problems.append(f"{module} imports from {there!r}, which does not come before {here!r}")
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        problems.append(f"import cycle: {' -> '.join(reversed(error.args[1]))}")
    return problems


def write_package(folder: Path, files: dict[str, str]) -> Path:
    """Write a small package named `toy`; return its folder."""
    for name, text in files.items():
        path = folder / "toy" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    return folder / "toy"


def modules_below(room: str) -> list[str]:
    """Return the modules of a room of the package."""
    return sorted(module for module in import_graph(PACKAGE) if room_of(module) == room)


def loaded_by(modules: list[str]) -> set[str]:
    """Return the top-level packages that a fresh interpreter holds after importing modules."""
    code = f"import {', '.join(['sys', *modules])}; print(*{{m.partition('.')[0] for m in sys.modules}})"
    command = [sys.executable, "-c", code]
    result = subprocess.run(command, capture_output=True, text=True, check=False, cwd=PACKAGE.parent)
    assert result.returncode == 0, result.stderr
    return set(result.stdout.split())


def test_package_follows_the_flow() -> None:
    problems = problems_of(import_graph(PACKAGE))
    assert not problems, "move the code or pass the value as an argument:\n" + "\n".join(problems)


def test_flow_accepts_imports_to_the_left(tmp_path: Path) -> None:
    files = {
        "__init__.py": "",
        "errors.py": "import json",
        "heads/__init__.py": "from toy.heads.presets import VARIANTS",
        "heads/presets.py": "from ..errors import E\nVARIANTS = 2",
        "heads/build.py": "def build():\n    from toy.heads import presets",
        "cache/store.py": "from toy.heads import VARIANTS\nfrom toy import __version__",
    }
    graph = import_graph(write_package(tmp_path, files))
    assert graph["toy.heads.presets"] == {"toy.errors"}
    assert graph["toy.heads.build"] == {"toy.heads.presets"}
    assert graph["toy.cache.store"] == {"toy.heads", "toy"}
    assert problems_of(graph) == []


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        (
            {"plan.py": "def f():\n    from toy.cache.store import S", "cache/store.py": ""},
            "imports from 'cache'",
        ),
        ({"config.py": "import toy.plan", "plan.py": ""}, "imports from 'plan'"),
        ({"heads/a.py": "from ..encoders import b", "encoders/b.py": ""}, "imports from 'encoders'"),
        ({"cli.py": "", "plan.py": "import_module('toy.cli')"}, "imports from 'cli'"),
        (
            {"heads/a.py": "from toy.heads import b", "heads/b.py": "from . import a"},
            "import cycle: toy.heads",
        ),
        ({"helpers.py": ""}, "room 'helpers' has no place"),
    ],
    ids=["backward-lazy", "backward", "peer", "by-name", "cycle", "unknown-room"],
)
def test_flow_refuses(tmp_path: Path, files: dict[str, str], expected: str) -> None:
    problems = problems_of(import_graph(write_package(tmp_path, files)))
    assert len(problems) == 1
    assert expected in problems[0]


@pytest.mark.parametrize("module", ["config", "plan", "heads.presets", "adapters.presets", "analysis.names"])
def test_light_module_loads_neither_torch_nor_transformers(module: str) -> None:
    assert not loaded_by([f"daam_bench.{module}"]) & {"torch", "transformers"}


def test_analysis_never_imports_torch() -> None:
    modules = modules_below("analysis")
    assert not loaded_by(modules) & {"torch", "transformers"}
    for module in modules:
        path = PACKAGE.joinpath(*module.split(".")[1:])
        source = path / "__init__.py" if path.is_dir() else path.with_suffix(".py")
        names = _imported_names(ast.parse(source.read_text(encoding="utf-8")), module)
        assert not {name for name in names if name.partition(".")[0] == "torch"}, source


def test_probe_sees_what_is_loaded() -> None:
    assert "numpy" in loaded_by(["numpy.linalg"])


@pytest.mark.parametrize("path", sorted(PACKAGE.rglob("*.py")), ids=lambda p: str(p.relative_to(PACKAGE)))
def test_module_stays_short(path: Path) -> None:
    lines = len(path.read_text(encoding="utf-8").splitlines())
    assert lines <= LONGEST_MODULE, f"{path.name} has {lines} lines: split it into two rooms"
