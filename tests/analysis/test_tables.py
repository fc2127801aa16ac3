import io
import math

import numpy as np
import pandas as pd
import pytest

from daam_bench.analysis.aggregate import interval, read_all, replica_frame, summary_frame
from daam_bench.analysis.names import table_names
from daam_bench.analysis.tables import make_tables, write_tables
from daam_bench.errors import RecordError
from daam_bench.records import FINISHED


@pytest.fixture
def summary(folders):
    return summary_frame(replica_frame(read_all(folders))).set_index("variant")


def test_mean_and_population_standard_deviation_by_hand(summary):
    assert summary.loc["mha", "mean_percent"] == pytest.approx(65)
    # Deviations of 50, 60, 70, 80 from 65: sqrt((225 + 25 + 25 + 225) / 4).
    assert summary.loc["mha", "std_percent"] == pytest.approx(math.sqrt(125))
    assert (summary.loc["mha", "folds"], summary.loc["mha", "seeds"]) == (2, 2)


def test_gains_are_paired_by_fold(summary):
    # Majority: 20 and 30; best layer: 30 and 40.
    assert summary.loc["mha", "gain_over_majority"] == pytest.approx((30 + 40 + 40 + 50) / 4)
    assert summary.loc["daam_v1", "gain_over_best_single_layer"] == pytest.approx((30 + 30 + 20 + 20) / 4)
    assert summary.loc["best_single_layer", "gain_over_majority"] == pytest.approx(10)


def test_order_is_baselines_then_presets(summary):
    assert list(summary.index) == ["majority", "best_single_layer", "mha", "daam_v1"]


def test_interval_of_equal_values_of_one_value_and_of_many():
    assert interval(np.full(5, 3.0)) == (3.0, 3.0)
    assert all(math.isnan(end) for end in interval(np.array([3.0])))
    low, high = interval(np.random.default_rng(1).normal(10, 2, size=97))
    half = 1.96 * 2 / math.sqrt(97)
    assert (low, high) == pytest.approx((10 - half, 10 + half), abs=0.5)
    assert low < 10 < high


def test_every_table_is_written_in_three_formats_and_repeats_exactly(folders, tmp_path):
    first, second = (write_tables(folders, tmp_path / name) for name in "ab")
    assert [path.name for path in first] == table_names()
    for left, right in zip(first, second, strict=True):
        assert left.read_bytes() == right.read_bytes()


def test_csv_keeps_full_precision(folders, tmp_path):
    write_tables(folders, tmp_path)
    frames = make_tables(folders)
    for name, frame in frames.items():
        read = pd.read_csv(io.StringIO((tmp_path / f"{name}.csv").read_text()))
        pd.testing.assert_frame_equal(read, frame, check_dtype=False, rtol=0, atol=1e-12)


def test_latex_escapes_what_it_must_and_uses_booktabs(folders, tmp_path):
    write_tables(folders, tmp_path)
    for name in ("accuracy_summary", "parameter_counts"):
        text = (tmp_path / f"{name}.tex").read_text()
        assert r"\toprule" in text
        assert r"toy\_data" in text
        assert "%" not in text.replace(r"\%", "")


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
