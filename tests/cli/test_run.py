import json
from pathlib import Path

import pandas as pd
import pytest
from cli.conftest import CELL

from daam_bench.records import read_record

WORDS = ("--configfile", "tiny.yaml")
RUN = "runs/vader/minilm-l6/daam_v2"


def test_one_replica_is_that_of_the_whole_job(work, data_of):
    code, (found,) = data_of("run", *CELL, "--fold", 1, "--seed", 1, *WORDS, "--output", "one")
    assert code == 0
    whole = read_record(Path("results") / RUN / "fold1_seed1.json")
    assert (found["key"], found["score"]) == (whole.key, whole.score)
    first, second = (pd.read_parquet(Path(f) / RUN / "fold1_seed1.parquet") for f in ("one", "results"))
    pd.testing.assert_frame_equal(first, second)
    assert not (Path("one") / RUN / "finished.json").exists()  # a part makes no tables
    assert not Path("one/embeddings").exists()  # the cache of the results is the one that is wanted


def test_without_a_cache_it_makes_one(work, data_of):
    code, (found,) = data_of(
        "run", *CELL, "--fold", 1, "--seed", 1, *WORDS, "--results", "none", "--output", "one"
    )
    assert code == 0
    manifest = json.loads(Path("one/embeddings/vader/minilm-l6/manifest.json").read_text())
    assert manifest["digest"] == found["cache_identity"]
    assert read_record(Path("results") / RUN / "fold1_seed1.json").score == found["score"]


def test_another_configuration_never_meets_the_cache_of_the_results(work, data_of):
    Path("less.yaml").write_text("datasets: {vader: {samples_per_group: 32}}")
    _, (found,) = data_of(
        "run", *CELL, "--fold", 0, "--seed", 0, *WORDS, "--configfile", "less.yaml", "--output", "one"
    )
    assert found["validation_samples"] == 32
    assert found["cache_identity"] != read_record(Path("results") / RUN / "fold0_seed0.json").cache_identity


def test_a_variant_that_the_experiment_does_not_list_can_be_run(work, data_of):
    code, (found,) = data_of(
        "run", "vader", "minilm-l6", "softmax_sum", "--fold", 0, "--seed", 5, *WORDS, "--output", "one"
    )
    assert code == 0
    assert (found["variant"], found["seed"], found["training"]["epochs"]) == ("softmax_sum", 5, 2)


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (("vadr", "minilm-l6", "mha"), 2, "Did you mean 'vader'"),
        (("vader", "minilm-l6", "mhaa"), 2, "'mha'"),
        (("vader", "minilm-l6", "mha", "--fold", "4"), 2, "0 to 3"),
        (("vader", "minilm-l6"), 2, "DATASET ENCODER VARIANT"),
        (("--record", "nothing.json", "--cache", "x"), 6, "no such run record"),
        (("--record", "tiny.yaml"), 6, "--cache"),
    ],
)
def test_mistakes_are_one_line(work, call, words, code, said):
    found, _, err = call("run", *words, *WORDS)
    assert found == code
    assert said in err and len(err.splitlines()) == 1


def test_the_encoder_itself_can_be_tuned_and_its_record_repeated(work, data_of):
    words = ("run", "vader", "minilm-l6", "encoder_lora_r4", "--fold", 0, "--seed", 0)
    code, (found,) = data_of(*words, *WORDS, "--output", "one")
    assert code == 0
    assert (found["kind"], found["variant"]) == ("encoder_tuning", "encoder_lora_r4")
    assert found["cache_identity"] == read_record(Path("results") / RUN / "fold0_seed0.json").cache_identity
    record = Path("one/runs/vader/minilm-l6/encoder_lora_r4/fold0_seed0.json")
    cache = Path("results/embeddings/vader/minilm-l6")
    code, (again,) = data_of("run", "--record", record, "--cache", cache, "--output", "two")
    assert code == 0
    assert (again["key"], again["score"], again["epochs"]) == (found["key"], found["score"], found["epochs"])
