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
    "kills_training": "differs in",
    "damages_zarr": "verify finds nothing",
    "damages_hdf5": "verify finds nothing",
    "bad_inputs": "was accepted",
    "write_faults": "a traceback",
    "writer_races": "differs in",
}
FAULTY = """
    import os
    from types import SimpleNamespace

    from benchmarks.torture import __main__, damages, inputs
    from benchmarks.torture.world import StandIn
    from daam_bench import cli
    from daam_bench.steps import step_app
    from daam_bench.training import job

    # What is computed, and its score, is another in each process.
    encode = StandIn.encode
    StandIn.encode = lambda self, prepared: encode(self, prepared) + os.getpid() % 2**13
    job.score = lambda *_: os.getpid() / 2**23
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
