"""What every table promises: rows with names, addresses that resolve, the records behind each number."""

from pathlib import Path

import pytest
from analysis.conftest import change_record, write_predictions
from analysis.whole import PLACE, RUNS, SCORES, STUDIES, epochs, fill, fill_with_tables, results_in

from daam_bench.analysis.names import STUDY_TABLES, TABLES
from daam_bench.analysis.paper.compare import NOT_RUN
from daam_bench.analysis.tables import find_table
from daam_bench.analysis.tables.base import texts_of
from daam_bench.analysis.tables.made_of import read_made_of
from daam_bench.errors import RecordError
from daam_bench.provenance.address import find_cell
from daam_bench.records import read_record


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    return fill_with_tables(tmp_path_factory.mktemp("results"))


@pytest.fixture(scope="module")
def results(root):
    return results_in(root)


def rows_of(name, results):
    """Return the rows of a table as text."""
    return texts_of(find_table(name).values(results))


def keys_in(name, row):
    return {key: row[key] for key in find_table(name).keys}


def behind(root, name, column, results, **cells):
    """Return the records behind the only cell of a table with some cells: folder, fold, seed."""
    table = find_table(name)
    rows = [row for row in rows_of(name, results) if all(row[k] == v for k, v in cells.items())]
    assert len(rows) == 1, [keys_in(name, row) for row in rows]
    runs = table.sources(keys_in(name, rows[0]), column, results)
    tail = {run.path: run.folder.relative_to(root) for run in runs}
    return {(str(tail[run.path]), run.record.fold, run.record.seed) for run in runs}


@pytest.mark.parametrize("name", TABLES)
def test_rows_have_keys_of_their_own(name, results):
    table, rows = find_table(name), rows_of(name, results)
    assert rows
    assert {*table.keys, table.number} <= set(rows[0])
    assert table.number not in table.keys
    keys = [tuple(row[key] for key in table.keys) for row in rows]
    assert len(set(keys)) == len(keys)


@pytest.mark.parametrize("name", TABLES)
def test_every_address_means_its_own_cell(name, root, results):
    table, rows = find_table(name), rows_of(name, results)
    first = [(rows[0], column) for column in rows[0]]
    for row, column in [*((row, table.number) for row in rows), *first]:
        cells = {key: value for key, value in keys_in(name, row).items() if value}
        file = root / "tables" / f"{name}.csv"
        by_name = ":".join([str(file), *(f"{key}={value}" for key, value in cells.items())])
        by_order = ":".join([name, *cells.values(), column])
        for address, asked in ((by_name, column), (by_order, None)):
            cell = find_cell(address, {}, asked, root)
            assert (cell.row, cell.column) == (row, column)
            again = find_cell(cell.address, {}, None, root)
            assert (again.row, again.column) == (row, column)


@pytest.mark.parametrize("name", TABLES)
def test_the_column_that_is_not_named_is_that_of_the_table(name, root, results):
    (row, *_), table = rows_of(name, results), find_table(name)
    cells = {key: value for key, value in keys_in(name, row).items() if value}
    assert find_cell(name, cells, None, root).column == table.number
    assert table.number != "optimistic"


@pytest.mark.parametrize("name", TABLES)
def test_every_number_has_records_behind_it(name, results):
    table = find_table(name)
    for row in rows_of(name, results):
        not_run = row.get("verdict") == NOT_RUN or row.get("note", "").startswith("not run")
        for column in row:
            elsewhere = table.section == "paper" and column not in ("ours", "low", "high", "verdict")
            if not (not_run or elsewhere or row[column] == ""):
                assert table.sources(keys_in(name, row), column, results), (keys_in(name, row), column)


@pytest.fixture
def changed(tmp_path):
    """Return what changes one record of a copy, and gives the results then."""
    fill(tmp_path)

    def change(folder, stem):
        path = tmp_path / folder / f"{stem}.json"
        record = read_record(path)
        score = record.score - 0.1
        facts = {"score": score, "epochs": epochs(score) if record.epochs else []}
        if record.parameter_ranges:
            facts["parameter_ranges"] = dict.fromkeys(record.parameter_ranges, (-9.0, 9.0))
        if record.entropies:
            facts["entropies"] = [e.model_dump() | {"mean": 0.1} for e in record.entropies]
        moved = type(record).model_validate(record.model_dump() | facts)
        change_record(path.parent, moved)
        write_predictions(path.parent, moved)
        return results_in(tmp_path)

    return change


@pytest.fixture(scope="module")
def before(results):
    """Return the rows of every table by their keys."""
    return {
        name: {tuple(keys_in(name, row).values()): row for row in rows_of(name, results)} for name in TABLES
    }


KINDS = ("protocol-released", "switch-optimizer-adamw", "layers-bottom-1", "layers-random-1-2")
CHANGED = (
    *(f"{RUNS}/{variant}" for variant in (*SCORES, "best_single_layer")),
    *(f"studies/emotions/wavlm-large/{place}" for place in STUDIES if place.split("/")[0] in KINDS),
)


@pytest.mark.parametrize("place", CHANGED)
def test_a_number_that_a_record_changes_names_it(place, root, results, before, changed):
    """Whatever depends on a record has it among its sources."""
    after = changed(place, "fold1_seed0")
    moved = 0
    for name in TABLES:
        old, table = before[name], find_table(name)
        for row in rows_of(name, after):
            keys = keys_in(name, row)
            for column, value in row.items():
                if value != old[tuple(keys.values())][column]:
                    paths = {run.path for run in table.sources(keys, column, results)}
                    assert root / place / "fold1_seed0.json" in paths, (name, keys, column)
                    moved += 1
    assert moved


ALL = {(fold, seed) for fold in (0, 1) for seed in (0, 1)}
MHA, DAAM, MIXTURE, LAYER = (f"{RUNS}/{v}" for v in ("mha", "daam_v1", "mixture", "best_single_layer"))
STUDY = "studies/emotions/wavlm-large"


def whole(*folders, places=ALL):
    return {(folder, *place) for folder in folders for place in places}


@pytest.mark.parametrize(
    ("name", "column", "cells", "expected"),
    [
        ("accuracy_summary", "mean_percent", {"variant": "mha"}, whole(MHA)),
        (
            "accuracy_summary",
            "gain_over_best_single_layer_low",
            {"variant": "mha"},
            whole(MHA) | whole(LAYER, places={(0, 0), (1, 0)}),
        ),
        ("accuracy_summary", "significantly_best", {"variant": "mha"}, (
            whole(MHA, DAAM, MIXTURE) | whole(LAYER, f"{RUNS}/majority", places={(0, 0), (1, 0)})
        )),
        ("accuracy_per_fold", "std_percent", {"variant": "mha", "fold": "1"}, {(MHA, 1, 0), (MHA, 1, 1)}),
        ("accuracy_per_fold", "over_units_std_percent", {"variant": "mha", "fold": "1"}, whole(MHA)),
        ("comparisons", "p", {"variant": "mha", "against": "mixture"}, whole(MHA, MIXTURE)),
        ("comparisons", "p_holm", {"variant": "mha", "against": "mixture"}, whole(MHA, DAAM, MIXTURE)),
        ("mixture", "mean_percent", {}, whole(MIXTURE)),
        ("mixture", "p", {}, whole(MIXTURE, DAAM)),
        ("selection_worth", "best_validation_percent", {"variant": "daam_v1"}, whole(DAAM)),
        (
            "paper_comparison",
            "ours",
            {"paper_dataset": "iemocap", "variant": "daam_v1", "quantity": "accuracy", "cell": "F2"},
            {(DAAM, 1, 0), (DAAM, 1, 1)},
        ),
        (
            "paper_comparison",
            "verdict",
            {"variant": "daam_v1", "cell": "high IF, layers 9, F2"},
            {(f"{STUDY}/layers-top-1/daam_v1", 1, seed) for seed in (0, 1)},
        ),
        (
            "protocols",
            "mean_percent",
            {"variant": "mha", "protocol": "released"},
            whole(f"{STUDY}/protocol-released/mha"),
        ),
        (
            "protocols",
            "effect_percent",
            {"variant": "mha", "protocol": "released"},
            whole(MHA, f"{STUDY}/protocol-released/mha"),
        ),
        ("protocols", "mean_percent", {"variant": "mha", "protocol": "corrected"}, whole(MHA)),
        (
            "switch_effects",
            "p",
            {"switch": "optimizer", "variant": "mha"},
            whole(MHA, f"{STUDY}/switch-optimizer-adamw/mha"),
        ),
        (
            "switch_effects",
            "effect_percent",
            {"switch": "optimizer", "variant": "touched"},
            whole(MHA, DAAM, *(f"{STUDY}/switch-optimizer-adamw/{v}" for v in ("mha", "daam_v1"))),
        ),
        ("switch_effects", "p_holm", {"switch": "optimizer", "variant": "daam_v1"}, whole(
            MHA, DAAM, *(f"{STUDY}/{place}" for place in STUDIES if place.startswith("switch"))
        )),
        (
            "layer_ablation",
            "mean_percent",
            {"side": "random", "draw": "2", "fold": "1"},
            {(f"{STUDY}/layers-random-1-2/daam_v1", 1, seed) for seed in (0, 1)},
        ),
        (
            "layer_ablation",
            "mean_percent",
            {"side": "all", "blocks": "True", "fold": "1"},
            {(DAAM, 1, seed) for seed in (0, 1)},
        ),
        (
            "layer_ablation_curve",
            "mean_percent",
            {"side": "random"},
            whole(*(f"{STUDY}/layers-random-1-{draw}/daam_v1" for draw in (1, 2))),
        ),
        (
            "layer_ablation_curve",
            "effect_percent",
            {"side": "top", "blocks": "True"},
            whole(*(f"{STUDY}/layers-{side}_block-3/daam_v1" for side in ("top", "bottom"))),
        ),
    ],
)  # fmt: skip
def test_the_records_behind_a_number_are_these(name, column, cells, expected, root, results):
    cells = (PLACE if name != "paper_comparison" else {}) | cells
    assert behind(root, name, column, results, **cells) == expected


def test_a_table_says_what_it_is_made_of(root, tmp_path):
    found, changed = read_made_of(root / "tables/protocols.csv")
    assert ({*found.folders}, {*found.studies}) == ({*results_in(root).folders}, {*results_in(root).studies})
    assert changed == []
    found, _ = read_made_of(root / "tables/accuracy_summary.csv")
    assert (len(found.folders), found.studies) == (6, [])
    (tmp_path / "accuracy_summary.csv").write_text((root / "tables/accuracy_summary.csv").read_text())
    with pytest.raises(RecordError, match=r"accuracy_summary.sources.json beside it"):
        read_made_of(tmp_path / "accuracy_summary.csv")


def test_every_table_is_of_one_list():
    assert set(STUDY_TABLES) < set(TABLES)
    assert len(set(TABLES)) == len(TABLES)


def test_addresses_are_relative_to_where_one_stands(root, monkeypatch):
    monkeypatch.chdir(root)
    cell = find_cell("layer_ablation:top:blocks=False:fold=1", {}, None, Path())
    assert cell.address == (
        "tables/layer_ablation.csv:emotions:wavlm-large:daam_v1:blocks=False:layers_kept=1:top:draw=0:fold=1"
        ":mean_percent"
    )
