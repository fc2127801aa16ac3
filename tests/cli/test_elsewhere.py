"""Results in another folder than ./results, and labels and names that other programs would read their way."""

import shutil
from pathlib import Path

import pytest

from daam_bench.cache.plot import plot_cache
from daam_bench.cache.reader import EmbeddingCache

CELL = "accuracy_summary.csv:daam_v2:mean_percent"


@pytest.mark.parametrize("folder", ["elsewhere/mine", "tables"])
def test_a_table_named_by_its_file_has_the_cache_beside_it(work, data_of, call, folder):
    Path(folder).parent.mkdir(exist_ok=True)
    shutil.move("results", folder)
    code, data = data_of("explain", f"{folder}/tables/{CELL}")
    assert code == 0 and data["caches"]
    assert {Path(cache["folder"]).is_relative_to(folder) for cache in data["caches"].values()} == {True}
    assert data["command"].endswith(f"--results {folder}")
    _, out, _ = call("explain", f"{folder}/tables/{CELL}")
    assert f"--results {folder} --repeat repeated" in out


def test_a_file_in_the_working_folder_has_the_results_above_it(work, data_of, monkeypatch):
    monkeypatch.chdir("results/tables")
    code, data = data_of("explain", CELL)
    assert code == 0
    assert data["command"].endswith(f"--results {work.resolve() / 'results'}")


def test_a_class_name_is_no_formula(work, monkeypatch):
    monkeypatch.setattr(EmbeddingCache, "class_names", ["a $x_$ b", r"$\nothing$", "5 $"])
    assert plot_cache(Path("results/embeddings/vader/minilm-l6"), Path("c.svg")).stat().st_size > 1000


@pytest.mark.parametrize("name", ["class", "import", "lambda", "torch", "json", "math", "numpy", "sys"])
def test_a_name_that_python_has_is_no_variant(here, call, name):
    code, _, err = call("new", "variant", name)
    assert code == 2 and f"my_{name}" in err and len(err.splitlines()) == 1
    assert not list(here.iterdir())


def test_a_module_of_ones_own_may_be_replaced(here, call, monkeypatch):
    monkeypatch.syspath_prepend(str(here))
    for words in (("new", "variant", "idea"), ("new", "variant", "idea", "--force")):
        assert call(*words)[0] == 0
