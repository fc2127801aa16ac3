"""The tables of studies, against numbers found by hand."""

import math

import pandas as pd
import pytest
from analysis.conftest import make_record, with_, write_runs
from scipy import stats

from daam_bench.analysis.names import study_figure_names, study_table_names
from daam_bench.analysis.report import write_report
from daam_bench.analysis.studies.frames import run_frame
from daam_bench.analysis.tables import Results, find_table, make_tables, write_study_tables
from daam_bench.analysis.tables.effects import paired_effect
from daam_bench.analysis.tables.selection_worth import chosen_scores
from daam_bench.config import Protocol
from daam_bench.records import EpochRecord, write_finished, write_record


def epoch(number, validation, inner=None):
    return EpochRecord(
        epoch=number, learning_rate=0.1, train_loss=1.0, validation_score=validation, inner_score=inner
    )


@pytest.fixture
def runs(tmp_path):
    """Return two variants on two folds and two seeds."""
    base = tmp_path / "runs/toy_data/tiny"
    return [
        write_runs(base / "mha", "mha", [[0.5, 0.7], [0.6, 0.8]]),
        write_runs(base / "daam_v1", "daam_v1", [[0.6, 0.6], [0.7, 0.7]]),
    ]


@pytest.fixture
def studies(tmp_path):
    """Return the same under other protocols, switches and layers."""
    base = tmp_path / "studies/toy_data/tiny"
    released, adamw = Protocol.model_validate("released"), with_(optimizer="adamw")
    best = with_(select="best_validation")
    made = [
        write_runs(base / "protocol-released/mha", "mha", [[0.6, 0.8], [0.8, 1.0]], released),
        write_runs(base / "switch-optimizer-adamw/mha", "mha", [[0.4, 0.6], [0.6, 0.8]], adamw),
        write_runs(base / "switch-optimizer-adamw/daam_v1", "daam_v1", [[0.9, 0.9], [0.8, 0.8]], adamw),
        write_runs(base / "switch-select-best_validation/mha", "mha", [[0.5, 0.7], [0.6, 0.8]], best),
    ]
    ablated = {
        "top-1": [[0.6, 0.8], [0.5, 0.7]],
        "bottom-1": [[0.3, 0.3], [0.4, 0.4]],
        "random-1-1": [[0.4, 0.4], [0.4, 0.4]],
        "random-1-2": [[0.6, 0.6], [0.2, 0.2]],
    }
    for number, (pick, scores) in enumerate(ablated.items()):
        place = base / f"layers-{pick}/daam_v1"
        made.append(write_runs(place, "daam_v1", scores, layers=[number + 1]))
    return made


def half_width(differences, ratio):
    """Return the half width of Nadeau and Bengio's interval by its formula."""
    count = len(differences)
    spread = pd.Series(differences).std(ddof=1)
    return stats.t.ppf(0.975, count - 1) * spread * math.sqrt(1 / count + ratio)


def test_paired_effect_by_hand(runs):
    frame = run_frame(Results(runs))
    mha, daam = (frame[frame["variant"] == v].assign(variant="x") for v in ("mha", "daam_v1"))
    # Seeds averaged: mha 60 and 70, daam 60 and 70; shifted by 10 and by 20.
    moved = daam.assign(score_percent=daam["score_percent"] + 10 * (1 + daam["fold"]))
    half = half_width([10, 20], 30 / 70)
    for effect, sign in ((paired_effect(moved, mha), 1), (paired_effect(mha, moved), -1)):
        assert effect["effect_percent"] == pytest.approx(sign * 15)
        ends = effect["low_percent"], effect["high_percent"]
        assert ends == pytest.approx((sign * 15 - half, sign * 15 + half))
        assert effect["p"] == pytest.approx(2 * stats.t.sf(15 / (half / stats.t.ppf(0.975, 1)), 1))


@pytest.mark.parametrize(
    ("epochs", "inner", "last", "best"),
    [
        ([epoch(1, 0.3, 0.9), epoch(2, 0.8, 0.5), epoch(3, 0.6, 0.7)], 30, 60, 80),
        # Of equal ones the first.
        ([epoch(1, 0.2, 0.0), epoch(2, 0.4, 0.0)], 20, 40, 40),
    ],
)
def test_what_each_choice_of_the_epoch_gives(epochs, inner, last, best):
    assert chosen_scores(epochs) == pytest.approx({"inner": inner, "last": last, "best_validation": best})


def test_without_a_held_out_part_there_is_no_inner():
    assert math.isnan(chosen_scores([epoch(1, 0.2)])["inner"])


def test_the_worth_of_the_choice_is_paired(tmp_path):
    epochs = {0: [epoch(1, 0.4, 0.9), epoch(2, 0.6, 0.1)], 1: [epoch(1, 0.5, 0.9), epoch(2, 0.3, 0.1)]}
    records = [make_record("mha", fold, 0, 0.5, epochs=list(epochs[fold])) for fold in epochs]
    for record in records:
        write_record(tmp_path / "mha", record)
    write_finished(tmp_path / "mha", records)
    row = find_table("selection_worth").values(Results([tmp_path / "mha"])).iloc[0]
    assert (row["inner_percent"], row["last_percent"]) == pytest.approx((45, 45))
    assert row["best_validation_percent"] == pytest.approx(55)
    # Last against inner: +20 and -20; best against inner: +20 and 0.
    assert row["last_effect_percent"] == pytest.approx(0)
    assert row["best_validation_effect_percent"] == pytest.approx(10)
    half = half_width([20, 0], 30 / 70)
    assert row["best_validation_high_percent"] == pytest.approx(10 + half)


def test_protocols_by_hand(runs, studies):
    frame = make_tables(runs, studies)["protocols"].set_index(["variant", "protocol"])
    assert list(frame.index) == [("mha", "corrected"), ("mha", "released")]
    released = frame.loc[("mha", "released")]
    assert released["mean_percent"] == pytest.approx(80)
    assert released["effect_percent"] == pytest.approx(15)  # fold means 60, 70 become 70, 90
    assert frame["optimistic"].tolist() == [False, True]
    assert math.isnan(frame.loc[("mha", "corrected"), "effect_percent"])


def test_switch_effects_by_hand(runs, studies):
    frame = make_tables(runs, studies)["switch_effects"]
    ran = frame[frame["value"] != ""].set_index(["switch", "variant"])
    mha, daam = ran.loc[("optimizer", "mha")], ran.loc[("optimizer", "daam_v1")]
    assert (mha["effect_percent"], daam["effect_percent"]) == pytest.approx((-5, 20))
    assert ran.loc[("optimizer", "touched"), "effect_percent"] == pytest.approx(7.5)
    assert (mha["base"], mha["value"], mha["label"]) == ("adam", "adamw", "D4")
    assert (mha["same_runs"], mha["runs"]) == (2, 4)
    best = ran.loc[("select", "mha")]
    assert (best["effect_percent"], best["same_runs"], best["optimistic"]) == (0, 4, True)
    # Three tests: the largest p is left, the smallest trebled, none above 1.
    tested = ran.drop(("optimizer", "touched"))
    assert tested["p_holm"].min() == pytest.approx(min(1, 3 * tested["p"].min()))
    assert math.isnan(ran.loc[("optimizer", "touched"), "p_holm"])


def test_switches_that_nothing_was_trained_for_are_listed(runs, studies):
    frame = make_tables(runs, studies)["switch_effects"].set_index("switch")
    assert frame.loc["encoder_lora_targets", "note"] == "not run: needs encoder LoRA"
    assert set(frame["label"]) >= {f"D{number}" for number in range(1, 10)}


def test_layer_ablation_by_hand(runs, studies):
    tables = make_tables(runs, studies)
    curve = tables["layer_ablation_curve"].set_index("side")
    assert curve["mean_percent"].to_dict() == pytest.approx(
        {"top": 65, "bottom": 35, "random": 40, "all": 65}
    )
    # Fold means: top 70, 60, bottom 30, 40, random (40 + 60) / 2 and (40 + 20) / 2.
    assert curve.loc["top", "effect_percent"] == pytest.approx(30)
    assert curve.loc["random", "effect_percent"] == pytest.approx(5)
    half = half_width([40, 20], 30 / 70)
    assert curve.loc["top", "low_percent"] == pytest.approx(30 - half)
    by_fold = tables["layer_ablation"].set_index(["importance", "draw", "fold"])
    assert by_fold.loc[("high", 0, 0), "mean_percent"] == pytest.approx(70)
    assert by_fold.loc[("high", 0, 0), "std_percent"] == pytest.approx(10)
    assert by_fold.loc[("random", 2, 1), "layers"] == "4"
    assert by_fold.loc[("all", 0, 1), "layers"] == "all"


def test_every_table_is_written_under_the_planned_names(runs, studies, tmp_path):
    paths = write_study_tables(runs, studies, tmp_path)
    assert [path.name for path in paths] == study_table_names({"protocol", "switch", "layers"})
    assert [path.name for path in write_study_tables(runs, [], tmp_path)] == study_table_names(())
    assert study_figure_names([("a", "b", "c", True)])[0] == "block_ablation_a_b_c.png"


def test_optimistic_numbers_are_marked_wherever_they_are_shown(runs, studies):
    shown = {name: find_table(name).readable(f) for name, f in make_tables(runs, studies).items()}
    protocols = shown["protocols"].plain()
    assert protocols.loc[0, "released, accuracy (%)"].startswith("80.0 ± 14.1*")
    assert "*" not in protocols.loc[0, "corrected, accuracy (%)"]
    switches = shown["switch_effects"].plain().set_index("Change")["Effect (points)"]
    assert switches["inner to best_validation"].endswith("*")
    assert not switches["adam to adamw"].str.contains(r"\*").any()
    for name, optimistic in (("protocols", True), ("switch_effects", True), ("layer_ablation", False)):
        assert ("optimistic:" in find_table(name).full_caption(shown[name])) == optimistic


def test_the_report_shows_the_studies(runs, studies, tmp_path):
    out = tmp_path / "report.html"
    baseline = tmp_path / "runs/toy_data/tiny/best_single_layer"
    write_runs(baseline, "best_single_layer", [[0.4], [0.5]], kind="baseline", note="layer 2")
    write_report([*runs, baseline], tmp_path / "figures", [], out, "title", [], studies)
    page = out.read_text()
    assert "inner to best_validation" in page
    assert "protocol-released/mha/finished.json" in page
