"""The paper beside ours: matching, intervals and verdicts."""

import math
from pathlib import Path

import numpy as np
import pytest
from analysis.conftest import make_record
from scipy import stats

from daam_bench.analysis.paper.ablation import Ablated, AblationCell, other_layers
from daam_bench.analysis.paper.compare import compare_with_paper
from daam_bench.analysis.paper.ours import accuracy, further_run, spread_interval
from daam_bench.analysis.paper.printed import printed_cells
from daam_bench.analysis.paper.settings import SETTINGS, departures
from daam_bench.config import Protocol
from daam_bench.config.merge import load_merged
from daam_bench.plan import make_plan
from daam_bench.studies.names import Pick

TRAINING = {"epochs": 35, "decoder_channels": 512, "batch_size": 8, "learning_rate": 1e-4, "loss": "focal"}
PAPER = Protocol.model_validate("paper").model_dump()


def iemocap(variant, fold, score, seed=0, **changes):
    """Return a record of the paper's first setting, under names of the user's own."""
    facts = {
        "dataset": "emotions",
        "encoder": "my-encoder",
        "dataset_kind": "iemocap",
        "encoder_model": "microsoft/wavlm-large",
        "cache_shape": (5531, 24, 1024),
        "protocol": PAPER,
        "training": TRAINING,
        "validation_samples": 1000,
        "parameters_attention": 16384,
        "parameters_with_decoder": 238104,
    }
    return make_record(variant, fold, seed, score, **(facts | changes))


def cells(records, ablated=(), **wanted):
    frame = compare_with_paper(records, ablated)
    for column, value in wanted.items():
        frame = frame[frame[column] == value]
    return frame


def cell(records, ablated=(), **wanted):
    (row,) = cells(records, ablated, **wanted).to_dict("records")
    return row


def folds(variant, scores, **changes):
    return [iemocap(variant, fold, score, **changes) for fold, score in enumerate(scores)]


def test_every_printed_number_has_a_source():
    printed = printed_cells()
    assert printed["source"].str.startswith("arXiv 2401.11143, ").all()
    assert printed["quantity"].value_counts()["accuracy"] == 130
    assert printed["printed"].notna().all()
    assert (printed["printed_high"] >= printed["printed"]).all()


def test_printed_means_and_spreads_beside_those_of_the_printed_runs():
    """The mean of the mixture on IEMOCAP is 0.12 above that of its runs; not all spreads have ddof 0."""
    printed = printed_cells()
    keys = ["paper_dataset", "paper_variant"]
    runs = printed[printed["quantity"] == "accuracy"].groupby(keys)["printed"]
    table = printed.pivot_table(index=keys, columns="quantity", values="printed").loc[runs.mean().index]
    assert (runs.mean() - table["mean accuracy"]).abs().max() == pytest.approx(0.12)
    population, sample = ((runs.std(ddof=ddof) - table["spread"]).abs() for ddof in (0, 1))
    assert len(population) == 30
    assert (population < sample).sum() == 24
    assert population["iemocap", "daam_v1"] < 0.006
    assert sample["iemocap", "mha_bn"] < 0.01


def test_what_was_not_run_is_listed():
    found = compare_with_paper([make_record("daam_v1", 0, 0, 0.5)])
    assert len(found) == len(printed_cells())
    assert set(found["verdict"]) == {"not run"}


def test_a_free_name_alone_is_no_match():
    named = [make_record("daam_v1", 0, 0, 0.5, dataset="iemocap", encoder="wavlm-large")]
    assert set(compare_with_paper(named)["verdict"]) == {"not run"}


@pytest.mark.parametrize(
    "change",
    [
        {"dataset_kind": "table"},
        {"encoder_model": "microsoft/wavlm-base"},
        {"cache_shape": (5531, 12, 768)},
        {"cache_shape": None},
    ],
)
def test_kind_model_and_size_must_all_be_the_papers(change):
    assert not any(setting.is_of(iemocap("daam_v1", 0, 0.5, **change)) for setting in SETTINGS)
    assert SETTINGS[0].is_of(iemocap("daam_v1", 0, 0.5))


@pytest.mark.parametrize(
    ("scores", "verdict"),
    [
        ([0.672, 0.646, 0.681, 0.679, 0.690], "inside"),
        ([0.900, 0.901, 0.902, 0.900, 0.901], "above"),
        ([0.400, 0.401, 0.402, 0.400, 0.401], "below"),
    ],
)
def test_verdicts_say_where_ours_lies(scores, verdict):
    row = cell(folds("daam_v1", scores), paper_variant="daam_v1", quantity="mean accuracy", verdict=verdict)
    assert (row["printed"], row["runs"]) == (67.4, 5)
    assert row["ours"] == pytest.approx(100 * np.mean(scores))
    assert row["low"] < row["ours"] < row["high"]


@pytest.mark.parametrize("scores", [[0.2, 0.999, 0.998], [0.001, 0.002, 0.9]])
def test_the_interval_of_a_mean_ends_where_scores_do(scores):
    wanted = {"paper_dataset": "iemocap", "paper_variant": "daam_v1", "quantity": "mean accuracy"}
    row = cell(folds("daam_v1", scores), **wanted)
    assert 0 <= row["low"] < row["ours"] < row["high"] <= 100
    assert row["low"] == 0 or row["high"] == 100


def test_folds_are_compared_with_folds():
    rows = cells(folds("daam_v1", [0.6, 0.7]), paper_variant="daam_v1", quantity="accuracy")
    rows = rows[rows["paper_dataset"] == "iemocap"].set_index("cell")
    assert rows.loc["F2", "ours"] == pytest.approx(70)
    assert rows.loc["F3", "verdict"] == "not run"
    # A single run: Wilson's interval of 700 of 1,000.
    low, high = rows.loc["F2", ["low", "high"]]
    wilson = stats.binomtest(700, 1000).proportion_ci(method="wilson")
    assert (low, high) == (pytest.approx(100 * wilson.low), pytest.approx(100 * wilson.high))


def test_several_seeds_predict_one_further_run():
    runs = [iemocap("daam_v1", 0, score, seed) for seed, score in enumerate((0.60, 0.62, 0.64))]
    found = accuracy(runs, "F1", "folds")
    half = stats.t.ppf(0.975, 2) * 2 * math.sqrt(1 + 1 / 3)
    assert (found.low, found.high) == (pytest.approx(62 - half), pytest.approx(62 + half))


@pytest.mark.parametrize("count", [3, 5])
def test_the_prediction_interval_holds_a_further_run(count):
    rng = np.random.default_rng(29)
    held = 0
    for _ in range(2000):
        low, high = further_run(rng.normal(60, 2, count))
        held += low <= rng.normal(60, 2) <= high
    assert stats.binom.ppf(0.001, 2000, 0.95) <= held <= stats.binom.ppf(0.999, 2000, 0.95)


def test_the_interval_of_a_spread_is_that_of_the_variance():
    values = np.array([1.0, 4.0, 6.0, 9.0])
    low, high = spread_interval(values)
    squares = np.sum((values - 5) ** 2)
    variances = [squares / stats.chi2.ppf(q, 3) for q in (0.975, 0.025)]
    assert [low, high] == pytest.approx([math.sqrt(v * 3 / 4) for v in variances])
    assert all(map(math.isnan, spread_interval([1.0])))


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"protocol": Protocol.model_validate("corrected").model_dump()}, "protocol corrected"),
        ({"protocol": PAPER | {"select": "inner"}}, "select inner instead of last"),
        ({"training": TRAINING | {"epochs": 4}}, "epochs 4 instead of 35"),
        ({"training": TRAINING | {"loss": "cross_entropy"}}, "loss cross_entropy instead of focal"),
        ({"metric": "macro_f1"}, "ours is macro f1"),
    ],
)
def test_what_differs_is_not_compared(change, reason):
    row = cell(
        folds("daam_v1", [0.6, 0.7], **change),
        paper_dataset="iemocap",
        paper_variant="daam_v1",
        quantity="mean accuracy",
    )
    assert (row["verdict"], row["reason"]) == ("not comparable", reason)
    assert row["ours"] == pytest.approx(65)


def test_a_part_of_the_data_is_not_compared():
    setting = SETTINGS[1]
    record = iemocap("daam_v1", 0, 0.9, cache_shape=(1000, 40, 5120), training=TRAINING | setting.training)
    assert departures(setting, [record]) == ["1,000 of 127,600 samples"]


def test_cached_lora_is_not_the_papers_lora():
    records = folds("lora_r4", [0.6, 0.7])
    rows = cells(records, paper_dataset="iemocap", paper_variant="lora_r4")
    assert set(rows["verdict"]) == {"not comparable"}
    assert "adapts the encoder" in rows["reason"].iloc[0]
    both = [*records, *folds("encoder_lora_r4", [0.51, 0.53])]
    row = cell(both, paper_dataset="iemocap", paper_variant="lora_r4", quantity="mean accuracy")
    assert (row["variant"], row["ours"]) == ("encoder_lora_r4", pytest.approx(52))


TUNED = {"kind": "encoder_tuning", "training": {k: v for k, v in TRAINING.items() if k != "decoder_channels"}}


def test_encoder_lora_is_compared_though_it_has_no_decoder():
    records = folds("encoder_lora_r4", [0.51, 0.53], **TUNED, parameters_with_decoder=393_216)
    row = cell(records, paper_dataset="iemocap", paper_variant="lora_r4", quantity="mean accuracy")
    assert row["verdict"] in ("inside", "above", "below")
    row = cell(records, paper_variant="lora_r4", quantity="parameters")
    # 24 layers x 2 projections x A and B of rank 4 over 1,024 features.
    assert (row["ours"], row["printed"], row["verdict"]) == (pytest.approx(0.393216), 0.39, "inside")


def test_encoder_lora_as_released_has_the_released_budget():
    released = Protocol.model_validate("released").model_dump()
    setting = SETTINGS[1]
    found = []
    for changes in ({"epochs": 1, "batch_size": 4, "learning_rate": 1e-6}, {}):
        training = TUNED["training"] | setting.training | changes
        shape = (127_600, 40, 5120)
        facts = {"kind": "encoder_tuning", "protocol": released, "training": training, "cache_shape": shape}
        found.append(departures(setting, [iemocap("encoder_lora_r4", 0, 0.9, **facts)]))
    assert found[0] == []
    assert found[1] == [
        "epochs 35 instead of 1",
        "batch size 32 instead of 4",
        "learning rate 5e-05 instead of 1e-06",
    ]


def test_parameters_are_held_against_the_printed_range():
    records = folds("daam_v1", [0.6, 0.7])
    row = cell(records, paper_variant="daam_v1", quantity="parameters")
    assert (row["printed"], row["printed_high"], row["ours"]) == (0.22, 0.45, pytest.approx(0.238104))
    assert row["verdict"] == "inside"
    other = folds("daam_v1", [0.6], training=TRAINING | {"decoder_channels": 32})
    assert cell(other, paper_variant="daam_v1", quantity="parameters")["verdict"] == "not comparable"
    assert cell(other, paper_variant="daam_v1", quantity="attention parameters")["verdict"] == "inside"


def test_learned_ranges_are_compared_by_their_ends():
    ranges = [{"mean_offset": (-0.05, 0.11)}, {"mean_offset": (-0.07, 0.09)}]
    records = [iemocap("daam_v1", fold, 0.6, parameter_ranges=found) for fold, found in enumerate(ranges)]
    row = cell(records, paper_dataset="iemocap", quantity="mean offset", cell="min")
    assert (row["printed"], row["ours"], row["verdict"]) == (-0.06, -0.07, "inside")


ABLATION = {"paper_dataset": "iemocap", "quantity": "ablated accuracy"}


def ablated(pick, scores, layers=(9,), seeds=1, **changes):
    """Return runs on some layers, one score a fold."""
    return [
        Ablated(Pick.parse(pick), iemocap("daam_v1", fold, score, seed, layers=list(layers), **changes))
        for fold, score in enumerate(scores)
        for seed in range(seeds)
    ]


def test_the_ablation_is_compared_fold_by_fold():
    runs = ablated("top-1", [0.659, 0.9, 0.3]) + ablated("bottom-1", [0.628], layers=[23])
    rows = cells(folds("daam_v1", [0.6, 0.7]), runs, **ABLATION).set_index("cell")
    assert len(rows) == 10
    assert rows.loc["high IF, layers 9, F1", "ours"] == pytest.approx(65.9)
    verdicts = [rows.loc[f"high IF, layers 9, F{fold}", "verdict"] for fold in (1, 2, 3)]
    assert verdicts == ["inside", "above", "below"]
    assert (rows.loc["low IF, layers 23, F1", "ours"], rows.loc["low IF, layers 23, F1", "verdict"]) == (
        pytest.approx(62.8),
        "inside",
    )
    assert rows.loc["high IF, layers 9, F4", "reason"] == "this fold was not run"
    assert set(rows.loc[rows["verdict"] != "not run", "reason"]) == {""}


def test_other_layers_than_the_papers_are_named():
    rows = cells(folds("daam_v1", [0.6, 0.7]), ablated("top-1", [0.659], layers=[7]), **ABLATION)
    row = rows.set_index("cell").loc["high IF, layers 9, F1"]
    assert (row["verdict"], row["reason"]) == ("inside", "ours kept 7, the paper 9")
    assert other_layers("low IF, layers 37-39", [make_record("x", 0, 0, 0.5, layers=[1, 2, 3])]) == (
        "ours kept 1-3, the paper 37-39"
    )


def test_an_ablation_under_other_settings_is_not_compared():
    runs = ablated("top-1", [0.659], training=TRAINING | {"epochs": 4})
    row = cell(folds("daam_v1", [0.6]), runs, cell="high IF, layers 9, F1")
    assert (row["verdict"], row["reason"]) == ("not comparable", "epochs 4 instead of 35")


@pytest.mark.parametrize("pick", ["top-3", "top_block-3", "random-1-1", "bottom-1"])
def test_another_choice_of_layers_is_not_the_papers(pick):
    row = cell(folds("daam_v1", [0.6]), ablated(pick, [0.659]), cell="high IF, layers 9, F1")
    assert (row["verdict"], row["reason"]) == ("not run", "the ablation that keeps one layer was not run")


def test_another_variant_or_cache_is_not_the_papers():
    other = [
        Ablated(a.pick, a.record.model_copy(update={"variant": "gqdaam"})) for a in ablated("top-1", [0.7])
    ]
    elsewhere = ablated("top-1", [0.7], dataset="another")
    assert (
        cell(folds("daam_v1", [0.6]), other + elsewhere, cell="high IF, layers 9, F1")["verdict"] == "not run"
    )


def test_a_block_of_one_dataset_is_compared_over_seeds():
    facts = {
        "dataset_kind": "ag_news",
        "encoder_model": "meta-llama/Llama-2-13b-hf",
        "cache_shape": (127_600, 40, 5120),
        "training": TRAINING | SETTINGS[1].training,
    }
    seeds = [0.948, 0.949, 0.950]
    records = [iemocap("daam_v1", 0, score, seed, **facts) for seed, score in enumerate(seeds)]
    runs = [
        Ablated(Pick("top", 3, block=True), record.model_copy(update={"layers": [19, 20, 21]}))
        for record in records
    ]
    row = cell(records, runs, cell="high IF, layers 19-21")
    assert (row["runs"], row["verdict"], row["interval"]) == (3, "inside", "one further run")
    assert (row["low"], row["high"]) == pytest.approx(further_run([94.8, 94.9, 95.0]))
    assert cell(records, runs, cell="low IF, layers 37-39")["reason"] == (
        "the ablation that keeps a block of 3 layers was not run"
    )


def test_cells_of_the_ablation_are_read_back():
    printed = printed_cells()
    names = printed.loc[printed["quantity"] == "ablated accuracy", "cell"]
    assert len(names) == 14
    assert [AblationCell.parse(name).name for name in names] == list(names)
    with pytest.raises(ValueError, match="no cell"):
        AblationCell.parse("F1")


def test_the_papers_configuration_runs_what_the_paper_ablates():
    root = Path(__file__).parents[2]
    config = load_merged(root / "config.yaml", [root / "config/paper.yaml"])
    jobs = [job for job in make_plan(config).studies if job.pick]
    printed = printed_cells()
    wanted = printed[printed["quantity"] == "ablated accuracy"]
    served = {
        (row.paper_dataset, job.name)
        for row in wanted.itertuples()
        for job in jobs
        if (job.dataset, job.variant) == (row.paper_dataset, row.paper_variant)
        and AblationCell.parse(row.cell).is_of(job.pick)
    }
    # Every job is the paper's, and every printed choice has its job: two a dataset.
    assert len(served) == len(jobs) == 6
