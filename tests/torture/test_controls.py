"""Controls of `make torture`: with a fault built in, each kind of torture says so."""

import json
import os
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
KINDS = {
    "kills_extraction": "differs in",
    "damages_zarr": "verify finds nothing",
    "bad_inputs": "was accepted",
    "write_faults": "a traceback",
}
FAULTY = """
    from types import SimpleNamespace

    from benchmarks.torture import __main__, damages, inputs
    from benchmarks.torture.world import StandIn
    from daam_bench import cli
    from daam_bench.steps import step_app

    # What is computed after a restart is not what it would have been.
    encode, calls = StandIn.encode, []
    StandIn.encode = lambda self, prepared: (calls.append(0), encode(self, prepared) + len(calls))[1]
    damages.verify_cache = lambda _: SimpleNamespace(ok=True)
    inputs.load_merged = inputs.make_plan = lambda _: None
    cli.app.add_typer(step_app, name="step")
    cli.main = cli.app
    __main__.main()
"""


@pytest.fixture(scope="module")
def found(tmp_path_factory):
    output = tmp_path_factory.mktemp("torture") / "torture.json"
    options = ["--scale", "0.004", "--output", str(output), "--kinds", *KINDS]
    subprocess.run(
        [sys.executable, "-c", textwrap.dedent(FAULTY), *options],
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        check=False,
        timeout=500,
    )
    return json.loads(output.read_bytes())


@pytest.mark.parametrize("kind", KINDS)
def test_a_fault_that_is_built_in_is_found(found, kind):
    assert any(KINDS[kind] in failure for failure in found[kind]["failures"])
    assert found[kind]["failed"] > 0
