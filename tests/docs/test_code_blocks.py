"""Every code block of README and of the documentation is executed, or says why not."""

from pathlib import Path

import pytest
from docs.blocks import blocks_of, execute

from daam_bench.errors import DaamBenchError

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
WITH_CODE = [page for page in PAGES if blocks_of(page.read_text(encoding="utf-8"))]


@pytest.mark.parametrize("page", WITH_CODE, ids=lambda page: page.stem)
def test_every_block_of_a_page_runs(page, request):
    blocks = blocks_of(page.read_text(encoding="utf-8"))
    names = {"__name__": "page"}
    if any(block.reason is None for block in blocks):
        request.getfixturevalue("sandbox")
    for block in blocks:
        if block.reason is None:
            execute(block, page, names)
        else:
            request.node.user_properties.append(("not executed", f"{page.name}:{block.line}: {block.reason}"))


PAGE = """
```python
x = 1
```
<!-- not executed: needs a GPU -->
```bash
train
```

- in a list

  ```yaml title="config/mine.yaml"
  title: mine
  ```

between

    indented
"""


def test_blocks_are_found_with_line_title_and_reason():
    found = [(b.language, b.line, b.file, b.reason) for b in blocks_of(PAGE)]
    assert found == [
        ("python", 3, None, None),
        ("bash", 7, None, "needs a GPU"),
        ("yaml", 13, "config/mine.yaml", None),
        ("", 18, None, None),
    ]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("```python\nraise RuntimeError('no GPU')\n```", "no GPU"),
        ("```bash\nfalse | cat\n```", "status 1"),
        ("```bash\ndaam-bench no-such-command\n```", "status 2"),
        ("```yaml\ntrainng: {}\n```", "Did you mean 'training'"),
        ("```yaml\ndatasets: {pets: {kind: no_such_kind, path: data/pets}}\n```", "no_such_kind"),
        ("```ruby\nputs 1\n```", "a block of ruby"),
        ("text\n\n    make tables\n", "a block of no language"),
    ],
)
def test_a_block_that_is_wrong_fails(text, message, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "config.yaml").write_text((ROOT / "config.yaml").read_text())
    (block,) = blocks_of(text)
    with pytest.raises((AssertionError, RuntimeError, DaamBenchError), match=message):
        execute(block, Path("page.md"), {})


def test_a_failing_line_is_named_as_in_the_page():
    (block,) = blocks_of("\n\n```python\n\nraise ValueError\n```")
    with pytest.raises(ValueError) as found:
        execute(block, Path("page.md"), {})
    last = found.traceback[-1]
    assert (str(last.path).rpartition("/")[2], last.lineno + 1) == ("page.md", 5)
