"""The benchmark on a GPU: its code, tried with small models."""

import json
import runpy
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[2] / "benchmarks" / "gpu.py"


@pytest.fixture
def run(tmp_path, monkeypatch):
    """Return what runs the benchmark in a folder of its own."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(SCRIPT.parent)

    def run_with(*options):
        monkeypatch.setattr("sys.argv", [str(SCRIPT), *options])
        runpy.run_path(str(SCRIPT), run_name="__main__")

    return run_with


def test_it_measures_both_models(run):
    run("--tiny", "--samples", "7")
    found = json.loads(Path("results/benchmarks/gpu_tiny.json").read_bytes())
    for name in ("beit_large", "wavlm_large"):
        rates = [found[f"{name}_samples_per_second_{way}"] for way in ("bare", "extraction")]
        assert min(rates) > 0
        assert found[f"{name}_extraction_over_bare_forward"] > 0
        assert len(found["raw"][name]["seconds"]["bare"]) == 5


def test_nothing_is_run_without_a_gpu(run, monkeypatch, capsys):
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    run()
    assert capsys.readouterr().out == "no GPU here: not run\n"
    assert not Path("results").exists()
