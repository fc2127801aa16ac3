import io
import re
from pathlib import Path

import pandas as pd
import pytest
from cache.test_extraction import Lengths
from rich.console import Console
from rich.progress import Progress

from daam_bench.cache import rates as module
from daam_bench.cache.batches import encode_runs
from daam_bench.cache.rates import Rates


@pytest.fixture
def clock(monkeypatch):
    """Let time pass by hand."""
    now = [100.0]
    monkeypatch.setattr(module, "perf_counter", lambda: now[0])
    return now


def test_samples_and_units_are_counted_with_their_rates(clock):
    frame = pd.DataFrame({"sample_id": list("abcdefg"), "size": [7, 2, -3, 11, 0, 5, 13]})
    rates = Rates(Lengths(), Progress(disable=True), "lengths", 9)
    list(encode_runs(Lengths(), [frame[:3], frame[3:]], Path(), rates.encoded))
    rates.reused(2)
    clock[0] += 4
    positions = 7 + 2 + 3 + 11 + 5 + 13
    assert rates.measured() == {
        "computed_samples": 7,
        "reused_samples": 2,
        "units": positions / 2,
        "seconds": 4,
        "samples_per_second": 7 / 4,
        "unit": "lengths",
        "units_per_second": positions / 2 / 4,
    }


def test_nothing_computed_has_no_rate():
    rates = Rates(Lengths(), Progress(disable=True), "lengths", 3)
    rates.reused(3)
    assert rates.measured() == {"computed_samples": 0, "reused_samples": 3}


def test_the_bar_shows_the_second_rate(clock):
    out = io.StringIO()
    console = Console(file=out, force_terminal=True, width=100)
    with Progress("{task.description} {task.fields[second]} {task.completed}", console=console) as bar:
        rates = Rates(Lengths(), bar, "lengths", 3)
        clock[0] += 2
        rates.encoded(3, 40)
    assert re.search(r"lengths 10 lengths/s 3", out.getvalue())
