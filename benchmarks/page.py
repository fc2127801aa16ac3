"""The part of a documentation page that a command makes from results."""

from pathlib import Path

from daam_bench.records import RunRecord

_VERSIONS = ("python", "torch", "transformers", "daam-bench")
END = "<!-- end of figures -->"


def replace_figures(page: Path, command: str, text: str) -> None:
    """Put a text between the marks of a page.

    Args:
        page: has the line that `start_mark(command)` gives, and END after it.
        command: what makes the figures, as a person types it.
        text: Markdown.
    """
    start = start_mark(command)
    before, found, rest = page.read_text(encoding="utf-8").partition(start)
    _, ended, after = rest.partition(END)
    if not (found and ended):
        raise SystemExit(f"{page} lacks the line {start if not found else END}")
    page.write_text(f"{before}{start}\n{text}\n{END}{after}", encoding="utf-8")


def start_mark(command: str) -> str:
    """Return the line above the figures."""
    return f"<!-- figures: made by `{command}`, not by hand -->"


def origin_of(results: Path, command: str) -> str:
    """Return what made some results, and on what: of the results, not of today."""
    file = next(results.glob("runs/*/*/*/fold*.json"))
    found = RunRecord.model_validate_json(file.read_bytes()).environment
    versions = ", ".join(f"{name} {found[name]}" for name in _VERSIONS if name in found)
    return f"Made by `{command}` on {found.get('processor', 'an unknown processor')}; {versions}."
