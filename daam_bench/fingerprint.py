"""A hash of source code that formatting, comments and docstrings do not change."""

import ast
import functools
import hashlib
from pathlib import Path

_PACKAGE = Path(__file__).parent
_DATA = (".csv", ".css", ".j2")


def source_fingerprint(*rooms: str) -> str:
    """Return the sha256 of the code of modules and folders of this package.

    Snakemake does not see edits to imported code: a rule puts this into its `params`. A process reads each
    module once, as it imports it once.

    Args:
        rooms: names below the package, for example `heads` or `records.py`.
    """
    digest = hashlib.sha256()
    for room in rooms:
        path = _PACKAGE / room
        for file in sorted(path.rglob("*.py")) if path.is_dir() else [path]:
            digest.update(f"{file.relative_to(_PACKAGE)}\n{_normalised(file)}\n".encode())
        for file in sorted(f for ending in _DATA for f in path.rglob(f"*{ending}")):
            digest.update(f"{file.relative_to(_PACKAGE)}\n".encode() + file.read_bytes())
    return digest.hexdigest()


@functools.cache
def _normalised(file: Path) -> str:
    tree = ast.parse(file.read_text(encoding="utf-8"))
    for node in ast.walk(tree):
        body = getattr(node, "body", None)
        if isinstance(body, list) and body and isinstance(body[0], ast.Expr):
            value = body[0].value
            if isinstance(value, ast.Constant) and isinstance(value.value, str):
                del body[0]
    return ast.dump(tree)
