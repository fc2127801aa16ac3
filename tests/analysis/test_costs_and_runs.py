"""What training cost, and every run by itself: the numbers of both tables by hand."""

import pandas as pd
import pytest
from analysis.conftest import make_record
from analysis.whole import epochs

from daam_bench.analysis.tables import Results, find_table
from daam_bench.records import write_finished, write_record


@pytest.fixture
def results_of(tmp_path):
    """Return what writes the records of variants, and gives the results."""

    def write(*records):
        folders = {record.variant: tmp_path / record.variant for record in records}
        for record in records:
            write_record(folders[record.variant], record)
        for variant, folder in folders.items():
            write_finished(folder, [record for record in records if record.variant == variant])
        return Results(list(folders.values()))

    return write


def readable(name, results):
    table = find_table(name)
    return table.readable(table.values(results)).plain()


def test_costs_have_units_and_only_what_adds_up_is_summed(results_of):
    known = {"flops_forward": 2 * 10**9, "flops_training": 6 * 10**9, "epochs": epochs(0.5)}
    # 63 fitted samples, 2 epochs, in 1.5 s; of the 70 training samples 7 are held out.
    known |= {"wall_seconds": 1.5, "samples_per_second": 84.0}
    results = results_of(
        *(make_record("mha", f, 0, 0.5, **known, peak_memory_bytes=(3 + f) << 20) for f in (0, 1))
    )
    (row,) = readable("cost", results).to_dict("records")
    assert list(row)[:4] == ["Dataset", "Encoder", "Variant", "Runs"]
    assert (row["Runs"], row["Epochs of a run"], row["Parameters"]) == ("2", "2", "336,412")
    assert row["Wall time (s), all runs"] == "3"
    assert row["Forward (GFLOP per sample)"] == "2"
    assert row["Forward and backward (GFLOP per sample)"] == "6"
    assert row["Training (TFLOP), all runs"] == "1.51"  # 2 runs x 6 GFLOP x 126 samples
    assert row["Peak memory (MiB), largest run"] == "4"
    assert not [heading for heading in row if "Energy" in heading]
    (values,) = find_table("cost").values(results).to_dict("records")
    assert (values["training_flop"], values["training_flop_runs"]) == (2 * 6e9 * 126, 2)
    assert (values["peak_memory_bytes"], values["energy_joules_runs"]) == (4 << 20, 0)


def test_a_sum_of_some_runs_says_so(results_of):
    known = [make_record("mha", f, 0, 0.5, energy_joules=joules) for f, joules in ((0, 1500.0), (1, None))]
    shown = readable("cost", results_of(*known, make_record("daam_v1", 0, 0, 0.5)))
    assert list(shown["Energy (kJ), all runs"]) == ["1.5 (1 of 2 runs)", ""]


def test_baselines_train_no_parameters(folders):
    frame = find_table("cost").values(Results(folders)).set_index("variant")
    assert frame.loc["mha", "parameters"] == 336412
    assert pd.isna(frame.loc["majority", "parameters"])
    assert frame.loc["majority", "wall_seconds"] == 3.0


def test_clocks_and_meters_are_told_from_what_comes_out_again():
    clocks = {"wall_seconds", "cpu_seconds", "peak_memory_bytes", "energy_joules"}
    assert find_table("cost").measured == clocks
    assert not find_table("runs").measured


def test_a_run_has_the_losses_of_the_epoch_that_was_chosen(results_of):
    one, two = epochs(0.8)
    kept = [one.model_copy(update={"train_loss": 0.25, "validation_loss": 0.5}), two]
    run = make_record("mha", 1, 3, 0.4, epochs=kept, selected_epoch=1, note="Gaussians kept: 3 of 8")
    baseline = make_record("majority", 1, 0, 0.3, kind="baseline", selected_epoch=None, note="class b")
    results = results_of(run, baseline)
    frame = find_table("runs").values(results).set_index("variant")
    row = frame.loc["mha"]
    assert row[["fold", "seed", "score_percent", "inner_percent"]].tolist() == [1, 3, 40, 50]
    assert row[["train_loss", "validation_loss", "epochs", "selected_epoch"]].tolist() == [0.25, 0.5, 2, 1]
    assert row["majority_percent"] == pytest.approx(30)
    assert frame.loc["majority", ["train_loss", "epochs", "selected_epoch"]].isna().all()
    shown = readable("runs", results).set_index("Variant")
    assert shown["Fold"].tolist() == ["1 (source 1)"] * 2
    assert shown["Note"].tolist() == ["class b", "Gaussians kept: 3 of 8"]
    assert shown.loc["MHA", "Training loss"] == "0.2500"
    assert shown.loc["Majority class", "Epoch"] == ""


def test_what_no_run_knows_has_no_column_for_people(results_of):
    results = results_of(make_record("majority", 0, 0, 0.3, kind="baseline", selected_epoch=None))
    assert list(readable("runs", results)) == [
        "Dataset", "Encoder", "Variant", "Fold", "Seed", "Accuracy (%)", "Note"
    ]  # fmt: skip
    assert {"train_loss", "validation_loss", "inner_percent"} <= set(find_table("runs").values(results))
