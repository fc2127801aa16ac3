import io
import math
import re
from pkgutil import iter_modules

import numpy as np
import pandas as pd
import pytest
from analysis.conftest import make_record, write_predictions, write_runs
from scipy import stats

from daam_bench.analysis import tables
from daam_bench.analysis.aggregate import read_all, replica_frame, summary_frame
from daam_bench.analysis.names import TABLES, table_names
from daam_bench.analysis.report import write_report
from daam_bench.analysis.tables import Results, find_table, make_tables, write_study_tables, write_tables
from daam_bench.analysis.tables.write import escape_latex
from daam_bench.errors import RecordError
from daam_bench.records import FINISHED, write_finished, write_record


@pytest.fixture
def summary(folders):
    return summary_frame(replica_frame(read_all(folders))).set_index("variant")


def test_mean_and_population_standard_deviation_by_hand(summary):
    assert summary.loc["mha", "mean_percent"] == pytest.approx(65)
    # Deviations of 50, 60, 70, 80 from 65: sqrt((225 + 25 + 25 + 225) / 4).
    assert summary.loc["mha", "std_percent"] == pytest.approx(math.sqrt(125))
    assert (summary.loc["mha", "folds"], summary.loc["mha", "seeds"]) == (2, 2)


def test_an_interval_is_not_cut_where_it_need_not_be(folders):
    replicas = replica_frame(read_all(folders)).assign(train_samples=30_000)
    replicas["score_percent"] = 50 + replicas["score_percent"] / 100
    row = summary_frame(replicas).set_index("variant").loc["mha"]
    half = stats.t.ppf(0.975, 1) * 0.2 / math.sqrt(2) * math.sqrt(1 / 2 + 30 / 30_000)
    assert [row["low_percent"], row["high_percent"]] == pytest.approx([50.65 - half, 50.65 + half])


def test_gains_are_paired_by_fold(summary):
    # Majority: 20 and 30; best layer: 30 and 40.
    assert summary.loc["mha", "gain_over_majority"] == pytest.approx((30 + 40 + 40 + 50) / 4)
    assert summary.loc["daam_v1", "gain_over_best_single_layer"] == pytest.approx((30 + 30 + 20 + 20) / 4)
    assert summary.loc["best_single_layer", "gain_over_majority"] == pytest.approx(10)


def test_order_is_baselines_then_presets(summary):
    assert list(summary.index) == ["majority", "best_single_layer", "mha", "daam_v1"]


def test_intervals_are_over_folds_with_seeds_averaged(summary):
    # Folds of mha: 55 and 75; standard deviation 20 / sqrt 2, validation over training samples 30 / 70.
    half = stats.t.ppf(0.975, 1) * 20 / math.sqrt(2) * math.sqrt(1 / 2 + 30 / 70)
    found = summary.loc["mha", ["low_percent", "high_percent"]].tolist()
    assert 65 - half < 0  # a score is none of these
    assert found == [0, 100]
    # Gains over the majority: 30 and 40 on fold 0, 40 and 50 on fold 1.
    half = stats.t.ppf(0.975, 1) * 10 / math.sqrt(2) * math.sqrt(1 / 2 + 30 / 70)
    found = summary.loc["mha", ["gain_over_majority_low", "gain_over_majority_high"]].tolist()
    assert found == pytest.approx([40 - half, 40 + half])


def test_every_table_is_written_in_its_formats_and_repeats_exactly(folders, tmp_path):
    first, second = (write_tables(folders, tmp_path / name) for name in "ab")
    assert [path.name for path in first] == table_names()
    for left, right in zip(first, second, strict=True):
        assert left.read_bytes() == right.read_bytes()


def test_csv_keeps_full_precision(folders, tmp_path):
    write_tables(folders, tmp_path)
    write_study_tables(folders, [], tmp_path)
    frames = make_tables(folders)
    for name, frame in frames.items():
        read = pd.read_csv(io.StringIO((tmp_path / f"{name}.csv").read_text()))
        # Nothing is written as nothing, whatever stands for it in a frame.
        whole = {column: "float64" for column, dtype in frame.dtypes.items() if str(dtype) == "Int64"}
        frame = frame.astype(whole).replace("", np.nan)
        pd.testing.assert_frame_equal(read, frame, check_dtype=False, rtol=0, atol=1e-12)


def test_latex_escapes_what_it_must_and_uses_booktabs(folders, tmp_path):
    write_tables(folders, tmp_path)
    for name in ("accuracy_summary", "parameter_counts"):
        text = (tmp_path / f"{name}.tex").read_text()
        assert r"\toprule" in text
        assert r"toy\_data" in text
        assert "%" not in text.replace(r"\%", "")


def test_latex_aligns_numbers_and_prints_minus_signs(folders, tmp_path):
    write_tables(folders, tmp_path)
    text = (tmp_path / "comparisons.tex").read_text()
    kinds = re.search(r"begin\{tabular\}\{([lr]+)\}", text).group(1)
    assert kinds.startswith("ll") and kinds.endswith("r")
    assert re.search(r"\$-\$\d", text) and not re.search(r"[ (]-\d", text.partition("midrule")[2])


def test_parameter_tables_by_hand(folders):
    frames = make_tables(folders)
    counts = frames["parameter_counts"].set_index("variant")
    assert counts.loc["daam_v1", ["attention", "with_decoder", "with_classifier"]].tolist() == [
        16384,
        238104,
        336412,
    ]
    assert "majority" not in counts.index
    ranges = frames["parameter_ranges"].set_index("parameter")
    assert ranges.loc["mean_offset", ["minimum", "maximum"]].tolist() == [-0.1, 0.2]


def test_an_unfinished_variant_is_refused_with_its_place(folders):
    (folders[0] / FINISHED).unlink()
    with pytest.raises(RecordError, match=str(folders[0])):
        read_all(folders)


def test_a_damaged_record_is_refused_with_its_place(folders):
    path = folders[0] / "fold0_seed0.json"
    path.write_text(path.read_text()[:40])
    with pytest.raises(RecordError, match=path.name):
        read_all(folders)


def test_every_table_is_a_module_and_every_module_a_table():
    modules = {module.name for module in iter_modules(tables.__path__)}
    assert modules == {*TABLES} | {"base", "cells", "effects", "made_of", "sheet", "write"}
    for name in TABLES:
        assert find_table(name).caption.endswith(".")


def test_runs_stand_beside_each_other_where_there_is_one_fold(folders, tmp_path):
    base = tmp_path / "one"
    records = [make_record("mha", 0, seed, score) for seed, score in ((3, 0.5), (5, 0.7))]
    for record in records:
        write_record(base, record)
    write_finished(base, records)
    table = find_table("accuracy_per_fold")
    frame = table.values(Results([base]))
    assert frame["seed"].tolist() == [3, 5]
    assert set(frame["unit"]) == {"seeds"}
    (row,) = table.readable(frame).plain().to_dict("records")
    assert (row["Folds or runs"], row["seed 3"], row["seed 5"]) == ("seed 3, seed 5", "50.0", "70.0")
    assert row["Mean, accuracy (%)"] == "60.0 ± 10.0"


def test_readable_headings_are_the_words_of_addresses(folders, tmp_path):
    write_tables(folders, tmp_path / "tables")
    write_report(folders, tmp_path / "figures", [], tmp_path / "report.html", "title", [])
    markdown, latex = (
        (tmp_path / f"tables/accuracy_per_fold.{ending}").read_text() for ending in ("md", "tex")
    )
    assert re.search(r"\| fold 0 +\| fold 1 +\| Mean", markdown)
    assert "fold 0 & fold 1 & Mean" in latex
    assert re.search(
        r'<th scope="col">fold 0</th><th scope="col">fold 1</th>', (tmp_path / "report.html").read_text()
    )


def test_a_missing_fold_moves_no_score_under_another_heading(folders, tmp_path):
    records = [make_record("gqa", 1, seed, 0.9) for seed in (0, 1)]
    for record in records:
        write_record(tmp_path / "gqa", record)
    write_finished(tmp_path / "gqa", records)
    table = find_table("accuracy_per_fold")
    rows = table.readable(table.values(Results([*folders, tmp_path / "gqa"]))).plain().set_index("Variant")
    assert rows.loc["GQA", ["fold 0", "fold 1"]].tolist() == ["", "90.0 ± 0.0"]


def test_names_with_bars_and_line_breaks_stay_in_their_cell(tmp_path):
    records = [make_record("mha", fold, 0, 0.5, fold_name=f"a|b\nc & {fold}") for fold in (0, 1)]
    for record in records:
        write_record(tmp_path / "mha", record)
        write_predictions(tmp_path / "mha", record)
    write_finished(tmp_path / "mha", records)
    write_tables([tmp_path / "mha"], tmp_path / "tables")
    markdown, latex = (
        (tmp_path / f"tables/accuracy_per_fold.{ending}").read_text() for ending in ("md", "tex")
    )
    *_, heading, line, row = markdown.strip().splitlines()
    assert {len(re.split(r"(?<!\\)\|", text)) for text in (heading, line, row)} == {len(heading.split("|"))}
    assert r"a\|b c & 0, a\|b c & 1" in row
    assert r"a|b c \& 0, a|b c \& 1" in latex


def test_other_metrics_are_named(tmp_path):
    folders = []
    for dataset, metric in (("a", "macro_f1"), ("b", "accuracy")):
        folders.append(tmp_path / dataset)
        records = [make_record("mha", fold, 0, 0.5, dataset=dataset, metric=metric) for fold in (0, 1)]
        for record in records:
            write_record(folders[-1], record)
        write_finished(folders[-1], records)
    table = find_table("accuracy_summary")
    one = table.readable(table.values(Results(folders[:1]))).plain()
    both = table.readable(table.values(Results(folders))).plain()
    assert "Macro F1 (%)" in one
    assert both["Metric"].tolist() == ["Macro F1", "Accuracy"]
    assert "Score (%)" in both


def test_mixtures_stand_beside_daam(folders, tmp_path):
    base = tmp_path / "mixture"
    records = [
        make_record(
            "mixture",
            fold,
            seed,
            0.5 + 0.1 * fold,
            parameters_attention=64,
            note="Gaussians kept: 3 of 8; per head: 1 2",
            parameter_ranges={"mean_offset": (-0.1 * fold, 0.3), "spread": (0.5, 2.0 + fold)},
        )
        for fold in (0, 1)
        for seed in (0, 1)
    ]
    for record in records:
        write_record(base, record)
    write_finished(base, records)
    table = find_table("mixture")
    (row,) = table.frame(Results([*folders, base])).to_dict("records")
    assert (row["mean_percent"], row["std_percent"]) == (pytest.approx(55), pytest.approx(5))
    assert (row["mean_offset_min"], row["spread_max"]) == (-0.1, 3.0)
    assert row["difference_percent"] == pytest.approx(-5)
    assert row["difference_low_percent"] < -5 < row["difference_high_percent"]
    assert row["notes"] == "Gaussians kept: 3 of 8"


def test_importance_that_holds_has_rank_correlation_one(folders):
    table = find_table("importance_stability")
    (row,) = table.frame(Results(folders)).to_dict("records")
    assert (row["variant"], row["runs"], row["pairs"]) == ("daam_v1", 4, 6)
    assert row["layers_spearman_all_mean"] == pytest.approx(1)
    assert row["layers_kendall_all_min"] == pytest.approx(1)
    assert row["spread_max"] == pytest.approx(0)


def test_entropies_by_hand(folders):
    frame = find_table("entropy").frame(Results(folders)).set_index("entropy")
    # Heads 0.5 and 1.5 in every run, of at most 2.
    row = frame.loc["softmax"]
    assert (row["variant"], row["heads"], row["runs"]) == ("mha", 2, 4)
    assert (row["mean_nats"], row["lowest_head_nats"], row["highest_head_nats"]) == (1.0, 0.5, 1.5)
    shares = row[["mean_share", "low_share", "high_share"]].tolist()
    assert shares == pytest.approx([0.5, 0.45, 0.55])
    assert frame["maximum_nats"].isna()["gaussian"]


def test_every_table_marks_results_whose_epoch_was_chosen_on_what_scores_them(folders, tmp_path):
    released = {"protocol": {"name": "released", "select": "best_validation"}}
    chosen = tmp_path / "chosen"
    places = [(fold, seed) for fold in (0, 1) for seed in (0, 1)]
    records = [make_record("gqa", *place, 0.5, **released) for place in places]
    for record in records:
        write_predictions(chosen, record)
        write_record(chosen, record)
    write_finished(chosen, records)
    write_tables([*folders, chosen], tmp_path / "tables")
    write_tables(folders, tmp_path / "without")
    for name in ("accuracy_summary", "accuracy_per_fold", "comparisons", "parameter_counts"):
        text = (tmp_path / f"tables/{name}.md").read_text()
        assert "optimistic: the samples that score the model chose its epoch, or when" in text
        assert "GQA*" in text
        assert "MHA*" not in text
        frame = pd.read_csv(tmp_path / f"tables/{name}.csv")
        assert frame.groupby("variant")["optimistic"].first().to_dict()["gqa"]
        assert not frame[frame["variant"] != "gqa"]["optimistic"].any()
        assert "optimistic:" not in (tmp_path / f"without/{name}.md").read_text()


def test_bold_is_what_is_significantly_best_and_ties_share_it(tmp_path):
    base = tmp_path / "runs/toy_data/tiny"
    means = {"mha": 0.5, "daam_v1": 0.9, "daam_v2": 0.9}
    spreads = {"mha": (0, 1, 2, 3, 4), "daam_v1": (0, 2, 1, 4, 3), "daam_v2": (1, 0, 3, 2, 4)}
    folders = [
        write_runs(base / v, v, [[mean + spread / 100] for spread in spreads[v]]) for v, mean in means.items()
    ]
    write_tables(folders, tmp_path / "tables")
    write_report(folders, tmp_path / "figures", [], tmp_path / "report.html", "title", [])
    page = (tmp_path / "report.html").read_text()
    assert page.count("<strong>") == 4
    assert '<strong><a href="runs/toy_data/tiny/daam_v1/finished.json">92.0 ± 1.4</a></strong>' in page
    for name in ("accuracy_summary", "accuracy_per_fold"):
        markdown, latex = ((tmp_path / f"tables/{name}.{ending}").read_text() for ending in ("md", "tex"))
        assert markdown.count("**92.0 ± 1.4**") == 2
        assert markdown.count("**") == 4
        assert latex.count(r"\textbf{92.0 $\pm$ 1.4}") == latex.count(r"\textbf") == 2
        assert "Bold: the smallest group" in markdown
    # One more fold that turns the order round, and no group stands out.
    write_runs(base / "mha", "mha", [[mean / 100] for mean in (50, 99, 52, 99, 54)])
    write_tables(folders, tmp_path / "tables")
    for ending, mark in (("md", "**"), ("tex", r"\textbf")):
        assert mark not in (tmp_path / f"tables/accuracy_summary.{ending}").read_text()


@pytest.mark.parametrize(("above", "best"), [(3, False), (12, True)])
def test_with_one_fold_samples_decide_what_is_significant_and_bold(tmp_path, above, best):
    """Seeds tell both differences apart; of 30 samples 3 are too few for McNemar's test."""
    base = tmp_path / "runs/toy_data/tiny"
    scores = {"mha": [0.5, 0.501, 0.502, 0.501], "daam_v1": [0.5 + above / 30] * 4}
    folders = [write_runs(base / v, v, [values]) for v, values in scores.items()]
    frames = make_tables(folders)
    (row,) = frames["comparisons"].to_dict("records")
    assert row["p_holm"] < 0.001
    assert row["unit"] == "seeds"
    assert row["significant"] == (row["mcnemar_p_holm"] < 0.05) == best
    marks = frames["accuracy_summary"].set_index("variant")["significantly_best"]
    assert marks.to_dict() == {"mha": False, "daam_v1": best}
    assert (
        frames["accuracy_per_fold"].groupby("variant")["significantly_best"].all().to_dict()
        == marks.to_dict()
    )


def test_a_baseline_that_is_as_good_takes_the_mark_away(tmp_path):
    base = tmp_path / "runs/toy_data/tiny"
    folders = [
        write_runs(base / variant, variant, [[mean + shift / 100] for shift in shifts])
        for variant, mean, shifts in (("mha", 0.5, (0, 1, 2, 3, 4)), ("daam_v1", 0.9, (0, 2, 1, 4, 3)))
    ]
    for score, best in ((0.6, ["daam_v1"]), (0.9, []), (0.95, [])):
        scores = [[score + shift / 100] for shift in (1, 0, 3, 2, 4)]
        layer = write_runs(base / "best_single_layer", "best_single_layer", scores, kind="baseline")
        table = find_table("accuracy_summary")
        results = Results([*folders, layer])
        frame = table.values(results)
        assert frame.loc[frame["significantly_best"], "variant"].tolist() == best
        keys = {"dataset": "toy_data", "encoder": "tiny", "variant": "daam_v1"}
        behind = {run.record.variant for run in table.sources(keys, "significantly_best", results)}
        assert behind == {"mha", "daam_v1", "best_single_layer"}


def test_equal_differences_have_neither_interval_nor_p(tmp_path):
    base = tmp_path / "runs/toy_data/tiny"
    folders = [
        write_runs(base / variant, variant, [[mean + shift] for shift in (0, 0.1, 0.2)])
        for variant, mean in (("mha", 0.3), ("daam_v1", 0.6))
    ]
    table = find_table("comparisons")
    frame = table.values(Results(folders))
    assert not frame["significant"].any()
    (row,) = table.readable(frame).plain().to_dict("records")
    assert (row["Difference (points)"], row["p (Holm)"]) == ("-30.0", "")


def test_latex_prints_what_is_written():
    assert escape_latex("a_b & 5 % < 0.1 ± {x} ~ ^ # $ \\") == (
        r"a\_b \& 5 \% $<$ 0.1 $\pm$ \{x\} \textasciitilde{} \textasciicircum{} \# \$ \textbackslash{}"
    )


def test_titles_of_a_study_table_name_the_metric(tmp_path):
    records = [make_record("mha", fold, 0, 0.5, metric="balanced_accuracy") for fold in (0, 1)]
    shared = {"learning_rate": 0.1, "train_loss": 1.0, "validation_score": 0.5, "inner_score": 0.5}
    for record in records:
        epochs = {"epochs": [{"epoch": 1} | shared]}
        write_record(tmp_path, type(record).model_validate(record.model_dump() | epochs))
    write_finished(tmp_path, records)
    table = find_table("selection_worth")
    assert "Balanced accuracy (%), inner" in table.readable(table.values(Results([tmp_path]))).columns
